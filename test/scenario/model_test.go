package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/run"
)

// chatMessage is a message as the protocol of OpenAI has it.
type chatMessage struct {
	Role       string     `json:"role"`
	Content    any        `json:"content"`
	ToolCallID *string    `json:"tool_call_id,omitempty"`
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
}

type chatCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// ServeHTTP is the model of all scenarios as a provider on the network.
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Messages []chatMessage `json:"messages"`
		Tools    []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := &llm.Request{}
	for _, t := range asked.Tools {
		req.Tools = append(req.Tools, llm.ToolDefinition{Name: t.Function.Name})
	}
	for _, m := range asked.Messages {
		if m.Role == "system" || m.Role == "developer" {
			continue
		}
		text, _ := m.Content.(string)
		req.Messages = append(req.Messages, run.Message{Role: m.Role, Content: text, ToolCallID: m.ToolCallID})
	}
	resp, err := d.handlers.Load().Model().Complete(r.Context(), req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, finish := chatMessage{Role: "assistant", Content: resp.Text}, "stop"
	for _, c := range resp.ToolCalls {
		call := chatCall{ID: c.ID, Type: "function"}
		call.Function.Name, call.Function.Arguments = c.Name, string(c.Arguments)
		answer.ToolCalls, finish = append(answer.ToolCalls, call), "tool_calls"
	}
	body := map[string]any{
		"id": "c", "created": 1, "model": "kit", "object": "chat.completion",
		"choices": []any{map[string]any{"index": 0, "message": answer, "finish_reason": finish}},
	}
	if u := resp.Usage; u != nil {
		body["usage"] = map[string]any{"prompt_tokens": u.InputTokens, "completion_tokens": u.OutputTokens, "total_tokens": u.TotalTokens}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(fmt.Sprint("the answer cannot be sent: ", err))
	}
}

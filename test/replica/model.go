package replica

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// ModelCall is one question that the model got.
type ModelCall struct {
	// Model is the name the agent asked for, Input the last message.
	Model, Input string
	At           time.Time
	// Header is what came with it.
	Header http.Header
}

// Model is a server that speaks the protocol of OpenAI, answers "model(input)" and remembers every question.
type Model struct {
	URL string

	mu    sync.Mutex
	calls []ModelCall
	// Answer, when set before the first call, replaces the standard answer.
	Answer func(c ModelCall) (text string, status int)
}

// NewModel starts a model that ends with the test.
func NewModel(t testing.TB) *Model {
	t.Helper()
	m := &Model{}
	s := httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(s.Close)
	m.URL = s.URL + "/v1"
	return m
}

// Calls are all questions so far.
func (m *Model) Calls() []ModelCall {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]ModelCall(nil), m.calls...)
}

func (m *Model) serve(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Model    string `json:"model"`
		Stream   bool   `json:"stream"`
		Messages []struct {
			Content any `json:"content"`
		} `json:"messages"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Messages) == 0 {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	c := ModelCall{Model: body.Model, Input: fmt.Sprint(body.Messages[len(body.Messages)-1].Content), At: time.Now(), Header: r.Header.Clone()}
	m.mu.Lock()
	m.calls = append(m.calls, c)
	m.mu.Unlock()
	text, status := c.Model+"("+c.Input+")", http.StatusOK
	if m.Answer != nil {
		text, status = m.Answer(c)
	}
	if status != http.StatusOK {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": text, "type": "server_error"}})
		return
	}
	usage := map[string]any{"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
	choice := func(part string, finish any, content string) map[string]any {
		message := map[string]any{}
		if content != "" {
			message = map[string]any{"role": "assistant", "content": content}
		}
		return map[string]any{"index": 0, part: message, "finish_reason": finish}
	}
	answer := map[string]any{"id": "c", "created": 1, "model": c.Model, "object": "chat.completion"}
	if !body.Stream {
		answer["choices"], answer["usage"] = []any{choice("message", "stop", text)}, usage
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	answer["object"] = "chat.completion.chunk"
	send := func(choices []any, use any) {
		answer["choices"], answer["usage"] = choices, use
		line, err := json.Marshal(answer)
		if err == nil {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", line)
		}
	}
	send([]any{choice("delta", nil, text)}, nil)
	send([]any{choice("delta", "stop", "")}, nil)
	send([]any{}, usage)
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

// Agent is the spec of an agent that asks this model under a name. The process needs HOUSE_KEY in its environment.
func (m *Model) Agent(name string) map[string]any {
	return map[string]any{"name": name, "model": map[string]any{
		"provider": "house", "name": name, "extra": map[string]any{"base_url": m.URL, "api_key_ref": "HOUSE_KEY"},
	}}
}

// Command chat runs one agent on a model server that speaks the OpenAI protocol. The server is part of the program, so the example needs no key and
// no network; put another base URL into the spec to talk to a real one. The same run is started over gRPC and over REST.
//
//	go run ./examples/chat
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/embed"
)

//go:embed spec.json
var template string

func main() {
	if err := chat(context.Background(), os.Stdout, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// chat starts the model server and a platform, runs the agent through both doors and then calls more, when it is not nil, with the address of the
// service and the spec.
func chat(ctx context.Context, out io.Writer, more func(url, spec string) error) error {
	model := httptest.NewServer(http.HandlerFunc(answer))
	defer model.Close()
	spec := strings.Replace(template, "BASE_URL", model.URL+"/v1", 1)

	p, err := embed.Open(ctx, embed.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	url := "http://" + p.Addr().String()

	c, err := client.Dial(url, client.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	r, err := c.Run(ctx, client.RunRequest{Spec: spec, Input: "What is a lease?"})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "gRPC:", r.GetStatus(), r.GetOutputText())
	if err := trace(ctx, out, url, r.GetRunId()); err != nil {
		return err
	}

	var created struct {
		RunID  string `json:"run_id"`
		Status string `json:"status"`
		Output string `json:"output_text"`
	}
	if err := call(ctx, http.MethodPost, url+"/v1/specs/run", map[string]any{"input": "What is a lease?", "spec": json.RawMessage(spec)}, &created); err != nil {
		return err
	}
	fmt.Fprintln(out, "REST:", created.Status, created.Output)
	if err := trace(ctx, out, url, created.RunID); err != nil || more == nil {
		return err
	}
	return more(url, spec)
}

// trace prints the types of a run's trace events in their order.
func trace(ctx context.Context, out io.Writer, url, id string) error {
	var page struct {
		Events []struct {
			Type string `json:"type"`
		} `json:"events"`
	}
	if err := call(ctx, http.MethodGet, url+"/v1/runs/"+id+"/trace", nil, &page); err != nil {
		return err
	}
	for _, e := range page.Events {
		fmt.Fprintln(out, "  trace:", e.Type)
	}
	return nil
}

// call sends JSON and reads JSON.
func call(ctx context.Context, method, url string, body, reply any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return json.NewDecoder(response.Body).Decode(reply)
}

// answer speaks the chat completions protocol, streamed when asked for.
func answer(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	const text = "A lease says who works on a run, and until when."
	usage := map[string]any{"prompt_tokens": 12, "completion_tokens": 11, "total_tokens": 23}
	if !request.Stream {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"id": "chat-1", "object": "chat.completion", "model": request.Model, "usage": usage,
			"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": text}}},
		})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	chunk := func(choices []any, usage any) {
		data, _ := json.Marshal(map[string]any{"id": "chat-1", "object": "chat.completion.chunk", "model": request.Model, "choices": choices, "usage": usage})
		_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
	}
	for word := range strings.SplitAfterSeq(text, " ") {
		chunk([]any{map[string]any{"index": 0, "delta": map[string]any{"role": "assistant", "content": word}}}, nil)
	}
	chunk([]any{map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": "stop"}}, nil)
	chunk([]any{}, usage)
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

// Package dummy is the deterministic model that answers without a network: the default of agents without a model, of demonstrations and of
// compatibility runs. Its texts are part of the contract. It imports the port llm.
package dummy

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/run"
)

// Name is the provider's name in specs and metadata.
const Name = llm.Dummy

// Provider answers from the thread alone; system prompt, temperature and model name have no effect.
type Provider struct{}

// Open returns the provider; the endpoint is not used.
func Open(llm.Endpoint) (llm.Provider, error) { return Provider{}, nil }

// Name returns "dummy".
func (Provider) Name() string { return Name }

// Complete answers at once. It reports no usage.
func (Provider) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	user, _ := llm.Last(r.Messages, llm.RoleUser)
	results, hasResults := toolResults(r.Messages)
	resp := &llm.Response{}
	switch {
	case len(r.Tools) > 0 && !hasResults && strings.Contains(strings.ToLower(user), "search"):
		resp.Text = "I need to search."
		resp.ToolCalls = []run.ToolCall{{ID: "web_search_1", Name: "web_search", Arguments: searchArguments(user)}}
	case hasResults:
		resp.Text = "Final answer based on tool results: " + results
	default:
		resp.Text = "Final answer: " + user
	}
	if r.OnDelta != nil {
		r.OnDelta(resp.Text)
	}
	return resp, nil
}

func searchArguments(query string) json.RawMessage {
	return append(run.AppendString([]byte(`{"query":`), query), '}')
}

func toolResults(thread []run.Message) (string, bool) {
	var parts []string
	for i := range thread {
		if thread[i].Role == llm.RoleTool {
			parts = append(parts, thread[i].Content)
		}
	}
	return strings.Join(parts, "\n"), parts != nil
}

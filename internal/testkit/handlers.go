package testkit

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/dummy"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// Handlers are the functions and tools that scenarios use, by the last part of their implementation name. They count their calls by
// idempotency key, so that a test can tell repetitions from calls.
//
// Functions: upper, bracket, identity, fail (always fails), flaky (fails the first time), slow (waits for its context), classify.
// Tools: web_search ("hit for <query>"), broken (fails). Retriever: notes ("<top_k> notes on <text>"). Guardrail:
// noleak (refuses texts with "leak", offers "(revised)").
type Handlers struct {
	mu sync.Mutex
	// calls counts by name; keys counts by idempotency key.
	calls map[string]int
	keys  map[string]int
	// failed remembers the runs in which flaky has failed.
	failed map[string]bool
	// Usage is what every model call reports; nil reports none.
	Usage *llm.Usage
	// Hold, when not nil, is called before a handler answers.
	Hold func(ctx context.Context, name, input string) error
}

// NewHandlers returns handlers that have not been called.
func NewHandlers() *Handlers {
	return &Handlers{calls: map[string]int{}, keys: map[string]int{}, failed: map[string]bool{}}
}

// UseTokens makes every model call report that many input and output tokens; 0 reports none.
func (h *Handlers) UseTokens(n int64) {
	if n > 0 {
		h.Usage = &llm.Usage{InputTokens: n, OutputTokens: n, TotalTokens: 2 * n}
	}
}

// Calls is how often a handler, or "model", was called.
func (h *Handlers) Calls(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[name]
}

// Total is the number of all calls.
func (h *Handlers) Total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.calls {
		n += c
	}
	return n
}

func (h *Handlers) note(name, key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[name]++
	h.keys[key]++
}

func short(name string) string {
	if i := strings.LastIndexAny(name, ".:"); i >= 0 {
		return name[i+1:]
	}
	return name
}

// CallFunction implements agent.Functions.
func (h *Handlers) CallFunction(ctx context.Context, f *plan.Function, input, runID, key string) (string, error) {
	name := short(f.Implementation)
	h.note(name, key)
	if h.Hold != nil {
		if err := h.Hold(ctx, name, input); err != nil {
			return "", err
		}
	}
	switch name {
	case "upper":
		return strings.ToUpper(input), nil
	case "bracket":
		return "[" + input + "]", nil
	case "identity":
		return input, nil
	case "classify":
		if strings.Contains(strings.ToLower(input), "urgent") {
			return "URGENT " + input, nil
		}
		return "calm " + input, nil
	case "flaky":
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.failed[runID] {
			h.failed[runID] = true
			return "", &run.StepError{Type: run.FailStep, Message: "transient glitch"}
		}
		return "recovered:" + input, nil
	case "slow":
		<-ctx.Done()
		return "", context.Cause(ctx)
	case "fail":
		return "", &run.StepError{Type: run.FailStep, Message: "primary source offline"}
	}
	return "", fmt.Errorf("no function %s", f.Implementation)
}

// Call implements handler.Caller.
func (h *Handlers) Call(ctx context.Context, _ handler.Kind, name string, input json.RawMessage, m handler.Meta) (json.RawMessage, error) {
	name = short(name)
	h.note(name, m.IdempotencyKey)
	if h.Hold != nil {
		if err := h.Hold(ctx, name, string(input)); err != nil {
			return nil, err
		}
	}
	var args struct {
		Query string `json:"query"`
	}
	switch name {
	case "web_search":
		if err := json.Unmarshal(input, &args); err != nil {
			return nil, handler.NewError(handler.CodeInvalidInput, "bad arguments")
		}
		return json.Marshal("hit for " + args.Query)
	case "noleak":
		var text string
		if err := json.Unmarshal(input, &text); err != nil {
			return nil, handler.NewError(handler.CodeInvalidInput, "no text")
		}
		if !strings.Contains(text, "leak") {
			return json.RawMessage("true"), nil
		}
		return json.RawMessage(`{"passed":false,"reason":"it leaks","revised_text":"(revised)"}`), nil
	case "notes":
		var asked struct {
			Text string `json:"text"`
			TopK int    `json:"top_k"`
		}
		if err := json.Unmarshal(input, &asked); err != nil {
			return nil, handler.NewError(handler.CodeInvalidInput, "bad question")
		}
		return json.Marshal(fmt.Sprintf("%d notes on %s", asked.TopK, asked.Text))
	case "broken":
		return nil, handler.NewError(handler.CodeFailed, "lookup failed")
	}
	return nil, handler.NewError(handler.CodeUnavailable, "no handler %s", name)
}

// Model is the dummy model with counted calls.
func (h *Handlers) Model() llm.Provider { return counted{h} }

func (h *Handlers) model(llm.Endpoint) (llm.Provider, error) { return h.Model(), nil }

type counted struct{ h *Handlers }

// Name implements llm.Provider. It is not the dummy's own, whose calls cost nothing and are not journaled.
func (c counted) Name() string { return "kit" }

// Complete implements llm.Provider.
func (c counted) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	c.h.note("model", "")
	if c.h.Hold != nil {
		if err := c.h.Hold(ctx, "model", r.System); err != nil {
			return nil, err
		}
	}
	resp, err := dummy.Provider{}.Complete(ctx, r)
	if err == nil {
		resp.Usage = c.h.Usage
	}
	return resp, err
}

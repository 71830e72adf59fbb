// Package agent runs one agent: model call, tool calls, result; with memory, guardrails and token budget. It imports the ports llm, tool and
// guardrail, and the plan; it never imports a store, an engine or a transport.
package agent

import (
	"context"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/run"
)

// Call names one model or tool call inside a step. Key is unique in the run and equal when the step is executed again after a crash.
type Call struct {
	// Key is "<step key>/model/<n>" or "<step key>/tool/<n>/<i>".
	Key string
	// Kind is "model" or "tool".
	Kind string
	// Name is the model or tool name, for traces and questions to people.
	Name string
	// SideEffect says that the call acts outside, so that its start is journaled before it is made.
	SideEffect bool
	// Idempotent is false when a cut-off call must not be repeated without asking a person (decision X18).
	Idempotent bool
	// Arguments is what a person is shown when asked about a cut-off call.
	Arguments json.RawMessage
}

// Outcome is what a call returned, exactly, so that a resumed run needs no second call.
type Outcome struct {
	Data  json.RawMessage
	Usage *run.Usage
}

// Journal records calls. Do returns the recorded outcome when the call was finished earlier and fn is not run; otherwise it runs fn with an
// idempotency key that is the same on every repetition, records the outcome and returns it. An error of fn is not recorded unless fn turned it into an outcome.
type Journal interface {
	Do(ctx context.Context, c Call, fn func(ctx context.Context, idempotencyKey string) (Outcome, error)) (Outcome, error)
}

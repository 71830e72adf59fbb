package agent

import (
	"context"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/run"
)

// Observer watches agents for traces and metrics. The returned context is used inside the act; the function is called once when it ends.
type Observer interface {
	Agent(ctx context.Context, o Observation) (context.Context, func(Done))
	Model(ctx context.Context, o Observation) (context.Context, func(Done))
	Tool(ctx context.Context, o Observation) (context.Context, func(Done))
}

// Observation is what is known when an act starts.
type Observation struct {
	Agent    string
	Runtime  string
	Provider string
	Model    string
	RunID    string
	// Messages is the length of the thread.
	Messages  int
	Iteration int
	// Temperature is nil when unset.
	Temperature *float64
	// Tool, CallID and Arguments belong to tool calls.
	Tool      string
	CallID    string
	Arguments json.RawMessage
}

// Done is what is known when an act ended.
type Done struct {
	Err        error
	Usage      *run.Usage
	Detail     *llm.Usage
	Iterations int
	// Model, RequestID, FinishReason, ToolCalls and TextLength belong to model calls.
	Model        string
	RequestID    string
	FinishReason string
	ToolCalls    int
	TextLength   int
	// Result and Failed belong to tool calls.
	Result string
	Failed bool
}

type nobody struct{}

func (nobody) Agent(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(Done) {}
}

func (nobody) Model(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(Done) {}
}

func (nobody) Tool(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(Done) {}
}

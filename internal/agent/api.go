package agent

import (
	"context"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// Request is one execution of an agent inside a step.
type Request struct {
	// Plan resolves components; Agent is one of its agents that is not backed by a workflow.
	Plan  *plan.Plan
	Agent *plan.Agent
	RunID string
	// SnapshotDigest names the frozen inputs, for inline secrets that a plan never carries.
	SnapshotDigest string
	// StepKey is the prefix of the keys of all calls of this execution, for example "s1#1@1". It is equal when the execution is repeated
	// after a crash and differs between attempts of a retried step.
	StepKey string
	// Messages is the agent's history followed by the thread of the step: the last one is the user's turn.
	Messages []run.Message
	// Journal records every model and tool call.
	Journal Journal
	// OnDelta receives pieces of text while the model speaks, or is nil. It is not called while an output guardrail still has to judge the text.
	OnDelta func(text string)

	// depth counts the agents above this one (agents as tools, reviewers, summarizers).
	depth int
}

// Result is what an execution produced.
type Result struct {
	// Status is run.Completed or run.MaxIterations.
	Status run.Status
	// Output is the final text after output guardrails.
	Output string
	// Messages is the thread the model saw (after the memory policy) followed by the new turns. Its last assistant turn carries the guarded
	// text (decision X6). Every message has a tool call list, possibly empty.
	Messages []run.Message
	// Iterations counts model turns as result metadata shows them.
	Iterations int64
	// RuntimeMode and RuntimeName are as shown in metadata, for example "bridge" and "react@dummy".
	RuntimeMode, RuntimeName string
	// Plan is the text of a plan-act agent's plan, or nil.
	Plan *string
	// Memory reports the memory policy, or is nil.
	Memory *MemoryReport
	// Guardrails lists output guardrails that changed the text.
	Guardrails []GuardrailNote
	// Usage sums the tokens of all model calls, sub-agents included; nil when no provider reported any.
	Usage *run.Usage
}

// MemoryReport tells what a memory policy did.
type MemoryReport struct {
	Policy             string `json:"policy"`
	BeforeMessageCount int    `json:"before_message_count"`
	AfterMessageCount  int    `json:"after_message_count"`
}

// GuardrailNote tells that a guardrail changed a text.
type GuardrailNote struct {
	ID     string `json:"id"`
	Action string `json:"action"`
}

// Agents executes agents.
//
// Errors: *problem.Error with code guardrail_violation (field "violation_type" names GuardrailViolation, ToolResultGuardrailViolation or
// ToolMiddlewareViolation), token_budget_exceeded or missing_secret; *run.StepError for provider failures and time limits; the context's
// error when the context ended.
type Agents interface {
	RunAgent(ctx context.Context, r Request) (Result, error)
}

// StepGuardrails checks the output of workflow steps.
type StepGuardrails interface {
	// CheckStep returns the text that goes on: the same one, or a revised or redacted one. A violation is a *problem.Error as above.
	CheckStep(ctx context.Context, r CheckRequest) (string, []GuardrailNote, error)
}

// CheckRequest is one check of a step's output.
type CheckRequest struct {
	Plan           *plan.Plan
	RunID          string
	SnapshotDigest string
	StepKey        string
	Text           string
	Journal        Journal
}

// Functions calls the handlers behind component functions (decision X10).
type Functions interface {
	// CallFunction passes text in and returns text. idempotencyKey is the same on every repetition of the same call. A failure is a *run.StepError.
	CallFunction(ctx context.Context, f *plan.Function, input, runID, idempotencyKey string) (string, error)
}

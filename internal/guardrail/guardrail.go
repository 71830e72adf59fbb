// Package guardrail checks texts against the guardrails of a plan: keyword, regex, function and agent checks in four stages, with the actions of
// the specification. It imports plan and problem; functions and agents are reached through Refs.
package guardrail

import (
	"context"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/plan"
)

// Stage is where a text is checked.
type Stage string

// Stages.
const (
	Input    Stage = "input"
	Output   Stage = "output"
	Tool     Stage = "tool"
	Workflow Stage = "workflow"
)

// Texts that replace a redacted one.
const (
	RedactedTool     = "[redacted by tool result guardrail]"
	RedactedWorkflow = "[redacted by workflow guardrail]"
)

// Verdict is the outcome of a stage that let a text pass.
type Verdict struct {
	// Text is the only text that may go on.
	Text string
	// Revised is set when Text is not what came in.
	Revised bool
	// Notes name the guardrails that changed the text; Warnings are failed checks whose action is warn.
	Notes    []Note
	Warnings []Warning
}

// Note is an item of metadata.guardrails.
type Note struct {
	ID     string `json:"id"`
	Action string `json:"action"`
}

// Warning is a failed check that only warns.
type Warning struct {
	ID     string
	Reason string
}

// Refs reaches what a check refers to.
type Refs interface {
	// Function calls a function component with a text and returns its answer as JSON.
	Function(ctx context.Context, name, text string) (json.RawMessage, error)
	// Agent runs a component agent on a prompt and returns its output.
	Agent(ctx context.Context, name, prompt string) (string, error)
}

// Checker runs checks. It is safe for concurrent use.
type Checker struct {
	patterns *patternCache
}

// Check applies guardrails in order to text. It returns a *problem.Error guardrail_violation with the field violation_type when one refuses,
// or the error of a function or agent that could not be run.
func (c *Checker) Check(ctx context.Context, stage Stage, guardrails []plan.Guardrail, text string, refs Refs) (Verdict, error) {
	v := Verdict{Text: text}
	for i := range guardrails {
		g := &guardrails[i]
		f, err := c.judge(ctx, g, v.Text, refs)
		if err != nil {
			return Verdict{}, err
		}
		if f == nil {
			continue
		}
		if err := apply(stage, g, f, &v); err != nil {
			return Verdict{}, err
		}
	}
	return v, nil
}

package runner

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
)

// violationField is the extra key of a guardrail problem that names the kind of violation.
const violationField = "violation_type"

// failureOf turns an error of an action into the failure the engine works with (decision W19).
func failureOf(err error) *engine.Failure {
	var step *run.StepError
	if p := problem.As(err); p != nil {
		f := &engine.Failure{Type: string(p.Code), Message: p.Message, Code: string(p.Code)}
		switch p.Code {
		case problem.GuardrailViolation:
			f.Type, f.Abort, f.Violation = run.FailGuardrail, true, "GuardrailViolation"
			for _, x := range p.Fields {
				if v, ok := x.Value.(string); ok && x.Key == violationField {
					f.Violation = v
				}
			}
		case problem.TokenBudgetExceeded, problem.MissingSecret:
		default:
			f.Code, f.Retry = "", true
		}
		return f
	}
	if errors.As(err, &step) {
		return &engine.Failure{Type: step.Type, Message: step.Message, Retry: !step.Permanent}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &engine.Failure{Type: run.FailTimeout, Message: err.Error(), Retry: true}
	}
	return &engine.Failure{Type: run.FailStep, Message: err.Error(), Retry: true}
}

// timedOut is the failure of an attempt that took longer than its limit. Scope names the enclosing step when the limit is not the attempt's own.
func timedOut(seconds int64, scope string, retry bool) *engine.Failure {
	return &engine.Failure{
		Type: run.FailTimeout, Message: "Operation timed out after " + strconv.FormatInt(seconds, 10) + " seconds.", Scope: scope, Retry: retry,
	}
}

// problemOf is the typed error of a failed run that keeps its own status in a response, or nil (decision W4).
func problemOf(f *engine.Failure, runID string) *problem.Error {
	if f == nil || f.Code == "" {
		return nil
	}
	p := problem.New(problem.Code(f.Code), "%s", redacted(f.Message))
	if f.Violation != "" {
		p = p.With(violationField, f.Violation)
	}
	p.RunID = runID
	return p
}

// agentResult turns an agent's result into its journaled form.
func agentResult(r agent.Result, sent []run.Message) (*engine.AgentResult, error) {
	out := &engine.AgentResult{
		Output: r.Output, MaxedOut: r.Status == run.MaxIterations, Iterations: r.Iterations, RuntimeMode: r.RuntimeMode,
		RuntimeName: r.RuntimeName, Plan: r.Plan,
	}
	for out.Keep < len(sent) && out.Keep < len(r.Messages) && sameMessage(sent[out.Keep], r.Messages[out.Keep]) {
		out.Keep++
	}
	out.Add = r.Messages[out.Keep:]
	var err error
	if r.Memory != nil {
		if out.Memory, err = marshal(r.Memory); err != nil {
			return nil, err
		}
	}
	if len(r.Guardrails) > 0 {
		if out.Guardrails, err = marshal(r.Guardrails); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func sameMessage(a, b run.Message) bool {
	if a.Role != b.Role || a.Content != b.Content || !same(a.Name, b.Name) || !same(a.ToolCallID, b.ToolCallID) {
		return false
	}
	if len(a.ToolCalls) != len(b.ToolCalls) || (a.ToolCalls == nil) != (b.ToolCalls == nil) {
		return false
	}
	for i, c := range a.ToolCalls {
		if d := b.ToolCalls[i]; c.ID != d.ID || c.Name != d.Name || !bytes.Equal(c.Arguments, d.Arguments) {
			return false
		}
	}
	return true
}

func same(a, b *string) bool { return a == b || (a != nil && b != nil && *a == *b) }

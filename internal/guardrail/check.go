package guardrail

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/pytext"
	"github.com/kneo-go/kneo/internal/redact"
)

// Violation types of the 422 body.
const (
	ViolationText       = "GuardrailViolation"
	ViolationToolResult = "ToolResultGuardrailViolation"
	ViolationTool       = "ToolMiddlewareViolation"
)

// finding is a failed check.
type finding struct {
	reason  string
	revised *string
}

// reviewInstruction begins the prompt of an agent check.
const reviewInstruction = "You review the payload below. Reply with the single word PASS when it is acceptable. Otherwise say in one sentence why it is not."

// judge returns nil when the text passes.
func (c *Checker) judge(ctx context.Context, g *plan.Guardrail, text string, refs Refs) (*finding, error) {
	switch g.Type {
	case "keyword":
		return keywords(g.Keywords, text), nil
	case "regex":
		return c.regex(ctx, g.Patterns, text)
	case "function":
		return function(ctx, g, text, refs)
	case "agent":
		return review(ctx, g, text, refs)
	}
	return nil, problem.New(problem.SpecInvalid, "Unsupported guardrail type: %s", g.Type)
}

func keywords(list []string, text string) *finding {
	lower := strings.ToLower(text)
	var found []string
	for _, k := range list {
		if strings.Contains(lower, strings.ToLower(k)) {
			found = append(found, k)
		}
	}
	if found == nil {
		return nil
	}
	return &finding{reason: "Blocked keywords found: " + pytext.Strings(found)}
}

func (c *Checker) regex(ctx context.Context, patterns []string, text string) (*finding, error) {
	var found, slow []string
	for _, p := range patterns {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		matched, err := c.patterns.match(p, text)
		switch {
		case errors.Is(err, errTooSlow):
			slow = append(slow, p)
		case err != nil:
			return nil, problem.Wrap(err, problem.SpecInvalid, "Guardrail pattern %s is not supported: %v", pytext.Quote(p), err)
		case matched:
			found = append(found, p)
		}
	}
	switch {
	case found != nil:
		return &finding{reason: "Regex guardrail matched: " + pytext.Strings(found)}, nil
	case slow != nil:
		return &finding{reason: "Regex guardrail gave no answer in time: " + pytext.Strings(slow)}, nil
	}
	return nil, nil
}

func function(ctx context.Context, g *plan.Guardrail, text string, refs Refs) (*finding, error) {
	if g.Ref == nil || refs == nil {
		return nil, problem.New(problem.SpecInvalid, "Guardrail '%s' has no function to ask.", g.ID)
	}
	out, err := refs.Function(ctx, g.Ref.Name, text)
	if err != nil {
		return nil, err
	}
	v, err := handler.ParseVerdict(out)
	if err != nil {
		return nil, err
	}
	if v.Passed {
		return nil, nil
	}
	reason := "None"
	if v.Reason != nil {
		reason = *v.Reason
	}
	return &finding{reason: reason, revised: v.RevisedText}, nil
}

func review(ctx context.Context, g *plan.Guardrail, text string, refs Refs) (*finding, error) {
	if g.Ref == nil || refs == nil {
		return nil, problem.New(problem.SpecInvalid, "Guardrail '%s' has no agent to ask.", g.ID)
	}
	out, err := refs.Agent(ctx, g.Ref.Name, reviewInstruction+"\n\nPayload:\n"+text)
	if err != nil {
		return nil, err
	}
	if saysPass(out) {
		return nil, nil
	}
	return &finding{reason: out}, nil
}

// saysPass reports whether the answer begins with the whole word PASS in any case.
func saysPass(answer string) bool {
	answer = strings.TrimSpace(answer)
	if len(answer) < 4 || !strings.EqualFold(answer[:4], "pass") {
		return false
	}
	for _, r := range answer[4:] {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	return true
}

// apply carries out the action of a failed check.
func apply(stage Stage, g *plan.Guardrail, f *finding, v *Verdict) error {
	action := g.Action
	if action == "" {
		action = "block"
	}
	switch {
	case action == "warn":
		v.Warnings = append(v.Warnings, Warning{ID: g.ID, Reason: f.reason})
		return nil
	case action == "redact" && stage == Tool:
		v.replace(g, action, RedactedTool)
		return nil
	case action == "redact" && stage == Workflow:
		v.replace(g, action, RedactedWorkflow)
		return nil
	case action == "revise" && f.revised != nil && (stage == Output || stage == Workflow):
		v.replace(g, action, *f.revised)
		return nil
	}
	return violation(stage, g.ID, f.reason)
}

func (v *Verdict) replace(g *plan.Guardrail, action, text string) {
	v.Text = text
	v.Revised = true
	v.Notes = append(v.Notes, Note{ID: g.ID, Action: action})
}

func violation(stage Stage, id, reason string) error {
	if stage == Tool {
		return Violation(ViolationToolResult, "Tool result guardrail '"+id+"' failed: "+reason)
	}
	return Violation(ViolationText, "Guardrail '"+id+"' failed: "+reason)
}

// Violation returns the refusal of a guardrail or a tool policy; kind is one of the Violation constants. The message is scrubbed of secrets.
func Violation(kind, message string) *problem.Error {
	return problem.New(problem.GuardrailViolation, "%s", redact.Text(message)).With("violation_type", kind)
}

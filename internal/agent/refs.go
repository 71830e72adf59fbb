package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
)

// refs reaches the functions and agents that guardrails and memory policies refer to. It serves one check at a time; its calls are journaled
// under the prefix in the order in which they are made.
type refs struct {
	loop   *Loop
	r      Request
	prefix string
	n      int
	usage  *run.Usage
}

func (s *session) refs(purpose string) *refs {
	return &refs{loop: s.Loop, r: s.r, prefix: s.r.StepKey + "/" + purpose}
}

// Function implements guardrail.Refs.
func (f *refs) Function(ctx context.Context, name, text string) (json.RawMessage, error) {
	input, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	return f.call(ctx, handler.Guardrail, name, input)
}

// Agent implements guardrail.Refs.
func (f *refs) Agent(ctx context.Context, name, prompt string) (string, error) {
	a := f.r.Plan.Agents[name]
	if a == nil {
		return "", problem.New(problem.SpecInvalid, "Unknown agent component: %s", name)
	}
	res, err := sub(ctx, f.loop, f.r, a, f.key(), prompt)
	if err != nil {
		return "", err
	}
	f.usage = f.usage.Add(res.Usage)
	return res.Output, nil
}

func (f *refs) key() string {
	f.n++
	return fmt.Sprintf("%s/%d", f.prefix, f.n-1)
}

// call runs a component function in a role and records its answer.
func (f *refs) call(ctx context.Context, kind handler.Kind, name string, input json.RawMessage) (json.RawMessage, error) {
	fn := f.r.Plan.Functions[name]
	if fn == nil {
		return nil, problem.New(problem.SpecInvalid, "Unknown function component: %s", name)
	}
	if f.loop.Handlers == nil {
		return nil, &run.StepError{Type: run.FailHandlerUnavailable, Message: "No handlers are connected."}
	}
	call := Call{Key: f.key(), Kind: "tool", Name: name, Idempotent: true, Arguments: input}
	out, err := do(ctx, f.r, call, func(ctx context.Context, key string) (Outcome, error) {
		meta := handler.Meta{RunID: f.r.RunID, Attempt: 1, IdempotencyKey: key}
		if d, ok := ctx.Deadline(); ok {
			meta.Deadline = d
		}
		data, err := f.loop.Handlers.Call(ctx, kind, fn.Implementation, input, meta)
		return Outcome{Data: data}, err
	})
	return out.Data, err
}

// text asks a function in a role, or an agent, for text.
func (f *refs) text(ctx context.Context, ref *plan.Ref, kind handler.Kind, input json.RawMessage, prompt string) (string, error) {
	if ref.Bucket == "agents" {
		return f.Agent(ctx, ref.Name, prompt)
	}
	out, err := f.call(ctx, kind, ref.Name, input)
	if err != nil {
		return "", err
	}
	return handler.Text(out), nil
}

func stepFailure(err error) (*run.StepError, bool) {
	var step *run.StepError
	ok := errors.As(err, &step)
	return step, ok
}

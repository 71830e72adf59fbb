package runner

import (
	"context"
	"errors"
	"time"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
)

// Delegate runs an agent that is backed by a workflow for another agent that refers to it (as a tool or a reviewer). Its steps are not the
// run's: they leave no checkpoints, and their calls are journaled under the caller's step. The root agent's workflow guardrails check them as they
// check every step. A person cannot be asked from inside.
func (r *Runner) Delegate(ctx context.Context, req agent.Request) (agent.Result, error) {
	p := *req.Plan
	p.Root = req.Agent
	input := ""
	if n := len(req.Messages); n > 0 {
		input = req.Messages[n-1].Content
	}
	s := engine.New(string(engine.KindAgent), input)
	for {
		actions := engine.Next(&p, s)
		s.Events()
		switch a := actions[0]; a.Kind {
		case engine.Done:
			return delegated(s, req.Agent, &p), nil
		case engine.Fail:
			return agent.Result{}, stepError(s.Failure)
		case engine.OpenGate, engine.AskPerson:
			return agent.Result{}, problem.New(problem.SpecInvalid, "Agent '%s' waits for a person inside a call of another agent.", req.Agent.Name)
		default:
			res, err := r.delegate(ctx, &p, req, a)
			if err != nil {
				return agent.Result{}, err
			}
			if err := engine.Apply(&p, s, res); err != nil && !errors.Is(err, engine.ErrStale) {
				return agent.Result{}, err
			}
		}
	}
}

// delegate performs one action of a delegated workflow.
func (r *Runner) delegate(ctx context.Context, p *plan.Plan, req agent.Request, a engine.Action) (engine.Result, error) {
	res := engine.Result{Key: a.Key}
	key := req.StepKey + "/" + a.Key
	ctx, cancel := withLimit(ctx, a)
	defer cancel()
	switch a.Kind {
	case engine.CheckStep:
		text, _, err := r.Guardrails.CheckStep(ctx, agent.CheckRequest{
			Plan: p, RunID: req.RunID, SnapshotDigest: req.SnapshotDigest, StepKey: key, Text: a.Input, Journal: req.Journal,
		})
		if err != nil {
			return r.failedCall(ctx, res, err)
		}
		res.Output = &text
		return res, nil
	case engine.RunFunction:
		out, err := r.Functions.CallFunction(ctx, a.Function, a.Input, req.RunID, key)
		if err != nil {
			return r.failedCall(ctx, res, err)
		}
		res.Output = &out
		return res, nil
	}
	out, err := r.Agents.RunAgent(ctx, agent.Request{
		Plan: p, Agent: a.Agent, RunID: req.RunID, SnapshotDigest: req.SnapshotDigest, StepKey: key, Messages: a.Messages, Journal: req.Journal,
	})
	if err != nil {
		return r.failedCall(ctx, res, err)
	}
	res.Usage = out.Usage
	res.Agent, err = agentResult(out, a.Messages)
	return res, err
}

// limitError is the cause of a context whose step took too long.
type limitError struct {
	seconds int64
	scope   string
}

func (e *limitError) Error() string { return timedOut(e.seconds, e.scope, false).Message }

// withLimit applies the time limits of a step and of those around it; each counts from the start of the action.
func withLimit(ctx context.Context, a engine.Action) (context.Context, context.CancelFunc) {
	var limit *limitError
	if a.TimeoutSeconds != nil {
		limit = &limitError{seconds: *a.TimeoutSeconds}
	}
	for _, s := range a.Scopes {
		if limit == nil || s.TimeoutSeconds < limit.seconds {
			limit = &limitError{s.TimeoutSeconds, s.Key}
		}
	}
	if limit == nil {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, time.Duration(limit.seconds)*time.Second, limit)
}

func (r *Runner) failedCall(ctx context.Context, res engine.Result, err error) (engine.Result, error) {
	var cut *cutOffError
	var limit *limitError
	if errors.As(context.Cause(ctx), &limit) {
		res.Err = timedOut(limit.seconds, limit.scope, r.RetryOnTimeout)
		return res, nil
	}
	if ctx.Err() != nil || errors.As(err, &cut) {
		return res, err
	}
	res.Err = failureOf(err)
	return res, nil
}

func delegated(s *engine.State, a *plan.Agent, p *plan.Plan) agent.Result {
	out := agent.Result{
		Status: s.Status, Output: s.Output, Messages: s.Messages, RuntimeMode: "sdk", Usage: s.Usage,
	}
	if s.Agent != nil {
		out.Iterations = s.Agent.Iterations
	}
	if wf := p.Workflows[a.AsAgent]; out.Iterations == 0 && wf != nil {
		out.Iterations = int64(len(wf.Steps))
	}
	return out
}

// stepError turns the failure of a delegated workflow back into an error of its agent.
func stepError(f *engine.Failure) error {
	if p := problemOf(f, ""); p != nil {
		return p
	}
	return &run.StepError{Type: f.Type, Message: f.Message, Permanent: !f.Retry}
}

package runner

import (
	"context"
	"errors"
	"slices"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// Delegate runs an agent that is backed by a workflow for another agent that refers to it (as a tool or a reviewer). Its steps are not the
// run's: they leave no checkpoints, and their calls are journaled under the caller's step. The root agent's workflow guardrails check them as they
// check every step. A person cannot be asked from inside. Branches run at the same time, as those of the run do.
func (r *Runner) Delegate(ctx context.Context, req agent.Request) (agent.Result, error) {
	p := *req.Plan
	p.Root = req.Agent
	input := ""
	if n := len(req.Messages); n > 0 {
		input = req.Messages[n-1].Content
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &delegation{Runner: r, plan: &p, req: req}
	d.flights = flights{Runner: r, perform: d.perform, broken: cancel}
	s := engine.New(string(engine.KindAgent), input)
	for {
		actions := engine.Next(&p, s)
		s.Events()
		switch a := actions[0]; {
		case a.Kind == engine.Done:
			return delegated(s, req.Agent, &p), nil
		case a.Kind == engine.Fail:
			return agent.Result{}, stepError(s.Failure)
		case slices.ContainsFunc(actions, asksPerson):
			return agent.Result{}, problem.New(problem.SpecInvalid, "Agent '%s' waits for a person inside a call of another agent.", req.Agent.Name)
		}
		res, err := d.next(ctx, actions)
		if err != nil {
			return agent.Result{}, err
		}
		if err := engine.Apply(&p, s, res); err != nil && !errors.Is(err, engine.ErrStale) {
			return agent.Result{}, err
		}
	}
}

func asksPerson(a engine.Action) bool { return a.Kind == engine.OpenGate || a.Kind == engine.AskPerson }

// delegation is one execution of a workflow inside a call.
type delegation struct {
	*Runner
	plan    *plan.Plan
	req     agent.Request
	flights flights
}

// next performs actions until the first of them has a result.
func (d *delegation) next(ctx context.Context, actions []engine.Action) (engine.Result, error) {
	if d.flights.alone(actions) {
		return d.perform(ctx, actions[0])
	}
	d.flights.launch(ctx, actions)
	for {
		select {
		case <-ctx.Done():
			return engine.Result{}, context.Cause(ctx)
		case res := <-d.flights.results:
			if d.flights.landed(res) {
				return res, nil
			}
		}
	}
}

// perform does one action. Failures of the action are results; what ends the leg, or needs a person, is an error.
func (d *delegation) perform(ctx context.Context, a engine.Action) (engine.Result, error) {
	res := engine.Result{Key: a.Key}
	err := d.shielded(ctx, d.req.RunID, a.Key, func() error { return d.try(ctx, a, &res) })
	var cut *cutOffError
	switch {
	case err == nil:
		return res, nil
	case ctx.Err() != nil, errors.As(err, &cut), errors.Is(err, store.ErrLeaseLost), errors.Is(err, store.ErrUnavailable):
		return res, err
	}
	return engine.Result{Key: a.Key, Err: failureOf(err)}, nil
}

func (d *delegation) try(ctx context.Context, a engine.Action, res *engine.Result) error {
	key := d.req.StepKey + "/" + a.Key
	switch a.Kind {
	case engine.CheckStep:
		text, _, err := d.Guardrails.CheckStep(ctx, agent.CheckRequest{
			Plan: d.plan, RunID: d.req.RunID, SnapshotDigest: d.req.SnapshotDigest, StepKey: key, Text: a.Input, Journal: d.req.Journal,
		})
		res.Output = &text
		return err
	case engine.RunFunction:
		out, err := d.Functions.CallFunction(ctx, a.Function, a.Input, d.req.RunID, key)
		res.Output = &out
		return err
	}
	out, err := d.Agents.RunAgent(ctx, agent.Request{
		Plan: d.plan, Agent: a.Agent, RunID: d.req.RunID, SnapshotDigest: d.req.SnapshotDigest, StepKey: key, Messages: a.Messages, Journal: d.req.Journal,
	})
	if err != nil {
		return err
	}
	res.Usage = out.Usage
	res.Agent, err = agentResult(out, a.Messages)
	return err
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

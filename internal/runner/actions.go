package runner

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/store"
)

// perform does one action. Failures of the action are results; an error is a failure of the platform or the end of the leg.
func (l *leg) perform(ctx context.Context, a engine.Action) (engine.Result, error) {
	calls := &stepCalls{journal: l.journal, runID: l.row.ID, step: a.Step, now: l.Clock.Now}
	res := engine.Result{Key: a.Key}
	err := l.try(ctx, a, calls, &res)
	res.Usage = calls.spent()
	if err == nil {
		return res, nil
	}
	return l.failedAction(ctx, res, err)
}

// try does the action.
func (l *leg) try(ctx context.Context, a engine.Action, calls *stepCalls, res *engine.Result) error {
	return l.shielded(ctx, l.row.ID, a.Key, func() (err error) {
		switch a.Kind {
		case engine.RunAgent:
			res.Agent, err = l.runAgent(ctx, a, calls)
		case engine.RunFunction:
			res.Output, err = l.runFunction(ctx, a)
		case engine.CheckStep:
			res.Output, err = l.checkStep(ctx, a, calls)
		default:
			err = problem.New(problem.Internal, "unknown action %q", a.Kind)
		}
		return err
	})
}

func (l *leg) failedAction(ctx context.Context, res engine.Result, err error) (engine.Result, error) {
	var cut *cutOffError
	switch {
	case ctx.Err() != nil:
		return res, context.Cause(ctx)
	case errors.Is(err, store.ErrLeaseLost), errors.Is(err, store.ErrUnavailable):
		return res, err
	case errors.As(err, &cut):
		res.Agent, res.Output = nil, nil
		res.Ask = &engine.Ask{CallKey: cut.call.Key, Name: cut.call.Name, Arguments: cut.call.Arguments}
		return res, nil
	}
	res.Agent, res.Output = nil, nil
	res.Err = failureOf(err)
	return res, nil
}

func (l *leg) runAgent(ctx context.Context, a engine.Action, calls *stepCalls) (*engine.AgentResult, error) {
	onDelta, flush := l.deltas(ctx, a)
	r, err := l.Agents.RunAgent(ctx, agent.Request{
		Plan: l.plan, Agent: a.Agent, RunID: l.row.ID, SnapshotDigest: l.row.SnapshotDigest, StepKey: a.Key, Messages: a.Messages, Journal: calls,
		OnDelta: onDelta,
	})
	flush()
	if err != nil {
		return nil, err
	}
	if calls.spent() == nil {
		calls.mu.Lock()
		calls.usage = r.Usage
		calls.mu.Unlock()
	}
	return agentResult(r, a.Messages)
}

func (l *leg) runFunction(ctx context.Context, a engine.Action) (*string, error) {
	if err := l.journal.flush(ctx); err != nil {
		return nil, err
	}
	out, err := l.Functions.CallFunction(ctx, a.Function, a.Input, l.row.ID, id.Derived(l.row.ID, a.Key))
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func (l *leg) checkStep(ctx context.Context, a engine.Action, calls *stepCalls) (*string, error) {
	text, _, err := l.Guardrails.CheckStep(ctx, agent.CheckRequest{
		Plan: l.plan, RunID: l.row.ID, SnapshotDigest: l.row.SnapshotDigest, StepKey: a.Key, Text: a.Input, Journal: calls,
	})
	if err != nil {
		return nil, err
	}
	return &text, nil
}

func marshal(v any) (json.RawMessage, error) { return json.Marshal(v) }

var _ agent.Journal = (*stepCalls)(nil)

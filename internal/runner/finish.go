package runner

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// maxIterationsMessage is the error of a run that hit an iteration cap.
const maxIterationsMessage = "Run stopped after reaching max iterations."

// finish ends the leg with a terminal status.
func (l *leg) finish(ctx context.Context) Outcome {
	if l.refused() {
		return l.reopen(ctx)
	}
	at := l.now()
	r := &l.row
	s := l.state
	r.CompletedAt, r.UpdatedAt = &at, at
	r.PendingRequest, r.ContinuationID = nil, nil
	status := s.Status
	if status != run.Failed || l.state.Root != nil && l.state.Root.Kind == plan.Concurrent {
		l.visited()
	}
	r.Usage = s.Usage
	switch status {
	case run.Completed:
		r.Status, r.Error = run.Completed, nil
		r.Output = &s.Output
		r.Messages = run.AppendThread(nil, s.Messages)
	case run.MaxIterations:
		r.Status = run.Failed
		r.Error = &run.Failure{Message: maxIterationsMessage, Type: run.FailMaxIterations}
		r.Output = &s.Output
		r.Messages = run.AppendThread(nil, s.Messages)
	default:
		r.Status = run.Failed
		r.Error = &run.Failure{Message: s.Failure.Message, Type: s.Failure.Type}
	}
	result := l.resultMetadata(at)
	if status == run.Failed {
		r.Progress = l.counters(nil)
	} else {
		r.Progress = l.counters(result)
	}
	l.closingRows(status, at)
	end := store.EndLeg{}
	if l.unattended && r.Status == run.Failed {
		end.Audit = []run.AuditEvent{ContinueFailed(r.ID, l.c.ResumedFrom, *r.Error, at)}
	}
	out := Outcome{Status: status, Problem: problemOf(s.Failure, r.ID)}
	if l.c.Mode == run.ModeInline {
		l.reply(ctx, &out, result)
		end.Response, end.StatusCode = out.Body, out.Code
	}
	l.live(string(r.Status), l.endData())
	return l.end(ctx, out, end, l.Store.FinishRun)
}

// visited sets the lists of the root workflow; those of nested ones of the other kind stay, as the reference shows them.
func (l *leg) visited() {
	root := l.state.Root
	if root == nil || root.Kind == engine.KindAgent {
		return
	}
	if root.Kind == plan.Graph {
		l.row.VisitedNodes = root.Visited
	} else {
		l.row.VisitedSteps = root.Visited
	}
}

// closingRows appends the rows that follow a leg (execution.md §6.3).
func (l *leg) closingRows(status run.Status, at time.Time) {
	if status != run.Failed {
		for _, name := range l.state.Unclosed() {
			kind := l.state.Root.Kind
			meta := object("workflow_type", string(kind))
			if kind == plan.Graph {
				l.checkpoint(run.CheckpointNodeCompleted, nil, &name, 1, at, meta)
			} else {
				l.checkpoint(run.CheckpointStepCompleted, &name, nil, 1, at, meta)
			}
		}
	}
	switch status {
	case run.Completed:
		meta := run.AppendString([]byte(`{"output_text":`), redacted(l.state.Output))
		l.checkpoint(run.CheckpointRunCompleted, nil, nil, 1, at, append(meta, '}'))
	case run.Failed:
		meta := append([]byte(`{"error":`), record.Error(&l.row)...)
		l.checkpoint(run.CheckpointRunFailed, nil, nil, 1, at, append(meta, '}'))
	default:
		l.leftover()
	}
}

// leftover keeps trace events that no closing row carries: on the last row of this commit, or on the run itself.
func (l *leg) leftover() {
	if len(l.out.trace) == 0 {
		return
	}
	trace := l.out.takeTrace()
	if n := len(l.out.checkpoints); n > 0 {
		last := &l.out.checkpoints[n-1]
		last.TraceEvents = joinArrays(last.TraceEvents, trace)
		return
	}
	kept := object("run_id", l.row.ID)
	kept = append(kept[:len(kept)-1], `,"events":`...)
	kept = append(append(kept, trace...), '}')
	p := l.row.Progress
	p = comma(append([]byte{}, p[:len(p)-1]...))
	l.row.Progress = append(append(append(p, `"trace":`...), kept...), '}')
}

func joinArrays(a, b json.RawMessage) json.RawMessage {
	if len(a) <= 2 {
		return b
	}
	if len(b) <= 2 {
		return a
	}
	out := append(append([]byte{}, a[:len(a)-1]...), ',')
	return append(out, b[1:]...)
}

func (l *leg) endData() json.RawMessage {
	pairs := []string{"status", string(l.row.Status)}
	if l.row.Error != nil {
		pairs = append(pairs, "error_type", l.row.Error.Type, "error", redacted(l.row.Error.Message))
	}
	return object(pairs...)
}

// end does the last write of the leg.
func (l *leg) end(ctx context.Context, out Outcome, end store.EndLeg, write func(context.Context, run.Fence, store.EndLeg) error) Outcome {
	ctx, cancel := detached(ctx)
	defer cancel()
	l.keeper.closing(l.c.Fence)
	l.quiet()
	err := l.journal.commit(ctx, func(ctx context.Context, entries []run.Entry, events []run.Event) error {
		l.out.takeStart()
		entries = append(entries, l.out.entries...)
		entries = append(entries, end.Entries...)
		if l.row.Status == run.Failed {
			entries = append(entries, engine.PauseEntry(l.unique(), nil))
		}
		row := l.row
		end.Progress = store.Progress{Run: &row, Entries: entries, Checkpoints: l.out.checkpoints, Events: append(events, l.out.events...), Audit: end.Audit}
		return l.retryWrite(ctx, func() error { return write(ctx, l.c.Fence, end) })
	})
	out.Run = l.row
	if err != nil {
		return l.interrupted(ctx, err)
	}
	l.measure(&out)
	return out
}

// retryWrite repeats a write that the database could not take just now.
func (l *leg) retryWrite(ctx context.Context, write func() error) error {
	wait := 50 * time.Millisecond
	for try := 0; ; try++ {
		err := write()
		if err == nil || !errors.Is(err, store.ErrUnavailable) || try == 5 {
			return err
		}
		due := make(chan struct{})
		stop := l.Clock.AfterFunc(wait, func() { close(due) })
		select {
		case <-ctx.Done():
			stop()
			return err
		case <-due:
		}
		wait *= 2
	}
}

// unique makes journal keys of this leg differ from those of others.
func (l *leg) unique() string { return itoa(l.c.Fence.Attempt) + "." + itoa(int64(l.state.Leg)) }

func (l *leg) measure(out *Outcome) {
	if l.Metrics == nil {
		return
	}
	switch l.row.Status {
	case run.Completed:
		l.Metrics.RunCompleted()
	case run.Failed:
		l.Metrics.RunFailed()
	}
	if u := l.spent(); u != nil && out.Err == nil {
		l.Metrics.Tokens(u.InputTokens, u.OutputTokens, u.TotalTokens)
	}
	l.Metrics.Leg(l.c.Mode, string(l.row.Status), l.Clock.Now().Sub(l.begun))
}

// spent is what this leg used.
func (l *leg) spent() *run.Usage {
	total, before := l.state.Usage, l.c.Run.Usage
	if total == nil || before == nil {
		return total
	}
	return &run.Usage{
		InputTokens: total.InputTokens - before.InputTokens, OutputTokens: total.OutputTokens - before.OutputTokens,
		TotalTokens: total.TotalTokens - before.TotalTokens,
	}
}

// refused tells that the answer this leg follows was refused by a guardrail or policy before anything else was done (decision X19). An answer that
// the time limit gave is not asked for again: it would be given again.
func (l *leg) refused() bool {
	return l.resumed && !l.unattended && l.c.ResumedFrom != "" && l.state.Status == run.Failed && l.state.Failure != nil && l.state.Failure.Violation != ""
}

// reopen puts the run back to its pause: the task waits for another answer.
func (l *leg) reopen(ctx context.Context) Outcome {
	at := l.now()
	p := problemOf(l.state.Failure, l.row.ID)
	prior := l.c.Run
	l.row.Status, l.row.UpdatedAt = run.Blocked, at
	l.row.Error, l.row.Usage = prior.Error, l.state.Usage
	l.row.CurrentStepIndex, l.row.CurrentStepID, l.row.CurrentNodeID = prior.CurrentStepIndex, prior.CurrentStepID, prior.CurrentNodeID
	l.row.VisitedSteps, l.row.VisitedNodes, l.row.Output = prior.VisitedSteps, prior.VisitedNodes, prior.Output
	l.row.Progress, l.row.Messages = prior.Progress, prior.Messages
	l.row.TraceCount, l.row.TraceDropped = prior.TraceCount, prior.TraceDropped
	l.row.PendingRequest, l.row.ContinuationID = prior.PendingRequest, prior.ContinuationID
	l.out.checkpoints, l.out.entries = nil, nil
	l.out.events = []run.Event{{Kind: "blocked", Data: object("continuation_id", l.c.ResumedFrom), CreatedAt: at}}
	out := Outcome{Status: run.Blocked, Problem: p, Body: record.Problem(p), Code: record.ProblemStatus(p.Code)}
	end := store.EndLeg{Reopen: l.c.ResumedFrom, Response: out.Body, StatusCode: out.Code}
	end.Entries = []run.Entry{engine.ReopenEntry(l.humanKey)}
	return l.end(ctx, out, end, l.Store.BlockRun)
}

// interrupted ends a leg that could not be brought to an end here.
func (l *leg) interrupted(ctx context.Context, err error) Outcome {
	cause := context.Cause(ctx)
	ctx, cancel := detached(ctx)
	defer cancel()
	switch {
	case errors.Is(err, ErrOverdue) || errors.Is(cause, ErrOverdue):
		return l.timeOut(ctx)
	case errors.Is(err, ErrCancelled), errors.Is(err, ErrLost), errors.Is(err, store.ErrLeaseLost), errors.Is(cause, ErrCancelled), errors.Is(cause, ErrLost):
		return l.superseded(ctx)
	case cause != nil:
		return l.giveBack(ctx)
	}
	l.Log.ErrorContext(ctx, "leg could not be stored", "run_id", l.row.ID, "error", err)
	return Outcome{Run: l.row, Status: l.row.Status, Err: err}
}

// superseded answers with what another executor or a cancellation stored.
func (l *leg) superseded(ctx context.Context) Outcome {
	r, err := l.Store.Run(ctx, l.row.ID)
	if err != nil {
		return Outcome{Run: l.row, Err: err}
	}
	out := Outcome{Run: r, Status: r.Status, Code: 200}
	if !r.Status.Terminal() {
		out.Err = store.ErrLeaseLost
		return out
	}
	key := "reentry_skipped"
	if r.Status == run.Cancelled {
		key = "cancelled"
	}
	out.Metadata = json.RawMessage(`{"` + key + `":true}`)
	out.Body = l.body(&out)
	return out
}

// giveBack releases the claim so that another executor goes on from the journal.
func (l *leg) giveBack(ctx context.Context) Outcome {
	if err := l.journal.flush(ctx); err != nil {
		return Outcome{Run: l.row, Err: err}
	}
	err := l.Store.ReleaseRun(ctx, l.c.Fence)
	if err == nil {
		err = ErrDrain
	}
	return Outcome{Run: l.row, Status: l.row.Status, Err: err}
}

func (l *leg) timeOut(ctx context.Context) Outcome {
	p := TimeOut(l.row, l.now())
	r, changed, err := l.Store.TimeOutRun(ctx, l.row.ID, p)
	if err != nil {
		return Outcome{Run: l.row, Err: err}
	}
	out := Outcome{Run: r, Status: r.Status, Code: 200, Metadata: json.RawMessage(`{}`)}
	out.Body = l.body(&out)
	if changed && l.Metrics != nil {
		l.Metrics.RunFailed()
	}
	return out
}

// unreadableError says that the plan or the journal of a run cannot be used, now or later.
type unreadableError struct{ cause error }

func (e *unreadableError) Error() string { return e.cause.Error() }

func (e *unreadableError) Unwrap() error { return e.cause }

// broken ends a leg that could not begin. A plan or journal that cannot be used fails the run; after any other failure the lease lapses and
// the run is tried again.
func (l *leg) broken(ctx context.Context, err error) Outcome {
	l.Log.ErrorContext(ctx, "run could not be executed", "run_id", l.row.ID, "error", err)
	var unreadable *unreadableError
	p := problem.As(err)
	invalid := p != nil && p.Code == problem.SpecInvalid
	if !invalid && !errors.As(err, &unreadable) {
		return l.interrupted(ctx, err)
	}
	f := &engine.Failure{Type: run.FailInternal, Message: "The run could not be executed."}
	if invalid {
		f.Type, f.Message = run.FailSpecInvalid, p.Message
	}
	l.state = engine.New(l.row.Target, l.row.Input)
	l.state.Status, l.state.Failure = run.Failed, f
	return l.finish(ctx)
}

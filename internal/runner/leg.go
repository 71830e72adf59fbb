package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// branchGrace is how long a finished branch waits for others before it is stored.
const branchGrace = 250 * time.Microsecond

// leg is one execution of a claimed run.
type leg struct {
	*Runner
	c      run.Claimed
	cancel context.CancelCauseFunc
	quiet  func()

	row     run.Run
	plan    *plan.Plan
	state   *engine.State
	journal *journal
	begun   time.Time
	last    time.Time

	// out is what the next commit writes beside the journal entries.
	out buffer
	// humanKey is the journal key of the answer that this leg follows, while no step has ended since.
	humanKey string
	// resumed tells that the leg began with an answer and has not moved past the gate in the store.
	resumed bool
	// unattended tells that nobody gave the answer: the time limit of the task did.
	unattended bool

	flights flights

	stopTimers []func()
}

func newLeg(r *Runner, c run.Claimed, cancel context.CancelCauseFunc, quiet func()) *leg {
	now := r.Clock.Now()
	l := &leg{
		Runner: r, c: c, cancel: cancel, quiet: quiet, row: c.Run, begun: now, last: now,
		journal: newJournal(r.Store, c.Fence, cancel, func() bool { return r.keeper.doubtful(c.Fence, r.Lease) }),
	}
	l.flights = flights{Runner: r, perform: l.perform, broken: cancel}
	return l
}

// stop ends what the leg started.
func (l *leg) stop() {
	l.flights.stop()
	for _, s := range l.stopTimers {
		s()
	}
}

// now is a time that grows with every call, so that events sort in the order in which they happened.
func (l *leg) now() time.Time {
	t := l.Clock.Now()
	if !t.After(l.last) {
		t = l.last.Add(time.Microsecond)
	}
	l.last = t
	return t
}

func (l *leg) execute(ctx context.Context) Outcome {
	if err := l.open(ctx); err != nil {
		return l.broken(ctx, err)
	}
	if l.Metrics != nil && l.c.Reply != run.ReplyContinue && l.c.Reply != run.ReplyResume {
		l.Metrics.RunStarted()
	}
	l.watchDeadline()
	l.announce(ctx)
	end, err := l.loop(ctx)
	if err != nil {
		return l.interrupted(ctx, err)
	}
	if end == nil {
		return l.block(ctx)
	}
	return l.finish(ctx)
}

// open loads the plan and, when the run has a past, its journal.
func (l *leg) open(ctx context.Context) error {
	p, err := l.Plans(ctx, l.row.SnapshotDigest)
	if err != nil {
		return fmt.Errorf("plan of run %s: %w", l.row.ID, err)
	}
	l.plan = p
	l.names()
	if l.row.JournalSeq == 0 {
		l.state = engine.New(l.row.Target, l.row.Input)
		return nil
	}
	entries, err := l.Store.Journal(ctx, l.row.ID)
	if err != nil {
		return err
	}
	rebuilt, err := engine.Rebuild(p, l.row.Target, l.row.Input, entries)
	if err != nil {
		return &unreadableError{err}
	}
	l.state, l.humanKey = rebuilt.State, rebuilt.HumanKey
	l.resumed, l.unattended = l.humanKey != "", rebuilt.Unattended && l.c.Mode == run.ModeQueued
	if err := l.journal.load(rebuilt.Calls, rebuilt.Answers); err != nil {
		return &unreadableError{err}
	}
	l.take(rebuilt.Events)
	return nil
}

// names fills in what the row says about its plan.
func (l *leg) names() {
	r := &l.row
	if r.AgentName == nil && l.plan.Root != nil {
		r.AgentName = &l.plan.Root.Name
	}
	if r.WorkflowName == nil && l.plan.Workflow != nil {
		r.WorkflowName = &l.plan.Workflow.Name
	}
	kind := "agent"
	if l.plan.Workflow != nil && r.Target != "agent" {
		kind = "workflow"
	}
	r.WorkflowKind = &kind
}

func (l *leg) watchDeadline() {
	if l.row.DeadlineAt == nil {
		return
	}
	cancel := l.cancel
	l.stopTimers = append(l.stopTimers, l.Clock.AfterFunc(l.row.DeadlineAt.Sub(l.Clock.Now()), func() { cancel(ErrOverdue) }))
}

// announce marks the run as running: with its first commit, or on its own when that takes long (decision W1).
func (l *leg) announce(ctx context.Context) {
	l.row.Status = run.Running
	now := l.now()
	if l.row.StartedAt == nil {
		l.row.StartedAt = &now
	}
	if l.c.Mode != run.ModeQueued || l.c.Run.Status == run.Running {
		return
	}
	row := l.row
	row.UpdatedAt = now
	l.out.start = &store.Progress{Run: &row, Events: []run.Event{{Kind: "started", Data: []byte(`{"status":"running"}`), CreatedAt: now}}}
	ctx = context.WithoutCancel(ctx)
	l.stopTimers = append(l.stopTimers, l.Clock.AfterFunc(l.StartDelay, func() { l.started(ctx) }))
}

// started writes the announcement if no commit has carried it yet.
func (l *leg) started(ctx context.Context) {
	l.journal.write.Lock()
	defer l.journal.write.Unlock()
	start := l.out.takeStart()
	if start == nil {
		return
	}
	err := l.journal.failed(l.Store.StartClaimed(ctx, l.c.Fence, *start))
	if err != nil && !errors.Is(err, store.ErrLeaseLost) {
		l.Log.WarnContext(ctx, "run could not be marked as running", "run_id", l.row.ID, "error", err)
	}
}

// loop drives the engine until the run ends (a non-nil action) or only waits for people (nil).
func (l *leg) loop(ctx context.Context) (*engine.Action, error) {
	for {
		actions := engine.Next(l.plan, l.state)
		l.take(l.state.Events())
		if k := actions[0].Kind; len(actions) == 1 && (k == engine.Done || k == engine.Fail) {
			return &actions[0], nil
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if len(l.flights.active) == 0 && engine.Blocked(actions) {
			return nil, nil
		}
		if l.out.due {
			if err := l.commit(ctx); err != nil {
				return nil, err
			}
		}
		if err := l.advance(ctx, actions); err != nil {
			return nil, err
		}
	}
}

// advance performs actions until at least one result has been applied.
func (l *leg) advance(ctx context.Context, actions []engine.Action) error {
	if l.flights.alone(actions) {
		res, err := l.perform(ctx, actions[0])
		if err != nil {
			return err
		}
		return l.apply(res)
	}
	l.flights.launch(ctx, actions)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case res := <-l.flights.results:
		if err := l.landed(res); err != nil {
			return err
		}
	}
	return l.gather()
}

// gather waits a moment for further branches, so that those which end together share a commit.
func (l *leg) gather() error {
	if len(l.flights.active) == 0 {
		return nil
	}
	grace := time.NewTimer(branchGrace)
	defer grace.Stop()
	for len(l.flights.active) > 0 {
		select {
		case res := <-l.flights.results:
			if err := l.landed(res); err != nil {
				return err
			}
		case <-grace.C:
			return nil
		}
	}
	return nil
}

func (l *leg) landed(res engine.Result) error {
	if !l.flights.landed(res) {
		return nil
	}
	return l.apply(res)
}

// apply journals a result and moves the engine on.
func (l *leg) apply(res engine.Result) error {
	if err := engine.Apply(l.plan, l.state, res); err != nil {
		return nil //nolint:nilerr // the result of an attempt that is no longer wanted
	}
	l.take(l.state.Events())
	if res.Ask == nil && res.Err == nil {
		l.journal.forget(res.Key)
	}
	entry, err := engine.StepEntry(res, l.out.due)
	if err != nil {
		return err
	}
	if l.out.due {
		l.out.entries = append(l.out.entries, entry) // only together with the checkpoints that it claims to be stored with
		return nil
	}
	l.journal.add(entry)
	return nil
}

// commit stores finished steps before the next one starts.
func (l *leg) commit(ctx context.Context) error {
	return l.journal.commit(ctx, func(ctx context.Context, entries []run.Entry, events []run.Event) error {
		p := l.progress(entries, events)
		p.Run.VisitedFolded = max(len(l.out.steps), len(l.out.nodes)) >= run.VisitedFold // a due commit ends with a checkpoint of the row
		return l.Store.CommitStep(ctx, l.c.Fence, p)
	})
}

// progress takes everything that waits to be stored.
func (l *leg) progress(entries []run.Entry, events []run.Event) store.Progress {
	now := l.now()
	l.row.UpdatedAt = now
	l.row.Usage = l.state.Usage
	l.row.Progress = l.counters(nil)
	row := l.row
	p := store.Progress{Run: &row, Entries: append(entries, l.out.entries...), Checkpoints: l.out.checkpoints, Events: append(events, l.out.events...)}
	if start := l.out.takeStart(); start != nil {
		p.Events = append(start.Events, p.Events...)
	}
	l.out.entries, l.out.checkpoints, l.out.events, l.out.due = nil, nil, nil, false
	if l.resumed {
		l.resumed, l.humanKey = false, ""
	}
	return p
}

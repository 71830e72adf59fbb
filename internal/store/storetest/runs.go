package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

func errorsIs(err, want error) bool { return errors.Is(err, want) }

func testCreateInline(e *Env) {
	r := e.newRun(run.Running)
	c, err := e.S.CreateRun(e.ctx(), store.CreateRun{
		Run: r, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease,
		Checkpoints: []run.Checkpoint{{ID: "c1", Type: run.CheckpointRunStarted, State: json.RawMessage(`{"b":1,"a":1.0}`), CreatedAt: r.CreatedAt}},
		Events:      []run.Event{{Kind: "started", Data: json.RawMessage(`{}`), CreatedAt: r.CreatedAt}},
		Audit:       []run.AuditEvent{{ID: "a1", Type: "spec.run", RunID: &r.ID, CreatedAt: r.CreatedAt}},
	})
	e.ok(err)
	e.equal(c.Fence, run.Fence{RunID: r.ID, Owner: owner, Attempt: 1})
	e.equal(c.Run.CheckpointSeq, int64(1))
	e.equal(e.claim("other", 10), []run.Claimed{})
	cps, err := e.S.Checkpoints(e.ctx(), r.ID)
	e.ok(err)
	e.equal(len(cps), 1)
	e.equal(cps[0].Sequence, int64(1))
	e.equal(string(cps[0].State), `{"b":1,"a":1.0}`)
	snap, err := e.S.Snapshot(e.ctx(), "d1")
	e.ok(err)
	e.equal(snap, snapshot())
	all, err := e.S.Snapshots(e.ctx(), []string{"d1", "missing"})
	e.ok(err)
	e.equal(all, map[string]run.Snapshot{"d1": snapshot()})
	_, total, err := e.S.AuditEvents(e.ctx(), store.AuditFilter{RunID: r.ID})
	e.ok(err)
	e.equal(total, int64(1))
}

func testCreateQueued(e *Env) {
	a, b := e.queued(), e.queued()
	e.equal(e.get(a.Run.ID).Status, run.Queued)
	got := e.claim(owner, 1)
	e.equal(len(got), 1)
	e.equal(got[0].Run.ID, a.Run.ID)
	e.equal(got[0].Fence.Attempt, int64(1))
	e.equal(got[0].Reply, run.ReplyCreate)
	e.equal(e.get(a.Run.ID).Status, run.Queued)
	p := e.with(got[0].Run, run.Running)
	e.ok(e.S.StartClaimed(e.ctx(), got[0].Fence, p))
	e.equal(e.get(a.Run.ID).Status, run.Running)
	rest := e.claim(owner, 10)
	e.equal(len(rest), 1)
	e.equal(rest[0].Run.ID, b.Run.ID)
}

func testCreateDepth(e *Env) {
	create := func() error {
		_, err := e.S.CreateRun(e.ctx(), store.CreateRun{
			Run: e.newRun(run.Queued), Snapshot: snapshot(), Mode: run.ModeQueued, MaxDepth: 2,
			Claim: &store.Claim{Scope: "s", Key: uuid.NewString(), Hash: "h"},
		})
		return err
	}
	e.ok(create())
	e.ok(create())
	e.claim(owner, 1)
	err := create()
	var full *store.QueueFullError
	if !errors.As(err, &full) {
		e.T.Fatalf("error is %v", err)
	}
	e.equal(*full, store.QueueFullError{Depth: 2, Limit: 2})
	n, err := e.S.CountRuns(e.ctx(), store.RunFilter{})
	e.ok(err)
	e.equal(n, int64(2))
	e.inline()
	rejected := e.newRun(run.Failed)
	_, err = e.S.CreateRun(e.ctx(), store.CreateRun{Run: rejected, Snapshot: snapshot(), Mode: run.ModeQueued, MaxDepth: 2})
	e.ok(err)
	e.equal(len(e.claim(owner, 10)), 1)
}

func fullRun(e *Env) run.Run {
	now := e.Clock.Now()
	return run.Run{
		ID: uuid.NewString(), Status: run.Running, Target: "agent", AgentName: ptr("writer"), WorkflowName: ptr("w"), WorkflowKind: ptr("graph"),
		Input: "in", Output: ptr("out"), CurrentStepIndex: ptr(int64(3)), CurrentStepID: ptr("s3"), CurrentNodeID: ptr("n"),
		VisitedSteps: []string{"s1", "s2"}, VisitedNodes: []string{"n1"}, Messages: json.RawMessage(`[{"role":"user","b":1,"a":1.0}]`),
		PendingRequest: json.RawMessage(`{"z":1}`), ContinuationID: ptr("k"), Creation: json.RawMessage(`{"z":12345678901234567890,"a":1}`),
		Progress: json.RawMessage(`{"x": [1,  2]}`), Error: &run.Failure{Message: "m", Type: "t"},
		Usage: &run.Usage{InputTokens: 1, OutputTokens: 2, TotalTokens: 3}, SessionID: ptr("sess"), Environment: ptr("prod"), SnapshotDigest: "d1",
		Principal: "bob", TraceCount: 4, TraceDropped: 5, CreatedAt: now, UpdatedAt: now.Add(time.Second), StartedAt: ptr(now), CompletedAt: ptr(now),
		DeadlineAt: ptr(now.Add(time.Hour)), TimeoutSeconds: ptr(1.5), TraceParent: "00-aa-bb-01",
	}
}

func testRowRoundTrip(e *Env) {
	want := fullRun(e)
	_, err := e.S.CreateRun(e.ctx(), store.CreateRun{Run: want, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease})
	e.ok(err)
	e.equal(e.get(want.ID), want)
	list, err := e.S.ListRuns(e.ctx(), store.RunFilter{Limit: 10})
	e.ok(err)
	e.equal(list, []run.Run{want})
	next := want
	next.Output, next.Error, next.Usage, next.VisitedSteps, next.Messages, next.Progress = nil, nil, nil, nil, nil, nil
	next.AgentName, next.PendingRequest, next.ContinuationID, next.CompletedAt = nil, nil, nil, nil
	next.UpdatedAt = e.Clock.Now()
	changed := next
	changed.Input, changed.Principal, changed.CheckpointSeq = "other", "mallory", 99
	e.ok(e.S.CommitStep(e.ctx(), run.Fence{RunID: want.ID, Owner: owner, Attempt: 1}, store.Progress{Run: &changed}))
	e.equal(e.get(want.ID), next)
}

func testHostileText(e *Env) {
	hostile := "nul\x00 private\ue000 tail\U0001F600\ue000\x00"
	r := e.newRun(run.Running)
	r.Input, r.Output, r.Error = hostile, &hostile, &run.Failure{Message: hostile, Type: "t"}
	r.Messages = json.RawMessage(`[{"content":"\u0000\ud83d\ude00"}]`)
	_, err := e.S.CreateRun(e.ctx(), store.CreateRun{
		Run: r, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease,
		Checkpoints: []run.Checkpoint{{State: json.RawMessage(`{"o":"\u0000"}`), Metadata: json.RawMessage(`{}`)}},
	})
	e.ok(err)
	e.equal(e.get(r.ID), func() run.Run { w := r; w.CheckpointSeq = 1; return w }())
	list, err := e.S.ListRuns(e.ctx(), store.RunFilter{Text: "NUL", Limit: 5})
	e.ok(err)
	e.equal(len(list), 1)
}

func testSequences(e *Env) {
	c := e.inline()
	for i := range 3 {
		p := store.Progress{
			Entries:     []run.Entry{{Kind: run.EntryCallStarted, Key: fmt.Sprint(i)}, {Kind: run.EntryCallDone, Key: fmt.Sprint(i), Data: json.RawMessage(`1`)}},
			Checkpoints: []run.Checkpoint{{Type: "a"}, {Type: "b"}}, Events: []run.Event{{Kind: "k"}},
		}
		e.ok(e.S.RecordCall(e.ctx(), c.Fence, p))
	}
	e.ok(e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Completed)}))
	r := e.get(c.Run.ID)
	e.equal([]int64{r.CheckpointSeq, r.EventSeq, r.JournalSeq}, []int64{7, 4, 6})
	cps, err := e.S.Checkpoints(e.ctx(), r.ID)
	e.ok(err)
	for i, cp := range cps {
		e.equal(cp.Sequence, int64(i+1))
	}
	last, err := e.S.LastCheckpoints(e.ctx(), r.ID, 2)
	e.ok(err)
	e.equal(last, cps[5:])
	events, err := e.S.Events(e.ctx(), r.ID, 2, 10)
	e.ok(err)
	e.equal([]int64{events[0].Sequence, events[1].Sequence}, []int64{3, 4})
	entries, err := e.S.Journal(e.ctx(), r.ID)
	e.ok(err)
	e.equal(len(entries), 6)
	e.equal(entries[5], run.Entry{Sequence: 6, Kind: run.EntryCallDone, Key: "2", Data: json.RawMessage(`1`)})
}

func testJournal(e *Env) {
	c := e.inline()
	write := func(data string) {
		e.ok(e.S.RecordCall(e.ctx(), c.Fence, store.Progress{Entries: []run.Entry{{Kind: run.EntryCallStarted, Key: "k", Data: json.RawMessage(data)}}}))
	}
	write(`{"try":1}`)
	write(`{"try":2}`)
	entries, err := e.S.Journal(e.ctx(), c.Run.ID)
	e.ok(err)
	e.equal(entries, []run.Entry{{Sequence: 2, Kind: run.EntryCallStarted, Key: "k", Data: json.RawMessage(`{"try":2}`)}})
}

func testCancel(e *Env) {
	c := e.inline()
	p := e.with(c.Run, run.Cancelled)
	got, changed, err := e.S.CancelRun(e.ctx(), c.Run.ID, p)
	e.ok(err)
	e.equal(changed, true)
	e.equal(got, e.get(c.Run.ID))
	e.equal(got.Status, run.Cancelled)
	e.is(e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Completed)}), store.ErrLeaseLost)
	again, changed, err := e.S.TimeOutRun(e.ctx(), c.Run.ID, e.with(c.Run, run.TimedOut))
	e.ok(err)
	e.equal(changed, false)
	e.equal(again, got)
	q := e.queued()
	_, changed, err = e.S.CancelRun(e.ctx(), q.Run.ID, store.Progress{})
	e.ok(err)
	e.equal(changed, true)
	e.equal(e.claim(owner, 5), []run.Claimed{})
	b := e.blocked("t1")
	_, _, err = e.S.TimeOutRun(e.ctx(), b.ID, store.Progress{})
	e.ok(err)
	e.equal(e.get(b.ID).Status, run.TimedOut)
	task, err := e.S.HumanTask(e.ctx(), "t1")
	e.ok(err)
	e.equal(task.State, run.TaskCancelled)
	_, _, err = e.S.CancelRun(e.ctx(), "missing", store.Progress{})
	e.is(err, store.ErrNotFound)
}

func testCancelKeepsProgress(e *Env) {
	c := e.inline()
	stale := e.get(c.Run.ID)
	p := e.with(c.Run, run.Running)
	p.Run.VisitedSteps, p.Run.TraceCount = []string{"s1"}, 7
	e.ok(e.S.CommitStep(e.ctx(), c.Fence, p))
	got, _, err := e.S.CancelRun(e.ctx(), c.Run.ID, e.with(stale, run.Cancelled))
	e.ok(err)
	e.equal(got.VisitedSteps, []string{"s1"})
	e.equal(got.TraceCount, int64(7))
	e.equal(got.CheckpointSeq, int64(2))
}

// testFoldedVisits stores the visited lists of a long run as changes only and reads them in every way.
func testFoldedVisits(e *Env) {
	c := e.inline()
	var steps, prior []string
	for i := range 60 {
		steps = append(steps, fmt.Sprintf("s%d", i))
		state := run.AppendVisited([]byte(`{"id":"x","visited_steps":`), steps, prior)
		state = append(run.AppendVisited(append(state, `,"visited_nodes":`...), []string{}, nil), '}')
		p := e.with(c.Run, run.Running)
		p.Run.VisitedSteps, p.Run.VisitedFolded, p.Checkpoints[0].State = steps, len(steps) >= run.VisitedFold, state
		e.ok(e.S.CommitStep(e.ctx(), c.Fence, p))
		prior = steps[:len(steps):len(steps)]
	}
	check := func(r run.Run) {
		e.equal(r.VisitedSteps, steps)
		e.equal(r.VisitedNodes, []string{})
		e.equal(r.VisitedFolded, false)
	}
	check(e.get(c.Run.ID))
	list, err := e.S.ListRuns(e.ctx(), store.RunFilter{Limit: 1})
	e.ok(err)
	check(list[0])
	cps, err := e.S.Checkpoints(e.ctx(), c.Run.ID)
	e.ok(err)
	for i := range cps {
		seen, _ := run.VisitedOf(cps[i : i+1])
		e.equal(seen, steps[:i+1])
	}
	last, err := e.S.LastCheckpoints(e.ctx(), c.Run.ID, 1)
	e.ok(err)
	e.equal(string(last[0].State), string(cps[len(cps)-1].State))
	got, _, err := e.S.CancelRun(e.ctx(), c.Run.ID, e.with(c.Run, run.Cancelled))
	e.ok(err)
	check(got)
	check(e.get(c.Run.ID))
}

func testOverdue(e *Env) {
	now := e.Clock.Now()
	deadline := func(status run.Status, at time.Time) string {
		r := e.newRun(status)
		r.DeadlineAt = &at
		_, err := e.S.CreateRun(e.ctx(), store.CreateRun{Run: r, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease})
		e.ok(err)
		return r.ID
	}
	late := deadline(run.Running, now.Add(-time.Second))
	deadline(run.Running, now.Add(time.Hour))
	deadline(run.Completed, now.Add(-time.Second))
	e.inline()
	got, err := e.S.OverdueRuns(e.ctx(), now, 10)
	e.ok(err)
	e.equal(len(got), 1)
	e.equal(got[0].ID, late)
}

func testBigCheckpoint(e *Env) {
	c := e.inline()
	big := json.RawMessage(`{"status":"running","text":"` + strings.Repeat("abc", 40000) + `"}`)
	e.ok(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{Checkpoints: []run.Checkpoint{
		{Type: "x", State: big, TraceEvents: json.RawMessage(`[1]`), Metadata: json.RawMessage(`{"k":1}`)},
	}}))
	cps, err := e.S.Checkpoints(e.ctx(), c.Run.ID)
	e.ok(err)
	e.equal(string(cps[0].State), string(big))
	e.equal(string(cps[0].TraceEvents), `[1]`)
	e.equal(string(cps[0].Metadata), `{"k":1}`)
}

func testNotFound(e *Env) {
	_, err := e.S.Run(e.ctx(), "nope")
	e.is(err, store.ErrNotFound)
	_, err = e.S.Snapshot(e.ctx(), "nope")
	e.is(err, store.ErrNotFound)
	_, err = e.S.HumanTask(e.ctx(), "nope")
	e.is(err, store.ErrNotFound)
	_, err = e.S.TaskOfRequest(e.ctx(), "nope")
	e.is(err, store.ErrNotFound)
	_, err = e.S.Idempotency(e.ctx(), "s", "nope")
	e.is(err, store.ErrNotFound)
	_, err = e.S.ResumeRun(e.ctx(), store.StartLeg{RunID: "nope", From: run.Blocked, Mode: run.ModeQueued})
	e.is(err, store.ErrNotFound)
	cps, err := e.S.Checkpoints(e.ctx(), "nope")
	e.ok(err)
	e.equal(len(cps), 0)
	e.ok(e.S.Ping(e.ctx()))
}

func testCancelledContext(e *Env) {
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	_, err := e.S.CreateRun(ctx, store.CreateRun{Run: e.newRun(run.Running), Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease})
	e.is(err, context.Canceled)
	e.inline()
	n, err := e.S.CountRuns(e.ctx(), store.RunFilter{})
	e.ok(err)
	e.equal(n, int64(1))
}

func testClosed(e *Env) {
	c := e.inline()
	e.ok(e.S.Close())
	e.is(e.S.CommitStep(context.Background(), c.Fence, store.Progress{}), store.ErrUnavailable)
	_, err := e.S.Run(context.Background(), c.Run.ID)
	e.is(err, store.ErrUnavailable)
}

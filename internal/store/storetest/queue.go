package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

func testLeaseExpiry(e *Env) {
	c := e.inline()
	e.Clock.Add(lease / 2)
	e.equal(e.claim("w", 5), []run.Claimed{})
	e.Clock.Add(lease)
	// A lapsed lease that nobody took is still its owner's.
	e.ok(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{Checkpoints: []run.Checkpoint{{Type: "x"}}}))
	got := e.claim("w", 5)
	e.equal(len(got), 1)
	e.equal(got[0].Fence, run.Fence{RunID: c.Run.ID, Owner: "w", Attempt: 2})
	e.equal(got[0].Mode, run.ModeInline)
	e.equal(got[0].Run.CheckpointSeq, int64(1))
	e.is(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{}), store.ErrLeaseLost)
}

func testHeartbeat(e *Env) {
	kept, cancelled, lost := e.inline(), e.inline(), e.inline()
	r := e.newRun(run.Running)
	r.DeadlineAt = ptr(e.Clock.Now().Add(time.Second))
	late, err := e.S.CreateRun(e.ctx(), store.CreateRun{Run: r, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease})
	e.ok(err)
	_, _, err = e.S.CancelRun(e.ctx(), cancelled.Run.ID, store.Progress{})
	e.ok(err)
	e.Clock.Add(lease / 2)
	stale := lost.Fence
	stale.Attempt = 7
	beat, err := e.S.Heartbeat(e.ctx(), owner, lease, []run.Fence{kept.Fence, cancelled.Fence, stale, late.Fence})
	e.ok(err)
	e.equal(beat, store.Beat{Lost: []run.Fence{stale}, Cancelled: []string{cancelled.Run.ID}, Overdue: []string{late.Run.ID}})
	e.Clock.Add(lease * 3 / 4)
	got := e.claim("w", 10)
	e.equal(len(got), 1)
	e.equal(got[0].Run.ID, lost.Run.ID)
}

func testStats(e *Env) {
	e.inline()
	for range 3 {
		e.queued()
	}
	e.Clock.Add(lease / 2)
	c := e.claim(owner, 2)
	e.ok(e.S.StartClaimed(e.ctx(), c[0].Fence, e.with(c[0].Run, run.Running)))
	stats, err := e.S.QueueStats(e.ctx())
	e.ok(err)
	if stats.OldestQueued < lease/2 || stats.OldestQueued > lease {
		e.T.Errorf("oldest is %v", stats.OldestQueued)
	}
	stats.OldestQueued = 0
	e.equal(stats, store.QueueStats{Queued: 2, Running: 1})
	e.ok(e.S.FinishRun(e.ctx(), c[0].Fence, store.EndLeg{Progress: e.with(c[0].Run, run.Failed)}))
	stats, err = e.S.QueueStats(e.ctx())
	e.ok(err)
	stats.OldestQueued = 0
	e.equal(stats, store.QueueStats{Queued: 2, Failed: 1})
}

func testLeases(e *Env) {
	e.ok(e.S.AcquireLease(e.ctx(), "leader", "a", time.Minute))
	e.ok(e.S.AcquireLease(e.ctx(), "leader", "a", time.Minute))
	e.is(e.S.AcquireLease(e.ctx(), "leader", "b", time.Minute), store.ErrLocked)
	e.Clock.Add(2 * time.Minute)
	e.ok(e.S.AcquireLease(e.ctx(), "leader", "b", time.Minute))
	e.ok(e.S.ReleaseLease(e.ctx(), "leader", "a"))
	e.is(e.S.AcquireLease(e.ctx(), "leader", "a", time.Minute), store.ErrLocked)
	e.ok(e.S.ReleaseLease(e.ctx(), "leader", "b"))
	e.ok(e.S.AcquireLease(e.ctx(), "leader", "a", time.Minute))
}

func testTasks(e *Env) {
	r := e.blocked("t1")
	e.blocked("t2")
	all, err := e.S.HumanTasks(e.ctx(), store.TaskFilter{})
	e.ok(err)
	e.equal([]string{all[0].ID, all[1].ID}, []string{"t1", "t2"})
	one, err := e.S.HumanTasks(e.ctx(), store.TaskFilter{RunID: r.ID, WorkflowKind: "sequential"})
	e.ok(err)
	e.equal(len(one), 1)
	e.equal(string(one[0].Request), `{"b":1,"a":2}`)
	byRequest, err := e.S.TaskOfRequest(e.ctx(), "req-t1")
	e.ok(err)
	e.equal(byRequest, one[0])
	at := e.Clock.Now()
	e.ok(e.S.EscalateTask(e.ctx(), "t1", at, json.RawMessage(`{"escalated":true}`), []run.AuditEvent{{Type: "task.escalated"}}))
	escalated, err := e.S.HumanTasks(e.ctx(), store.TaskFilter{Escalated: ptr(true)})
	e.ok(err)
	e.equal(len(escalated), 1)
	e.equal(*escalated[0].EscalatedAt, at)
	quiet, err := e.S.HumanTasks(e.ctx(), store.TaskFilter{Escalated: ptr(false), Limit: 1})
	e.ok(err)
	e.equal(quiet[0].ID, "t2")
	none, err := e.S.HumanTasks(e.ctx(), store.TaskFilter{WorkflowKind: "graph"})
	e.ok(err)
	e.equal(len(none), 0)
	e.is(e.S.EscalateTask(e.ctx(), "missing", at, nil, nil), store.ErrNotFound)
}

func testExpireTask(e *Env) {
	c := e.inline()
	task := e.task("t1")
	task.ExpiresAt = ptr(e.Clock.Now().Add(time.Minute))
	other := e.task("t2")
	e.ok(e.S.BlockRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Blocked), Tasks: []run.HumanTask{task, other}}))
	due, err := e.S.DueTasks(e.ctx(), e.Clock.Now(), 10)
	e.ok(err)
	e.equal(len(due), 0)
	e.Clock.Add(time.Hour)
	due, err = e.S.DueTasks(e.ctx(), e.Clock.Now(), 10)
	e.ok(err)
	e.equal(len(due), 1)
	e.ok(e.S.ExpireTask(e.ctx(), "t1", e.with(e.get(c.Run.ID), run.Expired)))
	e.equal(e.get(c.Run.ID).Status, run.Expired)
	got, err := e.S.HumanTask(e.ctx(), "t1")
	e.ok(err)
	e.equal(got.State, run.TaskExpired)
	got, err = e.S.HumanTask(e.ctx(), "t2")
	e.ok(err)
	e.equal(got.State, run.TaskCancelled)
	e.is(e.S.ExpireTask(e.ctx(), "t1", store.Progress{}), store.ErrConflict)
	e.is(e.S.ExpireTask(e.ctx(), "missing", store.Progress{}), store.ErrNotFound)
}

func testAudit(e *Env) {
	for i := range 5 {
		kind := "a"
		if i%2 == 1 {
			kind = "b"
		}
		e.ok(e.S.AppendAudit(e.ctx(), run.AuditEvent{
			ID: fmt.Sprint(i), Type: kind, RunID: ptr("r"), Actor: ptr("me"), Metadata: json.RawMessage(`{"z":1,"a":1}`), CreatedAt: e.Clock.Now(),
		}))
	}
	got, total, err := e.S.AuditEvents(e.ctx(), store.AuditFilter{Type: "a", Desc: true, Limit: 2})
	e.ok(err)
	e.equal(total, int64(3))
	e.equal([]string{got[0].ID, got[1].ID}, []string{"4", "2"})
	e.equal(string(got[0].Metadata), `{"z":1,"a":1}`)
	got, total, err = e.S.AuditEvents(e.ctx(), store.AuditFilter{RunID: "r", Limit: 2, Offset: 4})
	e.ok(err)
	e.equal(total, int64(5))
	e.equal(len(got), 1)
	e.equal(got[0].ID, "4")
}

func testMetadata(e *Env) {
	prev, err := e.S.PutMetadata(e.ctx(), "policy:prod", json.RawMessage(`{"z":1,"a":2}`), func(p json.RawMessage) []run.AuditEvent {
		e.equal(p, json.RawMessage(nil))
		return []run.AuditEvent{{Type: "policy.updated"}}
	})
	e.ok(err)
	e.equal(prev, json.RawMessage(nil))
	prev, err = e.S.PutMetadata(e.ctx(), "policy:prod", json.RawMessage(`{}`), nil)
	e.ok(err)
	e.equal(string(prev), `{"z":1,"a":2}`)
	_, err = e.S.PutMetadata(e.ctx(), "pol%cy:x", json.RawMessage(`1`), nil)
	e.ok(err)
	got, err := e.S.Metadata(e.ctx(), "policy:")
	e.ok(err)
	e.equal(got, map[string]json.RawMessage{"policy:prod": json.RawMessage(`{}`)})
	_, total, err := e.S.AuditEvents(e.ctx(), store.AuditFilter{Type: "policy.updated"})
	e.ok(err)
	e.equal(total, int64(1))
}

func testList(e *Env) {
	var ids []string
	for i := range 10 {
		r := e.newRun(run.Completed)
		if i%2 == 1 {
			r.Status, r.Error = run.Failed, &run.Failure{Message: "boom", Type: "step_failed"}
		}
		if i == 3 {
			r.SessionID, r.WorkflowName, r.WorkflowKind = ptr("s"), ptr("w2"), ptr("graph")
		}
		_, err := e.S.CreateRun(e.ctx(), store.CreateRun{Run: r, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease})
		e.ok(err)
		ids = append(ids, r.ID)
	}
	list := func(f store.RunFilter) []string {
		e.T.Helper()
		got, err := e.S.ListRuns(e.ctx(), f)
		e.ok(err)
		n, err := e.S.CountRuns(e.ctx(), f)
		e.ok(err)
		if f.Limit == 0 {
			e.equal(n, int64(len(got)))
		}
		out := []string{}
		for _, r := range got {
			out = append(out, r.ID)
		}
		return out
	}
	pick := func(n ...int) []string {
		out := []string{}
		for _, i := range n {
			out = append(out, ids[i])
		}
		return out
	}
	newest := slices.Clone(ids)
	slices.Reverse(newest)
	e.equal(list(store.RunFilter{SortBy: "updated_at", Desc: true}), newest)
	e.equal(list(store.RunFilter{SortBy: "created_at"}), ids)
	e.equal(list(store.RunFilter{SortBy: "metadata.x"}), newest)
	e.equal(list(store.RunFilter{SortBy: "created_at", Limit: 3, Offset: 2}), ids[2:5])
	e.equal(list(store.RunFilter{SortBy: "created_at", Limit: 3, Offset: 20}), []string{})
	e.equal(list(store.RunFilter{SortBy: "status", Limit: 2}), pick(8, 6))
	e.equal(list(store.RunFilter{SortBy: "status", Desc: true, Limit: 2}), pick(1, 3))
	byID := slices.Sorted(slices.Values(ids))
	e.equal(list(store.RunFilter{SortBy: "id"}), byID)
	e.equal(list(store.RunFilter{Status: ptr("failed"), SortBy: "created_at"}), pick(1, 3, 5, 7, 9))
	e.equal(list(store.RunFilter{HasError: ptr(false), SortBy: "created_at"}), pick(0, 2, 4, 6, 8))
	e.equal(list(store.RunFilter{SessionID: ptr("s"), WorkflowName: ptr("w2"), WorkflowKind: ptr("graph")}), pick(3))
	e.equal(list(store.RunFilter{WorkflowName: ptr("nope")}), []string{})
	at := e.get(ids[4]).CreatedAt
	e.equal(list(store.RunFilter{CreatedAfter: &at, CreatedBefore: &at}), pick(4))
}

func testListText(e *Env) {
	texts := []string{"Hello World", "100%", "a_b", `back\slash`, "plain"}
	var ids []string
	for i, text := range texts {
		r := e.newRun(run.Completed)
		if i%2 == 0 {
			r.Output = ptr(text)
		} else {
			r.Error = &run.Failure{Message: text, Type: "t"}
		}
		_, err := e.S.CreateRun(e.ctx(), store.CreateRun{Run: r, Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease})
		e.ok(err)
		ids = append(ids, r.ID)
	}
	for text, want := range map[string][]string{
		"hello w": {ids[0]}, "%": {ids[1]}, "_": {ids[2]}, `\`: {ids[3]}, "LAIN": {ids[4]}, "a%b": {}, "zzz": {},
	} {
		got, err := e.S.ListRuns(e.ctx(), store.RunFilter{Text: text, Limit: 10})
		e.ok(err)
		found := []string{}
		for _, r := range got {
			found = append(found, r.ID)
		}
		e.equal(found, want)
	}
}

func testPrune(e *Env) {
	old := e.inline()
	e.ok(e.S.CommitStep(e.ctx(), old.Fence, store.Progress{
		Checkpoints: []run.Checkpoint{{Type: "x"}}, Events: []run.Event{{Kind: "k"}}, Entries: []run.Entry{{Kind: run.EntryStep, Key: "k"}},
		Audit: []run.AuditEvent{{Type: "x", RunID: &old.Run.ID}},
	}))
	e.ok(e.S.FinishRun(e.ctx(), old.Fence, store.EndLeg{Progress: e.with(old.Run, run.Completed)}))
	open := e.blocked("t1")
	e.ok(e.S.AppendAudit(e.ctx(), run.AuditEvent{Type: "loose"}))
	e.Clock.Add(time.Hour)
	cut := e.Clock.Now()
	fresh := e.inline()
	e.ok(e.S.FinishRun(e.ctx(), fresh.Fence, store.EndLeg{Progress: e.with(fresh.Run, run.Completed)}))
	dry, err := e.S.Prune(e.ctx(), store.RetentionCut{Runs: &cut, DryRun: true})
	e.ok(err)
	e.equal(dry, map[string]int64{"runs": 1})
	spared, err := e.S.Prune(e.ctx(), store.RetentionCut{
		Runs: &cut, Queue: &cut, RunStatuses: []string{"failed", "running"}, QueueStatuses: []string{"failed"},
	})
	e.ok(err)
	e.equal(spared, map[string]int64{})
	got, err := e.S.Prune(e.ctx(), store.RetentionCut{Runs: &cut, RunStatuses: []string{"completed"}})
	e.ok(err)
	e.equal(got, map[string]int64{"runs": 1, "checkpoints": 2, "journal": 1, "run_events": 2, "run_queue": 1, "audit_events": 1})
	_, err = e.S.Run(e.ctx(), old.Run.ID)
	e.is(err, store.ErrNotFound)
	e.get(open.ID)
	e.get(fresh.Run.ID)
	got, err = e.S.Prune(e.ctx(), store.RetentionCut{Audit: &cut, Continuations: &cut, Checkpoints: &cut, Queue: &cut, Idempotency: &cut})
	e.ok(err)
	e.equal(got, map[string]int64{"audit_events": 1})
	// A failed run goes on although its queue row is gone, and its numbering too.
	late := e.inline()
	e.ok(e.S.FinishRun(e.ctx(), late.Fence, store.EndLeg{Progress: e.with(late.Run, run.Failed)}))
	after := e.Clock.Now().Add(time.Hour)
	got, err = e.S.Prune(e.ctx(), store.RetentionCut{Queue: &after, Checkpoints: &after, Limit: 10})
	e.ok(err)
	e.equal(got, map[string]int64{"run_queue": 2, "checkpoints": 2})
	c, err := e.S.ContinueRun(e.ctx(), store.StartLeg{
		RunID: late.Run.ID, From: run.Failed, Mode: run.ModeInline, Owner: owner, Lease: lease, Progress: store.Progress{Checkpoints: []run.Checkpoint{{Type: "y"}}},
	})
	e.ok(err)
	e.equal(c.Run.CheckpointSeq, int64(2))
	e.equal(c.Run.Status, run.Running)
}

func testChanged(e *Env) {
	ctx, cancel := context.WithCancel(e.ctx())
	changed, err := e.S.Changed(ctx)
	e.ok(err)
	c := e.inline()
	e.equal(<-changed, c.Run.ID)
	e.ok(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{Events: []run.Event{{Kind: "k"}}}))
	e.equal(<-changed, c.Run.ID)
	cancel()
	for range changed {
		continue
	}
}

func testWake(e *Env) {
	wake := e.S.Wake()
	e.queued()
	<-wake
	c := e.claim(owner, 1)[0]
	e.ok(e.S.ReleaseRun(e.ctx(), c.Fence))
	<-wake
}

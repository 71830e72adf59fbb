// Package storetest is the conformance suite of the store port; both adapters run it. It imports the port and test libraries.
package storetest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// Clock is a clock that a test moves.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock starts at a fixed moment.
func NewClock() *Clock { return &Clock{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

// Now returns the time; each call is a microsecond later, so that rows have an order.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Microsecond)
	return c.at
}

// Add moves the clock.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Open returns an empty store that reads the clock; the suite closes it.
type Open func(t *testing.T, c *Clock) store.Store

// Env is what one test of the suite works with.
type Env struct {
	T     *testing.T
	S     store.Store
	Clock *Clock
}

// Run runs the whole suite against stores made by open.
func Run(t *testing.T, open Open) {
	t.Helper()
	tests := map[string]func(*Env){
		"CreateInline": testCreateInline, "CreateQueued": testCreateQueued, "CreateDepth": testCreateDepth,
		"RowRoundTrip": testRowRoundTrip, "HostileText": testHostileText, "Sequences": testSequences, "Fencing": testFencing,
		"FinishOnce": testFinishOnce, "BlockAndResume": testBlockAndResume, "ReopenTask": testReopenTask,
		"ContinueFailed": testContinueFailed, "Release": testRelease, "LeaseExpiry": testLeaseExpiry, "Heartbeat": testHeartbeat,
		"Cancel": testCancel, "CancelKeepsProgress": testCancelKeepsProgress, "FoldedVisits": testFoldedVisits, "Overdue": testOverdue,
		"Idempotency": testIdempotency, "IdempotencyQueued": testIdempotencyQueued, "Journal": testJournal,
		"BigCheckpoint": testBigCheckpoint, "List": testList, "ListText": testListText, "Tasks": testTasks, "ExpireTask": testExpireTask,
		"Audit": testAudit, "Metadata": testMetadata, "Leases": testLeases, "Stats": testStats, "Prune": testPrune,
		"Changed": testChanged, "Wake": testWake, "ConcurrentCommits": testConcurrentCommits, "ConcurrentClaims": testConcurrentClaims,
		"ConcurrentKeys": testConcurrentKeys, "Cancelled context": testCancelledContext, "Closed": testClosed, "NotFound": testNotFound,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := NewClock()
			s := open(t, c)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(&Env{t, s, c})
		})
	}
}

const owner, lease = "owner-1", time.Minute

func ptr[T any](v T) *T { return &v }

func (e *Env) ctx() context.Context { return e.T.Context() }

func (e *Env) ok(err error) {
	e.T.Helper()
	if err != nil {
		e.T.Fatal(err)
	}
}

func (e *Env) is(err, want error) {
	e.T.Helper()
	if !errorsIs(err, want) {
		e.T.Fatalf("error is %v, want %v", err, want)
	}
}

func (e *Env) equal(got, want any) {
	e.T.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		e.T.Fatalf("unexpected value (-want +got):\n%s", diff)
	}
}

// newRun makes a small valid run.
func (e *Env) newRun(status run.Status) run.Run {
	now := e.Clock.Now()
	return run.Run{
		ID: uuid.NewString(), Status: status, Target: "workflow", WorkflowName: ptr("flow"), WorkflowKind: ptr("sequential"), Input: "in",
		SnapshotDigest: "d1", Principal: "alice", CreatedAt: now, UpdatedAt: now, VisitedSteps: []string{}, VisitedNodes: []string{},
	}
}

func snapshot() run.Snapshot {
	return run.Snapshot{Digest: "d1", Frozen: json.RawMessage(`{"z":1.0,"a":{}}`), Inputs: json.RawMessage(`[]`), Plan: json.RawMessage(`{"p":1}`)}
}

func (e *Env) inline() run.Claimed {
	e.T.Helper()
	c, err := e.S.CreateRun(e.ctx(), store.CreateRun{
		Run: e.newRun(run.Running), Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease,
	})
	e.ok(err)
	return c
}

func (e *Env) queued() run.Claimed {
	e.T.Helper()
	c, err := e.S.CreateRun(e.ctx(), store.CreateRun{Run: e.newRun(run.Queued), Snapshot: snapshot(), Mode: run.ModeQueued})
	e.ok(err)
	return c
}

func (e *Env) claim(by string, n int) []run.Claimed {
	e.T.Helper()
	c, err := e.S.ClaimRuns(e.ctx(), by, lease, n)
	e.ok(err)
	return c
}

func (e *Env) get(id string) run.Run {
	e.T.Helper()
	r, err := e.S.Run(e.ctx(), id)
	e.ok(err)
	return r
}

// with returns a progress that moves the run to a status.
func (e *Env) with(r run.Run, s run.Status) store.Progress {
	now := e.Clock.Now()
	r.Status, r.UpdatedAt = s, now
	if s.Terminal() {
		r.CompletedAt = &now
	}
	return store.Progress{
		Run: &r, Checkpoints: []run.Checkpoint{{ID: uuid.NewString(), Type: "t-" + string(s), State: json.RawMessage(`{"status":"x"}`), CreatedAt: now}},
		Events: []run.Event{{Kind: "status", Data: json.RawMessage(`{}`), CreatedAt: now}},
	}
}

func (e *Env) task(id string) run.HumanTask {
	return run.HumanTask{
		ID: id, State: run.TaskPending, WorkflowKind: "sequential", CurrentInput: "x", VisitedSteps: []string{"s1"}, RequestID: "req-" + id,
		Request: json.RawMessage(`{"b":1,"a":2}`), Metadata: json.RawMessage(`{"step_id":"s1"}`), OnTimeout: "fail", StepKey: "s1#1",
		CreatedAt: e.Clock.Now(),
	}
}

// blocked makes a run that waits for a task.
func (e *Env) blocked(taskID string) run.Run {
	e.T.Helper()
	c := e.inline()
	p := e.with(c.Run, run.Blocked)
	p.Run.ContinuationID = &taskID
	e.ok(e.S.BlockRun(e.ctx(), c.Fence, store.EndLeg{Progress: p, Tasks: []run.HumanTask{e.task(taskID)}}))
	return e.get(c.Run.ID)
}

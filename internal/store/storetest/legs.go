package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

func testFencing(e *Env) {
	c := e.inline()
	p := store.Progress{Checkpoints: []run.Checkpoint{{Type: "x"}}}
	for _, f := range []run.Fence{
		{RunID: c.Run.ID, Owner: owner, Attempt: 2}, {RunID: c.Run.ID, Owner: "other", Attempt: 1}, {RunID: "none", Owner: owner, Attempt: 1},
	} {
		e.is(e.S.RecordCall(e.ctx(), f, p), store.ErrLeaseLost)
		e.is(e.S.CommitStep(e.ctx(), f, p), store.ErrLeaseLost)
		e.is(e.S.StartClaimed(e.ctx(), f, p), store.ErrLeaseLost)
		e.is(e.S.BlockRun(e.ctx(), f, store.EndLeg{Progress: e.with(c.Run, run.Blocked), Tasks: []run.HumanTask{e.task("t")}}), store.ErrLeaseLost)
		e.is(e.S.FinishRun(e.ctx(), f, store.EndLeg{Progress: e.with(c.Run, run.Completed)}), store.ErrLeaseLost)
		e.is(e.S.ReleaseRun(e.ctx(), f), store.ErrLeaseLost)
	}
	cps, err := e.S.Checkpoints(e.ctx(), c.Run.ID)
	e.ok(err)
	e.equal(len(cps), 0)
	e.ok(e.S.CommitStep(e.ctx(), c.Fence, p))
	_, err = e.S.HumanTask(e.ctx(), "t")
	e.is(err, store.ErrNotFound)
}

func testFinishOnce(e *Env) {
	c := e.inline()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			errs[i] = e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Completed)})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			e.is(err, store.ErrLeaseLost)
		}
	}
	e.equal(won, 1)
	cps, err := e.S.Checkpoints(e.ctx(), c.Run.ID)
	e.ok(err)
	e.equal(len(cps), 1)
	e.is(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{}), store.ErrLeaseLost)
}

func resume(r run.Run, task, mode string) store.StartLeg {
	return store.StartLeg{
		RunID: r.ID, From: run.Blocked, Mode: mode, Owner: owner, Lease: lease, Reply: run.ReplyResume,
		Task:     &store.TaskDecision{ID: task, State: run.TaskDecided, DecidedBy: "eve", Decision: json.RawMessage(`{"b":1,"a":2}`)},
		Progress: store.Progress{Entries: []run.Entry{{Kind: run.EntryHuman, Key: "s1#1"}}},
	}
}

func testBlockAndResume(e *Env) {
	r := e.blocked("t1")
	e.equal(r.Status, run.Blocked)
	e.equal(e.claim(owner, 5), []run.Claimed{})
	c, err := e.S.ResumeRun(e.ctx(), resume(r, "t1", run.ModeInline))
	e.ok(err)
	e.equal(c.Fence, run.Fence{RunID: r.ID, Owner: owner, Attempt: 2})
	e.equal(c.Released, int64(1))
	e.equal(c.ResumedFrom, "t1")
	e.equal(c.Reply, run.ReplyResume)
	e.equal(c.Run.Status, run.Blocked)
	e.equal(c.Run.JournalSeq, int64(1))
	task, err := e.S.HumanTask(e.ctx(), "t1")
	e.ok(err)
	e.equal(task.State, run.TaskDecided)
	e.equal(*task.DecidedBy, "eve")
	e.equal(string(task.Decision), `{"b":1,"a":2}`)
	_, err = e.S.ResumeRun(e.ctx(), resume(r, "t1", run.ModeInline))
	e.is(err, store.ErrConflict)
	e.is(e.S.CommitStep(e.ctx(), run.Fence{RunID: r.ID, Owner: owner, Attempt: 1}, store.Progress{}), store.ErrLeaseLost)
	e.ok(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{Checkpoints: []run.Checkpoint{{Type: "x"}}}))
	e.ok(e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Completed)}))
	e.equal(e.get(r.ID).CheckpointSeq, int64(3))

	q := e.blocked("t2")
	_, err = e.S.ResumeRun(e.ctx(), resume(q, "t2", run.ModeQueued))
	e.ok(err)
	got := e.claim("w", 5)
	e.equal(len(got), 1)
	e.equal(got[0].Fence, run.Fence{RunID: q.ID, Owner: "w", Attempt: 2})
	e.equal(got[0].Fence.Attempt-got[0].Released, int64(1))
	e.equal(got[0].ResumedFrom, "t2")
}

func testReopenTask(e *Env) {
	r := e.blocked("t1")
	c, err := e.S.ResumeRun(e.ctx(), resume(r, "t1", run.ModeInline))
	e.ok(err)
	e.ok(e.S.BlockRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Blocked), Reopen: "t1"}))
	task, err := e.S.HumanTask(e.ctx(), "t1")
	e.ok(err)
	e.equal(task.State, run.TaskPending)
	e.equal(task.DecidedBy, (*string)(nil))
	_, err = e.S.ResumeRun(e.ctx(), resume(r, "t1", run.ModeInline))
	e.ok(err)
}

func testContinueFailed(e *Env) {
	c := e.inline()
	leg := store.StartLeg{RunID: c.Run.ID, From: run.Failed, Mode: run.ModeInline, Owner: owner, Lease: lease, Reply: run.ReplyContinue}
	_, err := e.S.ContinueRun(e.ctx(), leg)
	e.is(err, store.ErrConflict)
	e.ok(e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Failed)}))
	leg.Progress = e.with(e.get(c.Run.ID), run.Running)
	leg.Run.CompletedAt = nil
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []run.Claimed
	for range 4 {
		wg.Go(func() {
			got, err := e.S.ContinueRun(e.ctx(), leg)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, got)
			} else if !errors.Is(err, store.ErrConflict) {
				e.T.Errorf("error is %v", err)
			}
		})
	}
	wg.Wait()
	e.equal(len(won), 1)
	e.equal(won[0].Reply, run.ReplyContinue)
	e.equal(e.get(c.Run.ID).Status, run.Running)
	e.ok(e.S.FinishRun(e.ctx(), won[0].Fence, store.EndLeg{Progress: e.with(won[0].Run, run.Completed)}))
	e.equal(e.get(c.Run.ID).Status, run.Completed)
	stats, err := e.S.QueueStats(e.ctx())
	e.ok(err)
	e.equal(stats, store.QueueStats{})
}

func testRelease(e *Env) {
	e.queued()
	c := e.claim(owner, 1)[0]
	e.ok(e.S.ReleaseRun(e.ctx(), c.Fence))
	e.is(e.S.CommitStep(e.ctx(), c.Fence, store.Progress{}), store.ErrLeaseLost)
	again := e.claim("w2", 1)
	e.equal(len(again), 1)
	e.equal(again[0].Fence.Attempt, int64(2))
	e.equal(again[0].Released, int64(1))
}

func testIdempotency(e *Env) {
	claim := func(hash string) *store.Claim { return &store.Claim{Scope: "s", Key: "k", Hash: hash, StatusCode: 200} }
	create := func(hash string) (run.Claimed, error) {
		return e.S.CreateRun(e.ctx(), store.CreateRun{
			Run: e.newRun(run.Running), Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease, Claim: claim(hash),
		})
	}
	first, err := create("h1")
	e.ok(err)
	_, err = create("h1")
	e.is(err, store.ErrKeyExists)
	rec, err := e.S.Idempotency(e.ctx(), "s", "k")
	e.ok(err)
	e.equal([]any{rec.Done, rec.Hash, rec.RunID, rec.StatusCode}, []any{false, "h1", first.Run.ID, 200})
	// A nil response removes the key, so another request may use it.
	e.ok(e.S.FinishRun(e.ctx(), first.Fence, store.EndLeg{Progress: e.with(first.Run, run.Failed)}))
	_, err = e.S.Idempotency(e.ctx(), "s", "k")
	e.is(err, store.ErrNotFound)
	second, err := create("h2")
	e.ok(err)
	e.ok(e.S.FinishRun(e.ctx(), second.Fence, store.EndLeg{
		Progress: e.with(second.Run, run.Completed), Response: json.RawMessage(`{"z":1.0,"a":2}`), StatusCode: 201,
	}))
	rec, err = e.S.Idempotency(e.ctx(), "s", "k")
	e.ok(err)
	e.equal([]any{rec.Done, rec.Hash, rec.StatusCode, string(rec.Response)}, []any{true, "h2", 201, `{"z":1.0,"a":2}`})
	_, err = create("h2")
	e.is(err, store.ErrKeyExists)
	e.ok(e.S.DropIdempotency(e.ctx(), "s", "k"))
	_, err = e.S.Idempotency(e.ctx(), "s", "k")
	e.ok(err)
	// A cancelled leg gives its key free.
	third, err := e.S.CreateRun(e.ctx(), store.CreateRun{
		Run: e.newRun(run.Running), Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease,
		Claim: &store.Claim{Scope: "s", Key: "k3", Hash: "h"},
	})
	e.ok(err)
	_, _, err = e.S.CancelRun(e.ctx(), third.Run.ID, store.Progress{})
	e.ok(err)
	_, err = e.S.Idempotency(e.ctx(), "s", "k3")
	e.is(err, store.ErrNotFound)
	// The key of a resumed leg is completed by the write that ends it.
	b := e.blocked("t1")
	leg := resume(b, "t1", run.ModeInline)
	leg.Claim = &store.Claim{Scope: "r", Key: "k", Hash: "h"}
	c, err := e.S.ResumeRun(e.ctx(), leg)
	e.ok(err)
	e.ok(e.S.BlockRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Blocked), Tasks: []run.HumanTask{e.task("t2")}, Response: json.RawMessage(`1`)}))
	rec, err = e.S.Idempotency(e.ctx(), "r", "k")
	e.ok(err)
	e.equal(rec.Done, true)
}

func testIdempotencyQueued(e *Env) {
	_, err := e.S.CreateRun(e.ctx(), store.CreateRun{
		Run: e.newRun(run.Queued), Snapshot: snapshot(), Mode: run.ModeQueued,
		Claim: &store.Claim{Scope: "s", Key: "k", Hash: "h", StatusCode: 202}, Response: json.RawMessage(`{"status":"queued"}`),
	})
	e.ok(err)
	rec, err := e.S.Idempotency(e.ctx(), "s", "k")
	e.ok(err)
	e.equal([]any{rec.Done, rec.StatusCode, string(rec.Response)}, []any{true, 202, `{"status":"queued"}`})
	c := e.claim(owner, 1)[0]
	e.ok(e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Completed), Response: json.RawMessage(`{}`), StatusCode: 200}))
	rec, err = e.S.Idempotency(e.ctx(), "s", "k")
	e.ok(err)
	e.equal(string(rec.Response), `{"status":"queued"}`)
}

func testConcurrentKeys(e *Env) {
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = e.S.CreateRun(e.ctx(), store.CreateRun{
				Run: e.newRun(run.Running), Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease,
				Claim: &store.Claim{Scope: "s", Key: "k", Hash: "h"},
			})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			e.is(err, store.ErrKeyExists)
		}
	}
	e.equal(won, 1)
	n, err := e.S.CountRuns(e.ctx(), store.RunFilter{})
	e.ok(err)
	e.equal(n, int64(1))
}

// testConcurrentCommits lets 64 goroutines write, some of them with stale fences: no failure may spoil another's work.
func testConcurrentCommits(e *Env) {
	const workers, steps = 64, 5
	var wg sync.WaitGroup
	errs := make(chan error, workers*(steps+2))
	ids := make([]string, workers)
	for i := range workers {
		wg.Go(func() {
			c, err := e.S.CreateRun(e.ctx(), store.CreateRun{
				Run: e.newRun(run.Running), Snapshot: snapshot(), Mode: run.ModeInline, Owner: owner, Lease: lease,
				Checkpoints: []run.Checkpoint{{Type: run.CheckpointRunStarted}},
			})
			if err != nil {
				errs <- err
				return
			}
			ids[i] = c.Run.ID
			for n := range steps {
				f := c.Fence
				if i%2 == 1 && n%2 == 1 {
					f.Attempt = 99
				}
				err := e.S.CommitStep(e.ctx(), f, store.Progress{
					Checkpoints: []run.Checkpoint{{Type: run.CheckpointStepCompleted}}, Entries: []run.Entry{{Kind: run.EntryStep, Key: fmt.Sprint(n)}},
				})
				if stale := f.Attempt == 99; stale != errors.Is(err, store.ErrLeaseLost) || (!stale && err != nil) {
					errs <- fmt.Errorf("worker %d step %d: %w", i, n, err)
				}
			}
			errs <- e.S.FinishRun(e.ctx(), c.Fence, store.EndLeg{Progress: e.with(c.Run, run.Completed)})
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		e.ok(err)
	}
	for i, id := range ids {
		want := int64(2 + steps)
		if i%2 == 1 {
			want -= steps / 2
		}
		e.equal(e.get(id).CheckpointSeq, want)
		cps, err := e.S.Checkpoints(e.ctx(), id)
		e.ok(err)
		e.equal(int64(len(cps)), want)
	}
}

func testConcurrentClaims(e *Env) {
	const runs = 60
	want := map[string]bool{}
	for range runs {
		want[e.queued().Run.ID] = true
	}
	var mu sync.Mutex
	got := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			by := uuid.NewString()
			for {
				claimed, err := e.S.ClaimRuns(e.ctx(), by, time.Hour, 3)
				if err != nil {
					e.T.Error(err)
					return
				}
				if len(claimed) == 0 {
					return
				}
				mu.Lock()
				for _, c := range claimed {
					if got[c.Run.ID] {
						e.T.Errorf("run %s claimed twice", c.Run.ID)
					}
					got[c.Run.ID] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// Claims that ran at once may have skipped each other's rows; what is left is still due.
	for _, c := range e.claim("last", runs) {
		got[c.Run.ID] = true
	}
	e.equal(got, want)
}

package worker_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
	"github.com/kneo-go/kneo/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oneAgent = `{"version":"v1","agent":{"name":"solo"}}`

const oneFunction = `{"version":"v1","agent":{"name":"root"},
 "components":{"functions":{"f":{"implementation":"kit.functions.upper"}}},
 "workflow":{"type":"sequential","name":"w","steps":[{"id":"s","kind":"function","ref":"f"}]}}`

// serve runs a pool until the test stops it.
func serve(t testing.TB, b *testkit.Bench, e *testkit.Executor, o worker.Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	pool := worker.New(b.Base, e.Runner, o)
	go func() {
		defer close(done)
		if err := pool.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// await waits until a run has one of the statuses.
func await(t testing.TB, b *testkit.Bench, runID string, statuses ...run.Status) run.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	changed, err := b.Base.Changed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for {
		r := b.Row(runID)
		for _, s := range statuses {
			if r.Status == s {
				return r
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("run is %s, want %v", r.Status, statuses)
		case <-changed:
		}
	}
}

func TestQueuedRunsComplete(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	snapshot := b.Compile(oneAgent)
	var ids []string
	for range 50 {
		c, err := e.Create(snapshot, "agent", "hello", run.ModeQueued)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.Run.ID)
	}
	stop := serve(t, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, DrainTimeout: time.Second})
	defer stop()
	for _, id := range ids {
		if r := await(t, b, id, run.Completed); *r.Output != "Final answer: hello" {
			t.Fatalf("output %q", *r.Output)
		}
	}
	if n := b.Handlers.Calls("model"); n != 50 {
		t.Errorf("%d model calls", n)
	}
}

func TestOneAtATimeAndQueuedUntilStarted(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	snapshot := b.Compile(oneFunction)
	entered, gate := make(chan struct{}), make(chan struct{})
	var inside, most atomic.Int64
	b.Handlers.Hold = func(ctx context.Context, _, _ string) error {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		select {
		case entered <- struct{}{}:
		case <-ctx.Done():
		}
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return nil
	}
	var ids []string
	for range 3 {
		c, err := e.Create(snapshot, "workflow", "x", run.ModeQueued)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.Run.ID)
	}
	stop := serve(t, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, DrainTimeout: time.Second})
	<-entered
	await(t, b, ids[0], run.Running)
	for _, id := range ids[1:] {
		if r := b.Row(id); r.Status != run.Queued {
			t.Errorf("waiting run is %s", r.Status)
		}
	}
	close(gate)
	for range 2 {
		<-entered
	}
	for _, id := range ids {
		await(t, b, id, run.Completed)
	}
	stop()
	if most.Load() != 1 {
		t.Errorf("%d runs at once", most.Load())
	}
}

func TestDrainGivesBackWhatDoesNotEnd(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	entered := make(chan struct{}, 1)
	var held atomic.Bool
	held.Store(true)
	b.Handlers.Hold = func(ctx context.Context, _, _ string) error {
		if held.Load() {
			entered <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	}
	c, err := e.Create(b.Compile(oneFunction), "workflow", "x", run.ModeQueued)
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, DrainTimeout: time.Millisecond})
	<-entered
	stop()
	held.Store(false)
	next := b.Executor(0)
	claimed, err := next.Store.ClaimRuns(context.Background(), next.OwnerID(), time.Minute, 1)
	if err != nil || len(claimed) != 1 || claimed[0].Run.ID != c.Run.ID {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	if attempts := claimed[0].Fence.Attempt - claimed[0].Released; attempts != 1 {
		t.Errorf("attempts %d: a claim given back counts", attempts)
	}
	if out := next.Execute(context.Background(), claimed[0], nil); out.Status != run.Completed {
		t.Errorf("status %s, %v", out.Status, out.Err)
	}
}

func TestDeadLetter(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	c, err := e.Create(b.Compile(oneAgent), "agent", "x", run.ModeQueued)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for range 2 {
		other := b.Executor(0)
		if _, err := other.Recover(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Base.RecoverOwners(ctx, e.OwnerID(), 0); err != nil {
		t.Fatal(err)
	}
	stop := serve(t, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, MaxAttempts: 2, DrainTimeout: time.Second})
	defer stop()
	r := await(t, b, c.Run.ID, run.Failed)
	if r.Error.Type != run.FailDeadLetter || r.Error.Message != "Run exceeded the queue retry cap (3 attempts > 2); dead-lettered." {
		t.Errorf("error %+v", r.Error)
	}
	if got := b.Rows(c.Run.ID); len(got) != 2 || got[1] != run.CheckpointRunFailed {
		t.Errorf("rows %v", got)
	}
	list, _, err := b.Base.AuditEvents(ctx, store.AuditFilter{RunID: c.Run.ID, Limit: 5})
	if err != nil || len(list) != 1 || list[0].Type != "run.dead_lettered" {
		t.Errorf("audit %v, %v", list, err)
	}
}

func TestCancelReachesTheHandler(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	entered, left := make(chan struct{}, 1), make(chan error, 1)
	b.Handlers.Hold = func(ctx context.Context, _, _ string) error {
		entered <- struct{}{}
		<-ctx.Done()
		left <- context.Cause(ctx)
		return context.Cause(ctx)
	}
	c, err := e.Create(b.Compile(oneFunction), "workflow", "x", run.ModeQueued)
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, DrainTimeout: time.Second})
	defer stop()
	<-entered
	r := b.Row(c.Run.ID)
	r.Status = run.Cancelled
	// Another process cancels: only the store tells.
	if _, changed, err := b.Base.CancelRun(context.Background(), r.ID, store.Progress{Run: &r}); err != nil || !changed {
		t.Fatal(changed, err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler was not stopped")
	}
	if r := b.Row(c.Run.ID); r.Status != run.Cancelled {
		t.Errorf("status %s", r.Status)
	}
}

// TestCancelledWhileItWaits cancels a run that is claimed ahead, behind one that holds the only slot: its turn passes.
func TestCancelledWhileItWaits(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	snapshot := b.Compile(oneFunction)
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	b.Handlers.Hold = func(_ context.Context, _, input string) error {
		if input == "hold" {
			entered <- struct{}{}
			<-gate
		}
		return nil
	}
	create := func(input string) string {
		c, err := e.Create(snapshot, "workflow", input, run.ModeQueued)
		if err != nil {
			t.Fatal(err)
		}
		return c.Run.ID
	}
	first, second := create("quick"), create("hold")
	waits := create("waits")
	stop := serve(t, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, DrainTimeout: time.Second})
	defer stop()
	await(t, b, first, run.Completed)
	<-entered
	r := b.Row(waits)
	r.Status = run.Cancelled
	if _, changed, err := b.Base.CancelRun(context.Background(), r.ID, store.Progress{Run: &r}); err != nil || !changed {
		t.Fatal(changed, err)
	}
	e.Runner.Keeper().Cancel(waits, runner.ErrCancelled) // as the use case does; the store's own notice may come later
	close(gate)
	await(t, b, second, run.Completed)
	last := create("last")
	await(t, b, last, run.Completed)
	if n := b.Handlers.Calls("upper"); n != 3 {
		t.Errorf("%d calls: the cancelled run was executed", n)
	}
	if r := b.Row(waits); r.Status != run.Cancelled {
		t.Errorf("status %s", r.Status)
	}
}

// BenchmarkDrain measures one-agent runs per second with one slot on a durable SQLite file.
func BenchmarkDrain(bb *testing.B) {
	s, err := sqlite.New(context.Background(), sqlite.Options{Path: filepath.Join(bb.TempDir(), "runs.sqlite")})
	if err != nil {
		bb.Fatal(err)
	}
	b := testkit.NewBenchOn(bb, s)
	e := b.Executor(0)
	snapshot := b.Compile(oneAgent)
	last := ""
	for range bb.N {
		c, err := e.Create(snapshot, "agent", "hello", run.ModeQueued)
		if err != nil {
			bb.Fatal(err)
		}
		last = c.Run.ID
	}
	bb.ResetTimer()
	stop := serve(bb, b, e, worker.Options{Concurrency: 1, Lease: time.Minute, DrainTimeout: time.Minute})
	await(bb, b, last, run.Completed)
	stop()
	bb.StopTimer()
	bb.ReportMetric(float64(bb.N)/bb.Elapsed().Seconds(), "runs/s")
	if err := errors.Join(s.Close()); err != nil {
		bb.Error(err)
	}
}

// Package testkit runs the platform inside a test: compiler, store, runner and agents without transports, a store that dies after a chosen
// commit, scripted handlers, and a runner of YAML scenarios. Only tests import it.
package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/compile"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/dummy"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/tool"
)

// Bench is one database with executors that can die and be replaced.
type Bench struct {
	t        testing.TB
	Base     store.Store
	Clock    clock.Clock
	Handlers *Handlers
	// Models opens providers; nil binds every agent to the dummy with counted calls.
	Models agent.Models

	// Watched makes models stream.
	Watched bool

	mu    sync.Mutex
	plans map[string]*plan.Plan
}

// NewBench opens a SQLite database in the test's folder.
func NewBench(t testing.TB) *Bench {
	t.Helper()
	s, err := sqlite.New(context.Background(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.sqlite"), Normal: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return NewBenchOn(t, s)
}

// NewBenchOn uses a store that the caller owns.
func NewBenchOn(t testing.TB, s store.Store) *Bench {
	return &Bench{t: t, Base: s, Clock: clock.System{}, Handlers: NewHandlers(), plans: map[string]*plan.Plan{}}
}

// ManualClock makes executors started from now on use a clock that the test moves.
func (b *Bench) ManualClock() *clock.Manual {
	c := clock.NewManual(time.Now().Truncate(time.Microsecond))
	b.Clock = c
	return c
}

// Compile compiles a spec and returns its snapshot.
func (b *Bench) Compile(text string) run.Snapshot {
	b.t.Helper()
	node, _, err := spec.Parse("spec.yaml", []byte(text), spec.Limits{})
	if err != nil {
		b.t.Fatal(err)
	}
	doc, found, err := spec.Inputs{Base: node}.Check(spec.ValidateOptions{})
	if err != nil || doc == nil || found.HasErrors() {
		b.t.Fatalf("spec: %v\n%s", err, found.Text())
	}
	p, found := compile.Compile(doc, compile.Options{})
	if found.HasErrors() {
		b.t.Fatalf("compile: %s", found.Text())
	}
	raw, err := json.Marshal(p)
	if err != nil {
		b.t.Fatal(err)
	}
	digest := id.Derived(text)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plans[digest] = p
	return run.Snapshot{Digest: digest, Frozen: json.RawMessage(`{"base":{},"overlays":[]}`), Inputs: json.RawMessage(`{}`), Plan: raw}
}

// Plan returns a compiled plan.
func (b *Bench) Plan(_ context.Context, digest string) (*plan.Plan, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.plans[digest]
	if !ok {
		return nil, store.ErrNotFound
	}
	return p, nil
}

// Executor is one process: a runner on a store that may die.
type Executor struct {
	*runner.Runner
	Store *Mortal
	b     *Bench
}

// Executor starts a process that dies after that many commits; 0 never dies.
func (b *Bench) Executor(dieAfter int) *Executor {
	b.t.Helper()
	m := NewMortal(b.Base, dieAfter)
	models := b.Models
	if models == nil {
		models = llm.NewRegistry(llm.RegistryOptions{Definitions: map[string]llm.Definition{dummy.Name: {Open: b.Handlers.model, KeyFree: true}}})
	}
	loop, err := agent.New(agent.Config{Models: models, Tools: &tool.Executor{Handlers: b.Handlers}, Handlers: b.Handlers})
	if err != nil {
		b.t.Fatal(err)
	}
	r := runner.New(runner.Deps{
		Store: m, Plans: b.Plan, Agents: loop, Guardrails: loop, Functions: b.Handlers, Clock: b.Clock, Lease: time.Minute,
		Watched: func(string) bool { return b.Watched },
	})
	loop.Delegate = r.Delegate
	return &Executor{Runner: r, Store: m, b: b}
}

// Create stores a new run and claims it for the executor; mode is inline or queued.
func (e *Executor) Create(snapshot run.Snapshot, target, input, mode string) (run.Claimed, error) {
	return e.create(snapshot, target, input, mode, 0)
}

// CreateWithDeadline stores a new inline run that must end in time.
func (e *Executor) CreateWithDeadline(snapshot run.Snapshot, input string, limit time.Duration) (run.Claimed, error) {
	return e.create(snapshot, "workflow", input, run.ModeInline, limit)
}

func (e *Executor) create(snapshot run.Snapshot, target, input, mode string, limit time.Duration) (run.Claimed, error) {
	now := e.b.Clock.Now()
	r := run.Run{
		ID: id.New(), Status: run.Running, Target: target, Input: input, SnapshotDigest: snapshot.Digest, CreatedAt: now, UpdatedAt: now,
		StartedAt: &now, Creation: json.RawMessage(`{"spec_path":null,"spec":{"version":"v1"},"target":"` + target + `","caller_metadata":{}}`),
		Messages: json.RawMessage(`[]`), Progress: json.RawMessage(`{}`), Principal: "test",
	}
	if mode == run.ModeQueued {
		r.Status, r.StartedAt = run.Queued, nil
	}
	if limit > 0 {
		deadline, seconds := now.Add(limit), limit.Seconds()
		r.DeadlineAt, r.TimeoutSeconds = &deadline, &seconds
	}
	state := r
	state.Status = run.Running
	c := store.CreateRun{
		Run: r, Snapshot: snapshot, Mode: mode, Owner: e.OwnerID(), Lease: e.LeaseTime(),
		Checkpoints: []run.Checkpoint{{
			ID: id.New(), RunID: r.ID, Type: run.CheckpointRunStarted, Iteration: 1, State: record.State(&state),
			TraceEvents: json.RawMessage(`[]`), Metadata: json.RawMessage(`{}`), CreatedAt: now,
		}},
		Events: []run.Event{{Kind: "started", Data: json.RawMessage(`{}`), CreatedAt: now}},
	}
	claimed, err := e.Store.CreateRun(context.Background(), c)
	claimed.Reply = run.ReplyCreate
	return claimed, err
}

// Resume answers the pending task of a run and claims the leg.
func (e *Executor) Resume(runID string, d engine.Decision) (run.Claimed, error) {
	ctx := context.Background()
	tasks, err := e.Store.HumanTasks(ctx, store.TaskFilter{RunID: runID, Limit: 10})
	if err != nil {
		return run.Claimed{}, err
	}
	if len(tasks) == 0 {
		return run.Claimed{}, store.ErrNotFound
	}
	entry, err := engine.HumanEntry(tasks[0].StepKey, id.New(), &d)
	if err != nil {
		return run.Claimed{}, err
	}
	now := e.b.Clock.Now()
	return e.Store.ResumeRun(ctx, store.StartLeg{
		RunID: runID, From: run.Blocked, Mode: run.ModeInline, Owner: e.OwnerID(), Lease: e.LeaseTime(), Reply: run.ReplyResume,
		Progress: store.Progress{Entries: []run.Entry{entry}},
		Task:     &store.TaskDecision{ID: tasks[0].ID, State: run.TaskDecided, DecidedBy: "test", Decision: json.RawMessage(`{}`), At: now},
	})
}

// Continue goes on with a failed run and claims the leg.
func (e *Executor) Continue(runID string) (run.Claimed, error) {
	ctx := context.Background()
	r, err := e.Store.Run(ctx, runID)
	if err != nil {
		return run.Claimed{}, err
	}
	list, err := e.Store.Checkpoints(ctx, runID)
	if err != nil {
		return run.Claimed{}, err
	}
	now, replay := e.b.Clock.Now(), record.ReplayContextOf(&r, list)
	r.Status, r.CompletedAt = run.Running, nil
	return e.Store.ContinueRun(ctx, store.StartLeg{
		RunID: runID, From: run.Failed, Mode: run.ModeInline, Owner: e.OwnerID(), Lease: e.LeaseTime(), Reply: run.ReplyContinue,
		Progress: store.Progress{
			Run: &r, Entries: []run.Entry{engine.ContinueEntry(id.New())},
			Checkpoints: []run.Checkpoint{{
				ID: id.New(), RunID: runID, Type: run.CheckpointReplayContext, StepID: replay.FailedStep, NodeID: replay.FailedNode, Iteration: 1,
				State: record.State(&r), TraceEvents: json.RawMessage(`[]`), Metadata: replay.JSON(), CreatedAt: now,
			}},
		},
	})
}

// Recover claims the open legs of dead executors.
func (e *Executor) Recover() ([]run.Claimed, error) {
	ctx := context.Background()
	if _, err := e.Store.RecoverOwners(ctx, e.OwnerID(), time.Microsecond); err != nil {
		return nil, err
	}
	return e.Store.ClaimRuns(ctx, e.OwnerID(), e.LeaseTime(), 10)
}

// Rows lists the checkpoints of a run as "type step".
func (b *Bench) Rows(runID string) []string {
	b.t.Helper()
	list, err := b.Base.Checkpoints(context.Background(), runID)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		row := c.Type
		if c.StepID != nil {
			row += " " + *c.StepID
		}
		if c.NodeID != nil {
			row += " " + *c.NodeID
		}
		if c.Iteration > 1 {
			row += " it" + string(rune('0'+c.Iteration%10))
		}
		out = append(out, row)
	}
	return out
}

// Trace lists the types of the trace events of a run.
func (b *Bench) Trace(runID string) []string {
	b.t.Helper()
	ctx := context.Background()
	list, err := b.Base.Checkpoints(ctx, runID)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := b.Base.Run(ctx, runID)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, e := range record.Trace(&r, list, "") {
		out = append(out, strings.Trim(string(record.Field(e, "type")), `"`))
	}
	return out
}

// Row reads a run.
func (b *Bench) Row(runID string) run.Run {
	b.t.Helper()
	r, err := b.Base.Run(context.Background(), runID)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

var _ handler.Caller = (*Handlers)(nil)

// errDead is what a dead process gets from its store.
var errDead = errors.New("testkit: the process is dead")

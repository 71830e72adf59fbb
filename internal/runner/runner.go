// Package runner executes claimed runs: it rebuilds the engine's state from the journal, performs the engine's actions with time limits and
// bounded concurrency, commits every finished step under the claim's fence, and ends the leg: finished, paused, cancelled or given back. It
// imports the engine, the agent interfaces, the store's port and the records below them; no adapter, no transport.
package runner

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// Causes with which the context of an executing leg ends.
var (
	// ErrCancelled: the run became terminal elsewhere.
	ErrCancelled = errors.New("runner: run cancelled")
	// ErrLost: another executor owns the run.
	ErrLost = errors.New("runner: lease lost")
	// ErrOverdue: the run's deadline has passed.
	ErrOverdue = errors.New("runner: run deadline passed")
	// ErrDrain: the process stops; the claim is given back.
	ErrDrain = errors.New("runner: process stops")
)

// Store is what an executor reads and writes.
type Store interface {
	store.Legs
	Run(ctx context.Context, id string) (run.Run, error)
	Journal(ctx context.Context, runID string) ([]run.Entry, error)
	Checkpoints(ctx context.Context, runID string) ([]run.Checkpoint, error)
	TimeOutRun(ctx context.Context, id string, p store.Progress) (run.Run, bool, error)
}

// Metrics counts what legs do.
type Metrics interface {
	RunStarted()
	RunCompleted()
	RunFailed()
	RunDeadLettered()
	Tokens(input, output, total int64)
	Leg(mode, status string, d time.Duration)
}

// Deps is what a Runner needs. Metrics, Log and Clock may be nil.
type Deps struct {
	Store Store
	// Plans returns the compiled plan of a snapshot, cached.
	Plans      func(ctx context.Context, digest string) (*plan.Plan, error)
	Agents     agent.Agents
	Guardrails agent.StepGuardrails
	Functions  agent.Functions
	Metrics    Metrics
	Log        *slog.Logger
	Clock      clock.Clock
	// Owner names this process in leases; empty draws one.
	Owner string
	// Lease is how long a claim lives without a heartbeat; 0 means 300 s.
	Lease time.Duration
	// Branches bounds concurrent actions of one run; 0 means 16.
	Branches int
	// TraceLimit bounds trace events per run; 0 means no limit.
	TraceLimit int64
	// RetryOnTimeout lets a step's own time limit be retried.
	RetryOnTimeout bool
	// Watched reports whether somebody in this process follows the run live; only then do models stream. Nil means nobody does.
	Watched func(runID string) bool
	// StartDelay is how long a quick queued run may stay unannounced: one that ends sooner is never written as running. 0 means 2 ms.
	StartDelay time.Duration
}

// Runner executes claimed runs. It is safe for concurrent use.
type Runner struct {
	Deps
	keeper *Keeper
}

// New returns a runner.
func New(d Deps) *Runner {
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Owner == "" {
		d.Owner = id.New()
	}
	if d.Lease <= 0 {
		d.Lease = 300 * time.Second
	}
	if d.Branches <= 0 {
		d.Branches = 16
	}
	if d.StartDelay <= 0 {
		d.StartDelay = 2 * time.Millisecond
	}
	return &Runner{Deps: d, keeper: newKeeper(d.Owner)}
}

// OwnerID is the name under which this process holds leases.
func (r *Runner) OwnerID() string { return r.Owner }

// LeaseTime is how long a claim lives without a heartbeat.
func (r *Runner) LeaseTime() time.Duration { return r.Lease }

// Keeper holds the leases of this process.
func (r *Runner) Keeper() *Keeper { return r.keeper }

// Outcome is how a leg ended.
type Outcome struct {
	// Run is the row as last written or read.
	Run run.Run
	// Status is the status for the response: the row's, or max_iterations.
	Status run.Status
	// Metadata is the leg's result metadata, redacted; set for inline legs.
	Metadata json.RawMessage
	// Body is the response body of an inline leg as stored under its idempotency key, and Code its HTTP status.
	Body json.RawMessage
	Code int
	// Problem is the failure of an inline leg that keeps its own status (decision W4), or nil.
	Problem *problem.Error
	// Err is a failure of the platform: the leg did not end in a stored state.
	Err error
}

// Execute runs one claimed leg to its end. Cancelling ctx with a cause of this package stops it accordingly; any other cancellation counts as
// ErrDrain. quiet, when not nil, is called once, when only the last write is left to do.
func (r *Runner) Execute(ctx context.Context, c run.Claimed, quiet func()) Outcome {
	if quiet == nil {
		quiet = func() {}
	}
	ctx, cancel := context.WithCancelCause(traced(ctx, c.Run.TraceParent))
	defer cancel(nil)
	release := r.keeper.Hold(c.Fence, cancel)
	defer release()
	l := newLeg(r, c, cancel, quiet)
	defer l.stop()
	return l.execute(ctx)
}

// traced continues the trace in which a run was created, unless the caller has a trace of its own.
func traced(ctx context.Context, parent string) context.Context {
	if parent == "" || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
}

// detached is a context for writes that must happen although the leg was cancelled.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

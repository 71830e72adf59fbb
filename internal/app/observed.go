package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/telemetry"
)

// observed is a store that makes the spans of the queue and counts what happens to leases. A run is stored with the trace of the request that
// created it, so that its legs belong to that trace wherever they execute.
type observed struct {
	store.Store
	metrics *telemetry.Metrics
	tracer  trace.Tracer
}

// CreateRun implements store.Runs.
func (o *observed) CreateRun(ctx context.Context, c store.CreateRun) (run.Claimed, error) {
	var span trace.Span
	if c.Mode == run.ModeQueued {
		ctx, span = o.tracer.Start(ctx, "kneo.queue.dispatch", trace.WithAttributes(attribute.String("kneo.run.id", c.Run.ID)))
		defer span.End()
	}
	if c.Run.TraceParent == "" {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		c.Run.TraceParent = carrier["traceparent"]
	}
	return o.Store.CreateRun(ctx, c)
}

// ClaimRuns implements store.Queue.
func (o *observed) ClaimRuns(ctx context.Context, owner string, lease time.Duration, n int) ([]run.Claimed, error) {
	ctx, span := o.tracer.Start(ctx, "kneo.worker.lease", trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("kneo.worker.id", owner), attribute.Float64("kneo.worker.lease_seconds", lease.Seconds())))
	defer span.End()
	claimed, err := o.Store.ClaimRuns(ctx, owner, lease, n)
	ids := make([]string, 0, len(claimed))
	now := time.Now()
	for i := range claimed {
		c := &claimed[i]
		ids = append(ids, c.Run.ID)
		if c.Fence.Attempt == 1 {
			o.metrics.QueueWait(now.Sub(c.Run.CreatedAt))
		}
	}
	span.SetAttributes(attribute.Bool("kneo.worker.claimed", len(ids) > 0))
	if len(ids) > 0 {
		span.SetAttributes(attribute.String("kneo.run.id", strings.Join(ids, ",")))
	}
	return claimed, err
}

// AcquireLease implements store.Leases.
func (o *observed) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) error {
	id, ok := strings.CutPrefix(name, "continuation:")
	if !ok {
		return o.Store.AcquireLease(ctx, name, owner, ttl)
	}
	ctx, span := o.tracer.Start(ctx, "kneo.continuation.lock", trace.WithAttributes(attribute.String("kneo.continuation.id", id),
		attribute.String("kneo.lock.name", name), attribute.Float64("kneo.lock.ttl_seconds", ttl.Seconds())))
	defer span.End()
	err := o.Store.AcquireLease(ctx, name, owner, ttl)
	span.SetAttributes(attribute.Bool("kneo.lock.acquired", err == nil))
	return err
}

// Heartbeat implements store.Queue.
func (o *observed) Heartbeat(ctx context.Context, owner string, lease time.Duration, held []run.Fence) (store.Beat, error) {
	beat, err := o.Store.Heartbeat(ctx, owner, lease, held)
	if n := len(beat.Lost); n > 0 {
		o.metrics.LeaseLost(n)
	}
	return beat, err
}

func (o *observed) fenced(err error) error {
	if errors.Is(err, store.ErrLeaseLost) {
		o.metrics.LeaseLost(1)
	}
	return err
}

// StartClaimed implements store.Legs.
func (o *observed) StartClaimed(ctx context.Context, f run.Fence, p store.Progress) error {
	return o.fenced(o.Store.StartClaimed(ctx, f, p))
}

// RecordCall implements store.Legs.
func (o *observed) RecordCall(ctx context.Context, f run.Fence, p store.Progress) error {
	return o.fenced(o.Store.RecordCall(ctx, f, p))
}

// CommitStep implements store.Legs.
func (o *observed) CommitStep(ctx context.Context, f run.Fence, p store.Progress) error {
	return o.fenced(o.Store.CommitStep(ctx, f, p))
}

// BlockRun implements store.Legs.
func (o *observed) BlockRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	return o.fenced(o.Store.BlockRun(ctx, f, e))
}

// FinishRun implements store.Legs.
func (o *observed) FinishRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	return o.fenced(o.Store.FinishRun(ctx, f, e))
}

// callTimes is an agent.Observer that measures model and tool calls.
type callTimes struct{ metrics *telemetry.Metrics }

// Agent implements agent.Observer.
func (callTimes) Agent(ctx context.Context, _ agent.Observation) (context.Context, func(agent.Done)) {
	return ctx, func(agent.Done) {}
}

// Model implements agent.Observer.
func (c callTimes) Model(ctx context.Context, o agent.Observation) (context.Context, func(agent.Done)) {
	return ctx, c.measure("model", o.Provider)
}

// Tool implements agent.Observer.
func (c callTimes) Tool(ctx context.Context, o agent.Observation) (context.Context, func(agent.Done)) {
	return ctx, c.measure("tool", o.Tool)
}

func (c callTimes) measure(kind, name string) func(agent.Done) {
	begun := time.Now()
	return func(agent.Done) { c.metrics.CallTime(kind, name, time.Since(begun)) }
}

// pooled is a store that has connections to count.
type pooled interface {
	PoolStats() store.PoolStats
}

// watchPool adds the gauges of the connection pool, where there is one.
func watchPool(m *telemetry.Metrics, s store.Store) {
	p, ok := s.(pooled)
	if !ok {
		return
	}
	m.WatchPool(func() telemetry.PoolNumbers { return telemetry.PoolNumbers(p.PoolStats()) })
}

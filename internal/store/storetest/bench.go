package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

func benchRun(status run.Status) run.Run {
	now := time.Now()
	return run.Run{
		ID: uuid.NewString(), Status: status, Target: "workflow", WorkflowName: ptr("flow"), WorkflowKind: ptr("sequential"), Input: "Write a text",
		SnapshotDigest: "d1", Principal: "alice", CreatedAt: now, UpdatedAt: now, VisitedSteps: []string{}, VisitedNodes: []string{},
		Creation: json.RawMessage(`{"target":"workflow","caller_metadata":{"ticket":"` + strings.Repeat("x", 100) + `"}}`),
	}
}

func benchProgress(r run.Run, s run.Status) store.Progress {
	now := time.Now()
	r.Status, r.UpdatedAt = s, now
	r.Output = ptr("a result")
	r.VisitedSteps = []string{"s1"}
	r.Messages = json.RawMessage(`[{"role":"user","content":"` + strings.Repeat("m", 300) + `"}]`)
	if s.Terminal() {
		r.CompletedAt = &now
	}
	state := json.RawMessage(`{"status":"running","output":"` + strings.Repeat("s", 700) + `"}`)
	return store.Progress{
		Run:         &r,
		Entries:     []run.Entry{{Kind: run.EntryStep, Key: "s1#1", Data: json.RawMessage(`{"o":"` + strings.Repeat("d", 200) + `"}`)}},
		Checkpoints: []run.Checkpoint{{ID: uuid.NewString(), Type: run.CheckpointStepCompleted, State: state, TraceEvents: state, Metadata: json.RawMessage(`{}`), CreatedAt: now}},
		Events:      []run.Event{{Kind: "step", Data: json.RawMessage(`{"a":1}`), CreatedAt: now}, {Kind: "status", Data: json.RawMessage(`{"a":1}`), CreatedAt: now}},
	}
}

func benchCreate(mode string, status run.Status) store.CreateRun {
	r := benchRun(status)
	p := benchProgress(r, status)
	return store.CreateRun{
		Run: r, Snapshot: snapshot(), Mode: mode, Owner: owner, Lease: time.Hour, Checkpoints: p.Checkpoints, Events: p.Events[:1],
		Audit: []run.AuditEvent{{ID: uuid.NewString(), Type: "spec.run", RunID: &r.ID, Metadata: json.RawMessage(`{}`), CreatedAt: r.CreatedAt}},
	}
}

// Bench measures the paths that bound the platform's speed.
func Bench(b *testing.B, open func(b *testing.B) store.Store) {
	b.Helper()
	for _, workers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("InlineRun/c=%d", workers), func(b *testing.B) { benchInline(b, open(b), workers) })
	}
	b.Run("QueuedDrain", func(b *testing.B) { benchDrain(b, open(b)) })
	b.Run("Reads", func(b *testing.B) { benchReads(b, open(b)) })
}

func parallel(b *testing.B, workers, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func benchInline(b *testing.B, s store.Store, workers int) {
	b.ResetTimer()
	parallel(b, workers, b.N, func(int) error {
		c, err := s.CreateRun(b.Context(), benchCreate(run.ModeInline, run.Running))
		if err != nil {
			return err
		}
		return s.FinishRun(b.Context(), c.Fence, store.EndLeg{Progress: benchProgress(c.Run, run.Completed)})
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

func benchDrain(b *testing.B, s store.Store) {
	parallel(b, 64, b.N, func(int) error {
		_, err := s.CreateRun(b.Context(), benchCreate(run.ModeQueued, run.Queued))
		return err
	})
	b.ResetTimer()
	claimed := make(chan run.Claimed, 64)
	go func() {
		defer close(claimed)
		for {
			got, err := s.ClaimRuns(b.Context(), owner, time.Hour, 32)
			if err != nil {
				b.Error(err)
			}
			if len(got) == 0 || err != nil {
				return
			}
			for _, c := range got {
				claimed <- c
			}
		}
	}()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for c := range claimed {
				if err := s.FinishRun(b.Context(), c.Fence, store.EndLeg{Progress: benchProgress(c.Run, run.Completed)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

func benchReads(b *testing.B, s store.Store) {
	const rows = 10000
	var last atomic.Value
	parallel(b, 64, rows, func(int) error {
		c := benchCreate(run.ModeInline, run.Completed)
		p := benchProgress(c.Run, run.Completed)
		c.Run = *p.Run
		last.Store(c.Run.ID)
		_, err := s.CreateRun(b.Context(), c)
		return err
	})
	id, _ := last.Load().(string)
	b.Run("Get", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Run(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Checkpoints", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Checkpoints(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, f := range map[string]store.RunFilter{
		"List": {SortBy: "updated_at", Desc: true, Limit: 100}, "ListStatus": {Status: ptr("completed"), SortBy: "updated_at", Desc: true, Limit: 100},
		"ListWorkflow": {WorkflowName: ptr("flow"), SortBy: "updated_at", Desc: true, Limit: 100},
		"ListDeep":     {SortBy: "created_at", Desc: true, Limit: 100, Offset: 9000},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				got, err := s.ListRuns(b.Context(), f)
				if err != nil || len(got) != 100 {
					b.Fatalf("%d rows, %v", len(got), err)
				}
			}
		})
		b.Run(name+"Count", func(b *testing.B) {
			for b.Loop() {
				if n, err := s.CountRuns(b.Context(), f); err != nil || n != rows {
					b.Fatalf("%d, %v", n, err)
				}
			}
		})
	}
}

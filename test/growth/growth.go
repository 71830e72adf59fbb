package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

const (
	owner = "growth"
	lease = time.Hour
	// seeders write at once; each write waits for a commit that many share.
	seeders = 128
	// repeats is how often an operation is measured at each size.
	repeats = 60
)

// corpus is what has been stored.
type corpus struct {
	store store.Store
	ids   id.Sequence
	mu    sync.Mutex
	known []string
	now   func() time.Time
}

func text(s string) *string { return &s }

// statuses of stored runs, most of them completed.
var statuses = []run.Status{run.Completed, run.Completed, run.Completed, run.Completed, run.Completed, run.Completed, run.Failed, run.Cancelled}

func (c *corpus) run(n int, status run.Status) run.Run {
	now := c.now()
	r := run.Run{
		ID: c.ids.New(now), Status: status, Target: "workflow", WorkflowName: text(fmt.Sprintf("flow-%d", n%8)), WorkflowKind: text("sequential"),
		SessionID: text(fmt.Sprintf("session-%d", n%9)), Input: "Write a text", Output: text("a result"), SnapshotDigest: fmt.Sprintf("digest-%d", n%10),
		Principal: "alice", CreatedAt: now, UpdatedAt: now, VisitedSteps: []string{"one"}, VisitedNodes: []string{}, Progress: json.RawMessage(`{}`),
		Creation: json.RawMessage(`{"target":"workflow","caller_metadata":{}}`), Messages: json.RawMessage(`[{"role":"user","content":"` + strings.Repeat("m", 200) + `"}]`),
	}
	if status == run.Failed {
		r.Error = &run.Failure{Message: "a step failed", Type: "step_failed"}
	}
	if status.Terminal() {
		r.CompletedAt = &now
	}
	return r
}

func progress(r run.Run, at time.Time) store.Progress {
	return store.Progress{
		Run:     &r,
		Entries: []run.Entry{{Kind: run.EntryStep, Key: "one#1", Data: json.RawMessage(`{"o":"` + strings.Repeat("d", 100) + `"}`)}},
		Checkpoints: []run.Checkpoint{{
			ID: id.New(), Type: run.CheckpointStepCompleted, State: json.RawMessage(`{"status":"running","output":"` + strings.Repeat("s", 300) + `"}`),
			TraceEvents: json.RawMessage(`[]`), Metadata: json.RawMessage(`{}`), CreatedAt: at,
		}},
		Events: []run.Event{{Kind: "step", Data: json.RawMessage(`{"a":1}`), CreatedAt: at}},
	}
}

func (c *corpus) creation(n int, status run.Status, mode string) store.CreateRun {
	r := c.run(n, status)
	p := progress(r, r.CreatedAt)
	return store.CreateRun{
		Run: r, Snapshot: run.Snapshot{Digest: r.SnapshotDigest, Frozen: json.RawMessage(`{}`), Inputs: json.RawMessage(`{}`), Plan: json.RawMessage(`{}`)},
		Mode: mode, Owner: owner, Lease: lease, Checkpoints: p.Checkpoints, Events: p.Events,
		Audit: []run.AuditEvent{{ID: id.New(), Type: "spec.run", RunID: &r.ID, Metadata: json.RawMessage(`{}`), CreatedAt: r.CreatedAt}},
	}
}

// seed stores ended runs until there are n.
func (c *corpus) seed(ctx context.Context, n int) error {
	var next atomic.Int64
	next.Store(int64(len(c.known)))
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range seeders {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				create := c.creation(i, statuses[i%len(statuses)], run.ModeInline)
				if _, err := c.store.CreateRun(ctx, create); err != nil {
					failed.Store(&err)
					return
				}
				c.mu.Lock()
				c.known = append(c.known, create.Run.ID)
				c.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *corpus) any() string { return c.known[rand.IntN(len(c.known))] } //nolint:gosec // any stored run will do

// measured is an operation with its preparation, which is not timed.
type measured struct {
	name string
	do   func(ctx context.Context) (time.Duration, error)
}

func timed(f func() error) (time.Duration, error) {
	begin := time.Now()
	err := f()
	return time.Since(begin), err
}

func (c *corpus) operations() []measured {
	ops := []measured{
		{"create", func(ctx context.Context) (time.Duration, error) {
			create := c.creation(0, run.Running, run.ModeInline)
			var claimed run.Claimed
			took, err := timed(func() (err error) {
				claimed, err = c.store.CreateRun(ctx, create)
				return err
			})
			if err != nil {
				return 0, err
			}
			return took, c.finish(ctx, claimed)
		}},
		{"claim", c.claim},
		{"checkpoint", c.checkpoint},
		{"finish", func(ctx context.Context) (time.Duration, error) {
			claimed, err := c.store.CreateRun(ctx, c.creation(0, run.Running, run.ModeInline))
			if err != nil {
				return 0, err
			}
			return timed(func() error { return c.finish(ctx, claimed) })
		}},
		{"resume", c.resume},
		{"get", func(ctx context.Context) (time.Duration, error) {
			key := c.any()
			return timed(func() error {
				_, err := c.store.Run(ctx, key)
				return err
			})
		}},
		{"checkpoints", func(ctx context.Context) (time.Duration, error) {
			key := c.any()
			return timed(func() error {
				_, err := c.store.Checkpoints(ctx, key)
				return err
			})
		}},
		{"audit of a run", func(ctx context.Context) (time.Duration, error) {
			key := c.any()
			return timed(func() error {
				_, _, err := c.store.AuditEvents(ctx, store.AuditFilter{RunID: key, Limit: 100})
				return err
			})
		}},
		{"queue depth", func(ctx context.Context) (time.Duration, error) {
			return timed(func() error {
				_, err := c.store.QueueStats(ctx)
				return err
			})
		}},
	}
	for _, l := range c.lists() {
		ops = append(ops, measured{"list " + l.name, func(ctx context.Context) (time.Duration, error) {
			return timed(func() error {
				_, err := c.store.ListRuns(ctx, l.filter)
				return err
			})
		}})
	}
	return ops
}

type named struct {
	name   string
	filter store.RunFilter
}

// lists are the documented filters of the list of runs, a page of a hundred each.
func (c *corpus) lists() []named {
	yes := true
	hour := c.now().Add(-time.Hour)
	failed, completed := string(run.Failed), string(run.Completed)
	list := []named{
		{"newest", store.RunFilter{}},
		{"by status", store.RunFilter{Status: &completed}},
		{"by rare status", store.RunFilter{Status: &failed}},
		{"by workflow", store.RunFilter{WorkflowName: text("flow-7")}},
		{"by kind", store.RunFilter{WorkflowKind: text("sequential")}},
		{"by session", store.RunFilter{SessionID: text("session-7")}},
		{"with error", store.RunFilter{HasError: &yes}},
		{"created after", store.RunFilter{CreatedAfter: &hour}},
		{"by text", store.RunFilter{Text: "result"}},
		{"by creation", store.RunFilter{SortBy: "created_at"}},
		{"oldest", store.RunFilter{}},
	}
	for i := range list {
		f := &list[i].filter
		f.Limit, f.Desc = 100, list[i].name != "oldest"
		if f.SortBy == "" {
			f.SortBy = "updated_at"
		}
	}
	return list
}

func (c *corpus) finish(ctx context.Context, claimed run.Claimed) error {
	now := c.now()
	r := claimed.Run
	r.Status, r.CompletedAt, r.UpdatedAt = run.Completed, &now, now
	return c.store.FinishRun(ctx, claimed.Fence, store.EndLeg{Progress: progress(r, now)})
}

func (c *corpus) claim(ctx context.Context) (time.Duration, error) {
	if _, err := c.store.CreateRun(ctx, c.creation(0, run.Queued, run.ModeQueued)); err != nil {
		return 0, err
	}
	var claimed []run.Claimed
	took, err := timed(func() (err error) {
		claimed, err = c.store.ClaimRuns(ctx, owner, lease, 8)
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(claimed) != 1 {
		return 0, fmt.Errorf("%d runs were claimed, not one", len(claimed))
	}
	return took, c.finish(ctx, claimed[0])
}

func (c *corpus) checkpoint(ctx context.Context) (time.Duration, error) {
	claimed, err := c.store.CreateRun(ctx, c.creation(0, run.Running, run.ModeInline))
	if err != nil {
		return 0, err
	}
	p := progress(claimed.Run, c.now())
	took, err := timed(func() error { return c.store.CommitStep(ctx, claimed.Fence, p) })
	if err != nil {
		return 0, err
	}
	return took, c.finish(ctx, claimed)
}

func (c *corpus) resume(ctx context.Context) (time.Duration, error) {
	claimed, err := c.store.CreateRun(ctx, c.creation(0, run.Running, run.ModeInline))
	if err != nil {
		return 0, err
	}
	now := c.now()
	r := claimed.Run
	task := run.HumanTask{
		ID: id.New(), RunID: r.ID, State: run.TaskPending, WorkflowKind: "sequential", StepKey: "one#1", RequestID: id.New(), OnTimeout: "fail", CreatedAt: now,
		Request: json.RawMessage(`{}`), Metadata: json.RawMessage(`{}`), Messages: json.RawMessage(`[]`),
	}
	r.Status, r.ContinuationID, r.UpdatedAt = run.Blocked, &task.ID, now
	if err := c.store.BlockRun(ctx, claimed.Fence, store.EndLeg{Progress: progress(r, now), Tasks: []run.HumanTask{task}}); err != nil {
		return 0, err
	}
	took, err := timed(func() (err error) {
		claimed, err = c.store.ResumeRun(ctx, store.StartLeg{
			RunID: r.ID, From: run.Blocked, Mode: run.ModeInline, Owner: owner, Lease: lease, Reply: run.ReplyResume,
			Task: &store.TaskDecision{ID: task.ID, State: run.TaskDecided, DecidedBy: "alice", Decision: json.RawMessage(`{}`), At: now},
		})
		return err
	})
	if err != nil {
		return 0, err
	}
	return took, c.finish(ctx, claimed)
}

// Measure seeds the store to each size in turn and returns a table of medians in microseconds, with the growth from the first size to the last.
func Measure(ctx context.Context, s store.Store, sizes []int, progressTo io.Writer) (string, error) {
	c := &corpus{store: s, now: func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }}
	names, rows := []string{}, map[string][]time.Duration{}
	for _, size := range sizes {
		begin := time.Now()
		if err := c.seed(ctx, size); err != nil {
			return "", fmt.Errorf("seed %d runs: %w", size, err)
		}
		_, _ = fmt.Fprintf(progressTo, "%d runs stored in %s\n", size, time.Since(begin).Round(time.Millisecond))
		for _, op := range c.operations() {
			took, err := median(ctx, op)
			if err != nil {
				return "", fmt.Errorf("%s at %d runs: %w", op.name, size, err)
			}
			if _, ok := rows[op.name]; !ok {
				names = append(names, op.name)
			}
			rows[op.name] = append(rows[op.name], took)
		}
	}
	return table(sizes, names, rows), nil
}

func median(ctx context.Context, op measured) (time.Duration, error) {
	var all []time.Duration
	until := time.Now().Add(5 * time.Second)
	for i := range repeats {
		took, err := op.do(ctx)
		if err != nil {
			return 0, err
		}
		if i > 2 {
			all = append(all, took)
		}
		if i > 8 && time.Now().After(until) {
			break
		}
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

func table(sizes []int, names []string, rows map[string][]time.Duration) string {
	var b strings.Builder
	b.WriteString("| stored runs |")
	rule := "|---|"
	for _, size := range sizes {
		fmt.Fprintf(&b, " %d |", size)
		rule += "---:|"
	}
	b.WriteString(" growth |\n" + rule + "---:|\n")
	for _, name := range names {
		took := rows[name]
		b.WriteString("| " + name + " |")
		for _, d := range took {
			fmt.Fprintf(&b, " %d |", d.Microseconds())
		}
		fmt.Fprintf(&b, " %.1f× |\n", float64(took[len(took)-1])/float64(max(took[0], 1)))
	}
	return b.String()
}

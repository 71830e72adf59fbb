package service

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/specview"
	"github.com/kneo-go/kneo/internal/store"
)

// RunQuery filters and pages runs; nil does not filter.
type RunQuery struct {
	Status, WorkflowKind, WorkflowName, SessionID *string
	HasError                                      *bool
	CreatedAfter, CreatedBefore                   *time.Time
	// Text is a part of the output or of the error message.
	Text string
	Page
}

// inStore are the sort keys that the store has an index for.
var inStore = []string{"", "updated_at", "created_at", "status", "id"}

// List returns one page of run records as the wire shows them.
func (s *Runs) List(ctx context.Context, q RunQuery) (Listing[json.RawMessage], error) {
	f := store.RunFilter{
		Status: q.Status, WorkflowKind: q.WorkflowKind, WorkflowName: q.WorkflowName, SessionID: q.SessionID, HasError: q.HasError,
		CreatedAfter: q.CreatedAfter, CreatedBefore: q.CreatedBefore, Text: q.Text, SortBy: "updated_at", Desc: true, Limit: Window,
	}
	if f.Status != nil && *f.Status == "" {
		f.Status = nil
	}
	if f.Status != nil && *f.Status == "succeeded" {
		completed := string(run.Completed)
		f.Status = &completed
	}
	sorted := slices.Contains(inStore, q.SortBy)
	if sorted {
		f.Limit, f.Offset = q.Limit, q.Offset
		if q.SortBy != "" {
			f.SortBy, f.Desc = q.SortBy, q.Desc
		}
	}
	list := s.o.Store.ListRuns
	switch {
	case f.SortBy == "status" && f.Status != nil:
		f.SortBy, f.Desc = "updated_at", true
	case f.SortBy == "status" && f.Desc:
		list = s.byStatus
	}
	runs, err := list(ctx, f)
	if err != nil {
		return Listing[json.RawMessage]{}, storeError(err)
	}
	total := int64(f.Offset + len(runs))
	if len(runs) >= f.Limit || len(runs) == 0 && f.Offset > 0 {
		if total, err = s.o.Store.CountRuns(ctx, f); err != nil {
			return Listing[json.RawMessage]{}, storeError(err)
		}
	}
	if !sorted {
		sortItems(runs, q.Page, func(r *run.Run) json.RawMessage { return record.RunItem(r, nil) })
		runs = cut(runs, q.Page)
	}
	items, err := s.items(ctx, runs)
	return Listing[json.RawMessage]{Items: items, Total: total}, err
}

// byStatus lists runs from the last status to the first, and those of one status newest first in both directions, as a stable sort of the newest
// runs does. The store's index on the status has them so for the first direction only, so here every status is asked on its own.
func (s *Runs) byStatus(ctx context.Context, f store.RunFilter) ([]run.Run, error) {
	var out []run.Run
	seen := map[string]bool{} // a run may change its status between two questions
	offset, need := f.Offset, f.Offset+f.Limit
	f.SortBy, f.Offset = "updated_at", 0
	for _, status := range []run.Status{run.TimedOut, run.Running, run.Queued, run.Failed, run.Expired, run.Completed, run.Cancelled, run.Blocked} {
		text := string(status)
		f.Status, f.Limit = &text, need-len(out)
		runs, err := s.o.Store.ListRuns(ctx, f)
		if err != nil {
			return nil, err
		}
		for i := range runs {
			if !seen[runs[i].ID] {
				seen[runs[i].ID] = true
				out = append(out, runs[i])
			}
		}
		if len(out) == need {
			break
		}
	}
	return out[min(offset, len(out)):], nil
}

// items renders runs with their frozen specs.
func (s *Runs) items(ctx context.Context, runs []run.Run) ([]json.RawMessage, error) {
	var missing []string
	for i := range runs {
		if d := runs[i].SnapshotDigest; !s.frozen.Contains(d) && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	var read map[string]run.Snapshot
	if len(missing) > 0 {
		var err error
		if read, err = s.o.Store.Snapshots(ctx, missing); err != nil {
			return nil, storeError(err)
		}
	}
	out := make([]json.RawMessage, len(runs))
	for i := range runs {
		frozen, ok := s.frozen.Get(runs[i].SnapshotDigest)
		if !ok {
			frozen = read[runs[i].SnapshotDigest].Frozen
			s.frozen.Add(runs[i].SnapshotDigest, frozen)
		}
		out[i] = record.RunItem(&runs[i], frozen)
	}
	return out, nil
}

// frozenSpec returns the frozen_spec object of a run.
func (s *Runs) frozenSpec(ctx context.Context, r *run.Run) (json.RawMessage, error) {
	if frozen, ok := s.frozen.Get(r.SnapshotDigest); ok {
		return frozen, nil
	}
	snapshot, err := s.o.Store.Snapshot(ctx, r.SnapshotDigest)
	if err != nil {
		return nil, storeError(err)
	}
	s.frozen.Add(r.SnapshotDigest, snapshot.Frozen)
	return snapshot.Frozen, nil
}

// RunView is the state of one run, masked.
type RunView struct {
	run.Run
	// Metadata, Failure and Request are rendered objects; the last two are nil when there is none.
	Metadata, Failure, Request json.RawMessage
}

// View renders the state of a run.
func (s *Runs) View(ctx context.Context, r run.Run) (RunView, error) {
	frozen, err := s.frozenSpec(ctx, &r)
	if err != nil {
		return RunView{}, err
	}
	return RunView{Run: r, Metadata: record.RunMetadata(&r, frozen, nil), Failure: record.Error(&r), Request: record.Request(&r)}, nil
}

// Get returns the state of a run.
func (s *Runs) Get(ctx context.Context, id string) (RunView, error) {
	r, err := s.o.Store.Run(ctx, id)
	if err != nil {
		return RunView{}, storeError(err)
	}
	return s.View(ctx, r)
}

// history reads a run with its checkpoints.
func (s *Runs) history(ctx context.Context, id string) (run.Run, []run.Checkpoint, error) {
	r, err := s.o.Store.Run(ctx, id)
	if err != nil {
		return run.Run{}, nil, storeError(err)
	}
	list, err := s.o.Store.Checkpoints(ctx, id)
	if err != nil {
		return run.Run{}, nil, storeError(err)
	}
	return r, list, nil
}

// Checkpoints returns one page of the checkpoints of a run, of one type when kind is not empty.
func (s *Runs) Checkpoints(ctx context.Context, id, kind string, p Page) (Listing[json.RawMessage], error) {
	r, list, err := s.history(ctx, id)
	if err != nil {
		return Listing[json.RawMessage]{}, err
	}
	frozen, err := s.frozenSpec(ctx, &r)
	if err != nil {
		return Listing[json.RawMessage]{}, err
	}
	traces := record.TraceUpTo(list)
	type row struct {
		checkpoint *run.Checkpoint
		trace      json.RawMessage
	}
	rows := make([]row, 0, len(list))
	for i := range list {
		if kind == "" || list[i].Type == kind {
			rows = append(rows, row{checkpoint: &list[i], trace: traces[i]})
		}
	}
	render := func(w *row) json.RawMessage { return record.Checkpoint(&r, frozen, w.checkpoint, w.trace) }
	switch {
	case p.SortBy == "sequence" && p.Desc:
		slices.Reverse(rows)
	case p.SortBy != "sequence":
		sortItems(rows, p, render)
	}
	total := len(rows)
	rows = cut(rows, p)
	items := make([]json.RawMessage, len(rows))
	for i := range rows {
		items[i] = render(&rows[i])
	}
	return Listing[json.RawMessage]{Items: items, Total: int64(total)}, nil
}

// Trace is one page of the trace of a run. Dropped counts events that were not kept.
type Trace struct {
	Listing[json.RawMessage]
	Dropped int64
}

// Trace returns trace events, of one type when kind is not empty.
func (s *Runs) Trace(ctx context.Context, id, kind string, p Page) (Trace, error) {
	r, list, err := s.history(ctx, id)
	if err != nil {
		return Trace{}, err
	}
	events := record.Trace(&r, list, kind)
	sortItems(events, p, func(e *json.RawMessage) json.RawMessage { return *e })
	return Trace{Listing: Listing[json.RawMessage]{Items: cut(events, p), Total: int64(len(events))}, Dropped: r.TraceDropped}, nil
}

// Difference is what changed between two checkpoints.
type Difference struct {
	From, To record.Reference
	record.Diff
}

// Diff compares two checkpoints by sequence number; nil means the last but one and the last.
func (s *Runs) Diff(ctx context.Context, id string, from, to *int64) (Difference, error) {
	r, list, err := s.history(ctx, id)
	if err != nil {
		return Difference{}, err
	}
	if len(list) < 2 {
		return Difference{}, problem.New(problem.InvalidRequest, "At least two checkpoints are required for a diff.")
	}
	a, err := pick(list, from, len(list)-2)
	if err != nil {
		return Difference{}, err
	}
	b, err := pick(list, to, len(list)-1)
	if err != nil {
		return Difference{}, err
	}
	if a == b {
		return Difference{}, problem.New(problem.InvalidRequest, "Diff checkpoints must be different.")
	}
	frozen, err := s.frozenSpec(ctx, &r)
	if err != nil {
		return Difference{}, err
	}
	traces := record.TraceUpTo(list)
	diff := record.DiffOf(record.FullState(&r, frozen, &list[a], traces[a]), &list[a], record.FullState(&r, frozen, &list[b], traces[b]), &list[b])
	return Difference{From: record.ReferenceOf(&list[a]), To: record.ReferenceOf(&list[b]), Diff: diff}, nil
}

func pick(list []run.Checkpoint, sequence *int64, index int) (int, error) {
	if sequence == nil {
		return index, nil
	}
	for i := range list {
		if list[i].Sequence == *sequence {
			return i, nil
		}
	}
	return 0, problem.New(problem.InvalidRequest, "Unknown checkpoint sequence: %d", *sequence)
}

// Replay is the timeline of a run.
type Replay struct {
	Run      run.Run
	Timeline []record.TimelineItem
	Context  record.ReplayContext
}

// Replay shows the checkpoints of a run as a timeline.
func (s *Runs) Replay(ctx context.Context, id string) (Replay, error) {
	r, list, err := s.history(ctx, id)
	if err != nil {
		return Replay{}, err
	}
	return Replay{Run: r, Timeline: record.Timeline(list), Context: record.ReplayContextOf(&r, list)}, nil
}

// RecoveryState is the last recorded state of a run and from where it can go on.
type RecoveryState struct {
	record.Recovery
	Context record.ReplayContext
}

// Recovery tells from where a run can go on.
func (s *Runs) Recovery(ctx context.Context, id string) (RecoveryState, error) {
	r, list, err := s.history(ctx, id)
	if err != nil {
		return RecoveryState{}, err
	}
	return RecoveryState{Recovery: record.RecoveryOf(&r, list), Context: record.ReplayContextOf(&r, list)}, nil
}

// Graph returns the workflow of a run with the place where the run is.
func (s *Runs) Graph(ctx context.Context, id string) (specview.RunGraph, error) {
	r, err := s.o.Store.Run(ctx, id)
	if err != nil {
		return specview.RunGraph{}, storeError(err)
	}
	p, err := s.o.Specs.Plan(ctx, r.SnapshotDigest)
	if err != nil {
		return specview.RunGraph{}, err
	}
	return specview.NewRunGraph(p, specview.Position{
		RunID: r.ID, Status: string(r.Status), CurrentStepID: r.CurrentStepID, CurrentNodeID: r.CurrentNodeID,
		VisitedSteps: r.VisitedSteps, VisitedNodes: r.VisitedNodes,
	}), nil
}

// PolicyReport reports what the frozen spec of a run may do, and records that somebody asked.
func (s *Runs) PolicyReport(ctx context.Context, id string) (*policy.Report, error) {
	r, err := s.o.Store.Run(ctx, id)
	if err != nil {
		return nil, storeError(err)
	}
	b, err := s.o.Specs.frozen(ctx, &r)
	if err != nil {
		return nil, err
	}
	report, err := b.report()
	if err != nil {
		return nil, err
	}
	var o object
	o.boolean("valid", report.Valid)
	o.text("source", "run")
	return report, s.audit.append(ctx, s.audit.event(ctx, "spec.policy_reported", r.ID, "", o.bytes()))
}

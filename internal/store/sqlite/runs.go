package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/dbtype"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// CreateRun implements store.Runs.
func (s *Store) CreateRun(ctx context.Context, c store.CreateRun) (run.Claimed, error) {
	var out run.Claimed
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var err error
		out, err = s.createRun(ctx, t, c)
		return err
	})
	if err != nil {
		return run.Claimed{}, err
	}
	s.snapshots.add(c.Snapshot.Digest)
	return out, nil
}

func (s *Store) createRun(ctx context.Context, t *tx, c store.CreateRun) (run.Claimed, error) {
	if err := s.claimKey(ctx, t, c.Claim, c.Run.ID, c.Response); err != nil {
		return run.Claimed{}, err
	}
	if c.Mode == run.ModeQueued && c.MaxDepth > 0 && !c.Run.Status.Terminal() {
		depth, err := t.q.CountWaiting(ctx, c.MaxDepth)
		if err != nil {
			return run.Claimed{}, fmt.Errorf("count waiting runs: %w", err)
		}
		if depth >= c.MaxDepth {
			return run.Claimed{}, &store.QueueFullError{Depth: depth, Limit: c.MaxDepth}
		}
	}
	if err := s.insertSnapshot(ctx, t, c.Snapshot); err != nil {
		return run.Claimed{}, err
	}
	now := s.now()
	p := store.Progress{Checkpoints: c.Checkpoints, Events: c.Events, Audit: c.Audit}
	last := rows.Grown(p)
	r := c.Run
	r.CheckpointSeq, r.EventSeq, r.JournalSeq = last.Checkpoint, last.Event, last.Journal
	if r.CreatedAt.IsZero() {
		r.CreatedAt = now
	}
	if r.UpdatedAt.IsZero() {
		r.UpdatedAt = r.CreatedAt
	}
	if err := t.q.InsertRun(ctx, litedb.InsertRunParams(rows.FromRun(r))); err != nil {
		return run.Claimed{}, fmt.Errorf("insert run: %w", err)
	}
	q := firstQueueRow(r, c, now)
	if err := t.q.InsertQueueRow(ctx, litedb.InsertQueueRowParams(q)); err != nil {
		return run.Claimed{}, fmt.Errorf("insert queue row: %w", err)
	}
	t.wake = q.IsOpen && q.LeaseOwner == nil
	return q.Claimed(r), s.appendHistory(ctx, t, r.ID, last, p)
}

func firstQueueRow(r run.Run, c store.CreateRun, now time.Time) rows.Queue {
	q := rows.Queue{
		RunID: r.ID, IsOpen: true, State: rows.QueueWaiting, Mode: c.Mode, Reply: run.ReplyCreate,
		CheckpointSeq: r.CheckpointSeq, EventSeq: r.EventSeq, JournalSeq: r.JournalSeq, AvailableAt: now, UpdatedAt: now,
	}
	switch {
	case r.Status.Terminal():
		q.IsOpen, q.State = false, rows.ClosedState(r.Status)
	case c.Mode == run.ModeInline:
		until := now.Add(c.Lease)
		q.State, q.Attempt, q.LeaseOwner, q.LeaseUntil = rows.QueueRunning, 1, &c.Owner, &until
	}
	return q
}

func (s *Store) insertSnapshot(ctx context.Context, t *tx, snap run.Snapshot) error {
	if snap.Digest == "" || s.snapshots.has(snap.Digest) {
		return nil
	}
	err := t.q.InsertSnapshot(ctx, litedb.InsertSnapshotParams{
		Digest: snap.Digest, CreatedAt: s.now(), Frozen: dbtype.JSON(snap.Frozen), Inputs: dbtype.JSON(snap.Inputs), Plan: dbtype.JSON(snap.Plan),
	})
	if err != nil {
		return fmt.Errorf("insert snapshot: %w", err)
	}
	return nil
}

// Run implements store.Runs.
func (s *Store) Run(ctx context.Context, id string) (run.Run, error) {
	var out run.Run
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		var err error
		out, err = s.getRun(ctx, q, id)
		return err
	})
	return out, err
}

func (s *Store) getRun(ctx context.Context, q *litedb.Queries, id string) (run.Run, error) {
	row, err := q.GetRun(ctx, id)
	if err != nil {
		return run.Run{}, failure(err)
	}
	r, err := rows.Run(row).Record()
	if err != nil {
		return run.Run{}, err
	}
	return r, s.unfold(ctx, q, &r)
}

// unfold reads the visited lists of a run from its checkpoints when its row does not have them.
func (s *Store) unfold(ctx context.Context, q *litedb.Queries, r *run.Run) error {
	if !r.VisitedFolded {
		return nil
	}
	found, err := q.ListCheckpoints(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("visited steps: %w", failure(err))
	}
	list, err := s.checkpoints(found)
	if err != nil {
		return err
	}
	r.VisitedSteps, r.VisitedNodes = run.VisitedOf(list)
	r.VisitedFolded = false
	return nil
}

// Snapshot implements store.Runs.
func (s *Store) Snapshot(ctx context.Context, digest string) (run.Snapshot, error) {
	var out run.Snapshot
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		row, err := q.GetSnapshot(ctx, digest)
		out = rows.Snapshot(row).Record()
		return err
	})
	return out, err
}

// Snapshots implements store.Runs.
func (s *Store) Snapshots(ctx context.Context, digests []string) (map[string]run.Snapshot, error) {
	out := make(map[string]run.Snapshot, len(digests))
	if len(digests) == 0 {
		return out, nil
	}
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := q.GetSnapshots(ctx, digests)
		for _, row := range found {
			out[row.Digest] = rows.Snapshot(row).Record()
		}
		return err
	})
	return out, err
}

// Checkpoints implements store.Runs.
func (s *Store) Checkpoints(ctx context.Context, runID string) ([]run.Checkpoint, error) {
	var out []run.Checkpoint
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := q.ListCheckpoints(ctx, runID)
		if err != nil {
			return err
		}
		out, err = s.checkpoints(found)
		return err
	})
	return out, err
}

// LastCheckpoints implements store.Runs.
func (s *Store) LastCheckpoints(ctx context.Context, runID string, n int) ([]run.Checkpoint, error) {
	var out []run.Checkpoint
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := q.ListCheckpoints(ctx, runID) // a state may continue that of the checkpoint before
		if err != nil {
			return err
		}
		out, err = s.checkpoints(found)
		out = out[max(0, len(out)-n):]
		return err
	})
	return out, err
}

func (s *Store) checkpoints(found []litedb.Checkpoint) ([]run.Checkpoint, error) {
	out := make([]run.Checkpoint, 0, len(found))
	for _, row := range found {
		c, err := rows.Checkpoint(row).Record(s.opts.Limits)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	run.UnfoldVisited(out)
	return out, nil
}

// Journal implements store.Runs.
func (s *Store) Journal(ctx context.Context, runID string) ([]run.Entry, error) {
	var out []run.Entry
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := q.ListJournal(ctx, runID)
		out = make([]run.Entry, 0, len(found))
		for _, row := range found {
			out = append(out, rows.Entry(row).Record())
		}
		return err
	})
	return out, err
}

// Events implements store.Runs.
func (s *Store) Events(ctx context.Context, runID string, after int64, limit int) ([]run.Event, error) {
	var out []run.Event
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := q.ListEvents(ctx, litedb.ListEventsParams{RunID: runID, After: after, MaxRows: bounded(limit)})
		out = make([]run.Event, 0, len(found))
		for _, row := range found {
			out = append(out, rows.Event(row).Record())
		}
		return err
	})
	return out, err
}

// CancelRun implements store.Runs.
func (s *Store) CancelRun(ctx context.Context, id string, p store.Progress) (run.Run, bool, error) {
	return s.settle(ctx, id, run.Cancelled, p)
}

// TimeOutRun implements store.Runs.
func (s *Store) TimeOutRun(ctx context.Context, id string, p store.Progress) (run.Run, bool, error) {
	return s.settle(ctx, id, run.TimedOut, p)
}

// settle ends a run from outside its leg.
func (s *Store) settle(ctx context.Context, id string, status run.Status, given store.Progress) (out run.Run, changed bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		p := given
		var err error
		if out, err = s.getRun(ctx, t.q, id); err != nil {
			return err
		}
		if changed = !out.Status.Terminal(); !changed {
			return nil
		}
		now := s.now()
		out = rows.Settled(out, status, p, now)
		last, err := s.closeRun(ctx, t, out, p)
		if err != nil {
			return err
		}
		out.CheckpointSeq, out.EventSeq, out.JournalSeq = last.Checkpoint, last.Event, last.Journal
		if err := t.q.CancelTasks(ctx, litedb.CancelTasksParams{DecidedAt: &now, RunID: id}); err != nil {
			return fmt.Errorf("close tasks: %w", err)
		}
		if err := t.q.DropOpenKeys(ctx, id); err != nil {
			return fmt.Errorf("drop idempotency record: %w", err)
		}
		p.Run = &out
		return s.applyProgress(ctx, t, id, last, p)
	})
	if err != nil {
		return run.Run{}, false, err
	}
	return out, changed, nil
}

// closeRun closes the queue row whoever holds it and counts the rows of p.
func (s *Store) closeRun(ctx context.Context, t *tx, r run.Run, p store.Progress) (rows.Counters, error) {
	add := rows.Grown(p)
	row, err := t.q.CloseRun(ctx, litedb.CloseRunParams{
		State: rows.ClosedState(r.Status), UpdatedAt: s.now(), Checkpoints: add.Checkpoint, Events: add.Event, Entries: add.Journal, RunID: r.ID,
	})
	err = failure(err)
	if errors.Is(err, store.ErrNotFound) {
		// Retention removed the queue row; the run keeps a copy of the counters.
		return rows.CountersAt(r.CheckpointSeq, r.EventSeq, r.JournalSeq).Add(add), nil
	}
	if err != nil {
		return rows.Counters{}, fmt.Errorf("close queue row: %w", err)
	}
	return rows.CountersAt(row.CheckpointSeq, row.EventSeq, row.JournalSeq), nil
}

// OverdueRuns implements store.Runs.
func (s *Store) OverdueRuns(ctx context.Context, now time.Time, limit int) ([]run.Run, error) {
	var out []run.Run
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := q.OverdueRuns(ctx, litedb.OverdueRunsParams{Now: &now, MaxRows: bounded(limit)})
		if err != nil {
			return err
		}
		out, err = s.records(ctx, q, found)
		return err
	})
	return out, err
}

func (s *Store) records(ctx context.Context, q *litedb.Queries, found []litedb.Run) ([]run.Run, error) {
	out := make([]run.Run, 0, len(found))
	for _, row := range found {
		r, err := rows.Run(row).Record()
		if err != nil {
			return nil, err
		}
		if err := s.unfold(ctx, q, &r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// bounded turns "no limit" into SQLite's spelling of it.
func bounded(limit int) int64 {
	if limit <= 0 {
		return -1
	}
	return int64(limit)
}

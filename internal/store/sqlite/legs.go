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

// leaseLost turns "no row matched the fence" into the port's error.
func leaseLost(f run.Fence, err error) error {
	if err = failure(err); errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: run %s, attempt %d", store.ErrLeaseLost, f.RunID, f.Attempt)
	}
	return err
}

// RecordCall implements store.Legs.
func (s *Store) RecordCall(ctx context.Context, f run.Fence, p store.Progress) error {
	return s.advance(ctx, f, p)
}

// CommitStep implements store.Legs.
func (s *Store) CommitStep(ctx context.Context, f run.Fence, p store.Progress) error {
	return s.advance(ctx, f, p)
}

func (s *Store) advance(ctx context.Context, f run.Fence, p store.Progress) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		add := rows.Grown(p)
		row, err := t.q.AdvanceLeg(ctx, litedb.AdvanceLegParams{
			Checkpoints: add.Checkpoint, Events: add.Event, Entries: add.Journal, RunID: f.RunID, Owner: &f.Owner, Attempt: f.Attempt,
		})
		if err != nil {
			return leaseLost(f, err)
		}
		return s.applyProgress(ctx, t, f.RunID, rows.CountersAt(row.CheckpointSeq, row.EventSeq, row.JournalSeq), p)
	})
}

// StartClaimed implements store.Legs.
func (s *Store) StartClaimed(ctx context.Context, f run.Fence, p store.Progress) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		add := rows.Grown(p)
		row, err := t.q.StartClaimedLeg(ctx, litedb.StartClaimedLegParams{
			Checkpoints: add.Checkpoint, Events: add.Event, Entries: add.Journal, RunID: f.RunID, Owner: &f.Owner, Attempt: f.Attempt,
		})
		if err != nil {
			return leaseLost(f, err)
		}
		return s.applyProgress(ctx, t, f.RunID, rows.CountersAt(row.CheckpointSeq, row.EventSeq, row.JournalSeq), p)
	})
}

// BlockRun implements store.Legs.
func (s *Store) BlockRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return s.endLeg(ctx, t, f, e) })
}

// FinishRun implements store.Legs.
func (s *Store) FinishRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return s.endLeg(ctx, t, f, e) })
}

func (s *Store) endLeg(ctx context.Context, t *tx, f run.Fence, e store.EndLeg) error {
	now := s.now()
	add := rows.Grown(e.Progress)
	state := rows.QueueDone
	if e.Run != nil {
		state = rows.ClosedState(e.Run.Status)
	}
	row, err := t.q.CloseLeg(ctx, litedb.CloseLegParams{
		State: state, UpdatedAt: now, Checkpoints: add.Checkpoint, Events: add.Event, Entries: add.Journal,
		RunID: f.RunID, Owner: &f.Owner, Attempt: f.Attempt,
	})
	if err != nil {
		return leaseLost(f, err)
	}
	for _, task := range e.Tasks {
		if err := s.insertTask(ctx, t, f.RunID, task); err != nil {
			return err
		}
	}
	if e.Reopen != "" {
		n, err := t.q.ReopenTask(ctx, litedb.ReopenTaskParams{ID: e.Reopen, RunID: f.RunID})
		if err != nil {
			return fmt.Errorf("reopen task: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("%w: task %s", store.ErrNotFound, e.Reopen)
		}
	}
	// The generator does not take over the names of these counts: open idempotency records and pending tasks.
	keyed, waiting := row.Count > 0, row.Count_2 > 0
	if keyed {
		if err := s.completeKeys(ctx, t, f.RunID, e, now); err != nil {
			return err
		}
	}
	if waiting && e.Run != nil && e.Run.Status.Terminal() {
		if err := t.q.CancelTasks(ctx, litedb.CancelTasksParams{DecidedAt: &now, RunID: f.RunID}); err != nil {
			return fmt.Errorf("close tasks: %w", err)
		}
	}
	return s.applyProgress(ctx, t, f.RunID, rows.CountersAt(row.CheckpointSeq, row.EventSeq, row.JournalSeq), e.Progress)
}

func (s *Store) completeKeys(ctx context.Context, t *tx, runID string, e store.EndLeg, now time.Time) error {
	var err error
	if e.Response == nil {
		err = t.q.DropOpenKeys(ctx, runID)
	} else {
		err = t.q.CompleteKeys(ctx, litedb.CompleteKeysParams{
			Response: dbtype.JSON(e.Response), StatusCode: int64(e.StatusCode), UpdatedAt: now, RunID: runID,
		})
	}
	if err != nil {
		return fmt.Errorf("complete idempotency record: %w", err)
	}
	return nil
}

func (s *Store) insertTask(ctx context.Context, t *tx, runID string, task run.HumanTask) error {
	task.RunID = runID
	if task.State == "" {
		task.State = run.TaskPending
	}
	if task.CreatedAt.IsZero() {
		task.CreatedAt = s.now()
	}
	if err := t.q.InsertTask(ctx, litedb.InsertTaskParams(rows.FromTask(task))); err != nil {
		return fmt.Errorf("insert task: %w", err)
	}
	return nil
}

// ResumeRun implements store.Legs.
func (s *Store) ResumeRun(ctx context.Context, l store.StartLeg) (run.Claimed, error) {
	return s.startLeg(ctx, l)
}

// ContinueRun implements store.Legs.
func (s *Store) ContinueRun(ctx context.Context, l store.StartLeg) (run.Claimed, error) {
	return s.startLeg(ctx, l)
}

func (s *Store) startLeg(ctx context.Context, given store.StartLeg) (out run.Claimed, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		l := given
		if err := s.claimKey(ctx, t, l.Claim, l.RunID, nil); err != nil {
			return err
		}
		stored, err := s.getRun(ctx, t.q, l.RunID)
		if err != nil {
			return err
		}
		if stored.Status != l.From {
			return fmt.Errorf("%w: run %s is %s", store.ErrConflict, l.RunID, stored.Status)
		}
		if err := s.decide(ctx, t, l.Task); err != nil {
			return err
		}
		q, err := s.openLeg(ctx, t, l, stored)
		if err != nil {
			return err
		}
		r := rows.NextRun(stored, l, s.now())
		l.Run = &r
		last := rows.CountersAt(q.CheckpointSeq, q.EventSeq, q.JournalSeq)
		r.CheckpointSeq, r.EventSeq, r.JournalSeq = last.Checkpoint, last.Event, last.Journal
		t.wake = q.LeaseOwner == nil
		out = q.Claimed(r)
		return s.applyProgress(ctx, t, l.RunID, last, l.Progress)
	})
	if err != nil {
		return run.Claimed{}, err
	}
	return out, nil
}

func (s *Store) decide(ctx context.Context, t *tx, d *store.TaskDecision) error {
	if d == nil {
		return nil
	}
	state, at, by := rows.Decision(d, s.now)
	n, err := t.q.DecideTask(ctx, litedb.DecideTaskParams{State: state, DecidedAt: &at, DecidedBy: by, Decision: dbtype.JSON(d.Decision), ID: d.ID})
	if err != nil {
		return fmt.Errorf("decide task: %w", err)
	}
	if n == 0 {
		return taskNotPending(ctx, t, d.ID)
	}
	return nil
}

func (s *Store) openLeg(ctx context.Context, t *tx, l store.StartLeg, stored run.Run) (rows.Queue, error) {
	now := s.now()
	p := litedb.OpenLegParams{
		RunID: l.RunID, State: rows.QueueWaiting, Mode: l.Mode, Reply: l.Reply,
		CheckpointSeq: stored.CheckpointSeq, EventSeq: stored.EventSeq, JournalSeq: stored.JournalSeq, AvailableAt: now, UpdatedAt: now,
	}
	if l.Task != nil {
		p.ResumedFrom = l.Task.ID
	}
	if l.Mode == run.ModeInline {
		until := now.Add(l.Lease)
		p.State, p.Attempt, p.LeaseOwner, p.LeaseUntil = rows.QueueRunning, 1, &l.Owner, &until
	}
	row, err := t.q.OpenLeg(ctx, p)
	if err = failure(err); errors.Is(err, store.ErrNotFound) {
		return rows.Queue{}, fmt.Errorf("%w: run %s has an open leg", store.ErrConflict, l.RunID)
	}
	if err != nil {
		return rows.Queue{}, fmt.Errorf("open leg: %w", err)
	}
	q := rows.Queue(row)
	if add := rows.Grown(l.Progress); add != (rows.Counters{}) {
		q.CheckpointSeq, q.EventSeq, q.JournalSeq = q.CheckpointSeq+add.Checkpoint, q.EventSeq+add.Event, q.JournalSeq+add.Journal
		err := t.q.BumpCounters(ctx, litedb.BumpCountersParams{
			CheckpointSeq: q.CheckpointSeq, EventSeq: q.EventSeq, JournalSeq: q.JournalSeq, RunID: q.RunID,
		})
		if err != nil {
			return rows.Queue{}, fmt.Errorf("open leg: %w", err)
		}
	}
	return q, nil
}

// ReleaseRun implements store.Legs.
func (s *Store) ReleaseRun(ctx context.Context, f run.Fence) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.q.ReleaseLeg(ctx, litedb.ReleaseLegParams{Now: s.now(), RunID: f.RunID, Owner: &f.Owner, Attempt: f.Attempt})
		if err != nil {
			return fmt.Errorf("release run: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("%w: run %s, attempt %d", store.ErrLeaseLost, f.RunID, f.Attempt)
		}
		t.wake = true
		t.changed = append(t.changed, f.RunID)
		return nil
	})
}

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// ClaimRuns implements store.Queue.
func (s *Store) ClaimRuns(ctx context.Context, owner string, lease time.Duration, n int) ([]run.Claimed, error) {
	var out []run.Claimed
	if n <= 0 {
		return out, nil
	}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		now := s.now()
		until := now.Add(lease)
		claimed, err := t.q.ClaimDue(ctx, litedb.ClaimDueParams{Owner: &owner, Until: &until, Now: now, MaxRows: int64(n)})
		if err != nil {
			return fmt.Errorf("claim runs: %w", err)
		}
		slices.SortStableFunc(claimed, func(a, b litedb.RunQueue) int { return a.AvailableAt.Compare(b.AvailableAt) })
		out = make([]run.Claimed, 0, len(claimed))
		for _, q := range claimed {
			r, err := s.getRun(ctx, t.q, q.RunID)
			if err != nil {
				return fmt.Errorf("claimed run %s: %w", q.RunID, err)
			}
			out = append(out, rows.Queue(q).Claimed(r))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Heartbeat implements store.Queue.
func (s *Store) Heartbeat(ctx context.Context, owner string, lease time.Duration, held []run.Fence) (store.Beat, error) {
	var beat store.Beat
	if len(held) == 0 {
		return beat, nil
	}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		beat = store.Beat{}
		now := s.now()
		until := now.Add(lease)
		for _, f := range held {
			n, err := t.q.ExtendLease(ctx, litedb.ExtendLeaseParams{Until: &until, RunID: f.RunID, Owner: &f.Owner, Attempt: f.Attempt})
			if err != nil {
				return fmt.Errorf("extend lease: %w", err)
			}
			state, err := t.q.GetRunDeadline(ctx, f.RunID)
			if err = failure(err); err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("extend lease: %w", err)
			}
			switch {
			case n > 0:
				if state.DeadlineAt != nil && state.DeadlineAt.Before(now) {
					beat.Overdue = append(beat.Overdue, f.RunID)
				}
			case err == nil && run.Status(state.Status).Terminal():
				beat.Cancelled = append(beat.Cancelled, f.RunID)
			default:
				beat.Lost = append(beat.Lost, f)
			}
		}
		return nil
	})
	return beat, err
}

// RecoverOwners implements store.Queue. One process owns the file, so every other owner is dead whatever ttl says.
func (s *Store) RecoverOwners(ctx context.Context, self string, _ time.Duration) (int64, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var err error
		if n, err = t.q.FreeOtherOwners(ctx, &self); err != nil {
			return fmt.Errorf("free leases: %w", err)
		}
		t.wake = n > 0
		// Named leases of this process may have owners of their own, so only those from before its first call are certainly orphans.
		if s.recovered.Swap(true) {
			return nil
		}
		if err := t.q.DeleteOtherLeases(ctx, self); err != nil {
			return fmt.Errorf("free leases: %w", err)
		}
		return nil
	})
	return n, err
}

// QueueStats implements store.Queue.
func (s *Store) QueueStats(ctx context.Context) (store.QueueStats, error) {
	var out store.QueueStats
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		out = store.QueueStats{}
		open, err := q.OpenQueueStats(ctx)
		if err != nil {
			return err
		}
		for _, row := range open {
			if row.State == rows.QueueRunning {
				out.Running += row.RowsInState
			} else {
				out.Queued += row.RowsInState
			}
		}
		if out.Failed, err = q.CountFailedQueueRows(ctx); err != nil {
			return err
		}
		if out.Queued == 0 {
			return nil
		}
		oldest, err := q.OldestWaiting(ctx)
		if err = failure(err); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		out.OldestQueued = max(0, s.now().Sub(oldest))
		return err
	})
	return out, err
}

// AcquireLease implements store.Leases.
func (s *Store) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		now := s.now()
		n, err := t.q.TakeLease(ctx, litedb.TakeLeaseParams{Owner: owner, Until: now.Add(ttl), Name: name, Now: now})
		if err == nil && n == 0 {
			n, err = t.q.InsertLease(ctx, litedb.InsertLeaseParams{Name: name, Owner: owner, Until: now.Add(ttl)})
		}
		if err != nil {
			return fmt.Errorf("take lease: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("%w: %s", store.ErrLocked, name)
		}
		return nil
	})
}

// ReleaseLease implements store.Leases.
func (s *Store) ReleaseLease(ctx context.Context, name, owner string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.q.DeleteLease(ctx, litedb.DeleteLeaseParams{Name: name, Owner: owner})
	})
}

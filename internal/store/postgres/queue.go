package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// ClaimRuns implements store.Queue.
func (s *Store) ClaimRuns(ctx context.Context, owner string, lease time.Duration, n int) ([]run.Claimed, error) {
	if n <= 0 {
		return nil, nil
	}
	if err := s.register(ctx, owner); err != nil {
		return nil, err
	}
	var out []run.Claimed
	err := s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		claimed, err := q.ClaimDue(ctx, pgdb.ClaimDueParams{
			Owner: &owner, Now: s.at(), LeaseMicros: lease.Microseconds(), TtlMicros: s.opts.OwnerTTL.Microseconds(), MaxRows: int64(n),
		})
		if err != nil {
			return fmt.Errorf("claim runs: %w", err)
		}
		out, err = s.claimed(ctx, q, claimed)
		return err
	})
	return out, err
}

// claimed joins queue rows with their runs, oldest first.
func (s *Store) claimed(ctx context.Context, q *pgdb.Queries, claimed []pgdb.RunQueue) ([]run.Claimed, error) {
	out := make([]run.Claimed, 0, len(claimed))
	if len(claimed) == 0 {
		return out, nil
	}
	ids := make([]string, 0, len(claimed))
	for _, row := range claimed {
		ids = append(ids, row.RunID)
	}
	found, err := q.GetRuns(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("claimed runs: %w", err)
	}
	all, err := s.records(ctx, q, found)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]run.Run, len(all))
	for _, r := range all {
		byID[r.ID] = r
	}
	slices.SortStableFunc(claimed, func(a, b pgdb.RunQueue) int { return a.AvailableAt.Compare(b.AvailableAt) })
	for _, row := range claimed {
		if r, ok := byID[row.RunID]; ok {
			out = append(out, rows.Queue(row).Claimed(r))
		}
	}
	return out, nil
}

// Heartbeat implements store.Queue.
func (s *Store) Heartbeat(ctx context.Context, owner string, lease time.Duration, held []run.Fence) (store.Beat, error) {
	var beat store.Beat
	if err := s.register(ctx, owner); err != nil {
		return beat, err
	}
	if len(held) == 0 {
		return beat, nil
	}
	ids, attempts, names := make([]string, 0, len(held)), make([]int64, 0, len(held)), []string{owner}
	for _, f := range held {
		ids, attempts = append(ids, f.RunID), append(attempts, f.Attempt)
		if !slices.Contains(names, f.Owner) {
			names = append(names, f.Owner)
		}
	}
	var legs []pgdb.HeldLegsRow
	err := s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		// Rows that another transaction has locked are skipped: their leg is being written, and the next beat extends them.
		_, err := q.ExtendLeases(ctx, pgdb.ExtendLeasesParams{Now: s.at(), LeaseMicros: lease.Microseconds(), Ids: ids, Attempts: attempts, Owners: names})
		if err != nil {
			return fmt.Errorf("extend leases: %w", err)
		}
		legs, err = q.HeldLegs(ctx, pgdb.HeldLegsParams{Now: s.at(), Ids: ids})
		return err
	})
	if err != nil {
		return beat, err
	}
	byID := make(map[string]pgdb.HeldLegsRow, len(legs))
	for _, leg := range legs {
		byID[leg.RunID] = leg
	}
	for _, f := range held {
		leg, ok := byID[f.RunID]
		switch {
		case ok && leg.IsOpen && leg.Attempt == f.Attempt && leg.LeaseOwner != nil && *leg.LeaseOwner == f.Owner:
			if leg.Overdue {
				beat.Overdue = append(beat.Overdue, f.RunID)
			}
		case ok && run.Status(leg.Status).Terminal():
			beat.Cancelled = append(beat.Cancelled, f.RunID)
		default:
			beat.Lost = append(beat.Lost, f)
		}
	}
	return beat, nil
}

// RecoverOwners implements store.Queue.
func (s *Store) RecoverOwners(ctx context.Context, self string, ttl time.Duration) (int64, error) {
	if ttl <= 0 {
		ttl = s.opts.OwnerTTL
	}
	var n int64
	err := s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		var err error
		if n, err = q.FreeDeadOwners(ctx, pgdb.FreeDeadOwnersParams{Owner: self, Now: s.at(), TtlMicros: ttl.Microseconds()}); err != nil {
			return fmt.Errorf("free leases: %w", err)
		}
		if err := q.DeleteDeadLeases(ctx, pgdb.DeleteDeadLeasesParams{Owner: self, Now: s.at(), TtlMicros: ttl.Microseconds()}); err != nil {
			return fmt.Errorf("free leases: %w", err)
		}
		return q.DeleteDeadOwners(ctx, s.at())
	})
	if err == nil && n > 0 {
		s.published(nil, true)
	}
	return n, err
}

// QueueStats implements store.Queue.
func (s *Store) QueueStats(ctx context.Context) (store.QueueStats, error) {
	var out store.QueueStats
	err := s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
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
		age, err := q.OldestWaiting(ctx, s.at())
		if err = failure(err); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		out.OldestQueued = max(0, time.Duration(age)*time.Microsecond)
		return err
	})
	return out, err
}

// AcquireLease implements store.Leases.
func (s *Store) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) error {
	return s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		n, err := q.PutLease(ctx, pgdb.PutLeaseParams{Name: name, Owner: owner, Now: s.at(), TtlMicros: ttl.Microseconds()})
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
	return s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		return q.DeleteLease(ctx, pgdb.DeleteLeaseParams{Name: name, Owner: owner})
	})
}

// read runs statements that are each a transaction of their own.
func (s *Store) read(ctx context.Context, do func(context.Context, *pgdb.Queries) error) error {
	if s.closed.Load() {
		return errClosed()
	}
	return failure(do(ctx, s.q))
}

package postgres

import (
	"context"
	"fmt"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/dbtype"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// appendHistory inserts the rows of p for a run; last are the counters after these rows.
func (s *Store) appendHistory(ctx context.Context, t *tx, runID string, last rows.Counters, p store.Progress) error {
	first := last.Checkpoint - int64(len(p.Checkpoints))
	for i, c := range p.Checkpoints {
		row, err := rows.FromCheckpoint(rows.NumberedCheckpoint(c, runID, first+int64(i)+1, s.now), s.opts.Limits)
		if err != nil {
			return err
		}
		if err := t.later.InsertCheckpoint(ctx, pgdb.InsertCheckpointParams(row)); err != nil {
			return fmt.Errorf("insert checkpoint: %w", err)
		}
	}
	first = last.Journal - int64(len(p.Entries))
	for i, e := range p.Entries {
		err := t.later.PutJournalEntry(ctx, pgdb.PutJournalEntryParams{
			RunID: runID, Kind: string(e.Kind), Key: e.Key, Sequence: first + int64(i) + 1, Data: dbtype.JSON(e.Data),
		})
		if err != nil {
			return fmt.Errorf("insert journal entry: %w", err)
		}
	}
	first = last.Event - int64(len(p.Events))
	for i, e := range p.Events {
		if e.CreatedAt.IsZero() {
			e.CreatedAt = s.now()
		}
		err := t.later.InsertEvent(ctx, pgdb.InsertEventParams{
			RunID: runID, Sequence: first + int64(i) + 1, Kind: e.Kind, CreatedAt: e.CreatedAt, Data: dbtype.JSON(e.Data),
		})
		if err != nil {
			return fmt.Errorf("insert event: %w", err)
		}
	}
	t.changed = append(t.changed, runID)
	return s.insertAudit(ctx, t, p.Audit)
}

func (s *Store) insertAudit(ctx context.Context, t *tx, events []run.AuditEvent) error {
	for _, e := range events {
		e = rows.CompleteAudit(e, s.now)
		err := t.later.InsertAudit(ctx, pgdb.InsertAuditParams{
			ID: e.ID, Type: e.Type, RunID: e.RunID, ContinuationID: e.ContinuationID, Actor: e.Actor,
			CreatedAt: e.CreatedAt, Metadata: dbtype.JSON(e.Metadata),
		})
		if err != nil {
			return fmt.Errorf("insert audit event: %w", err)
		}
	}
	return nil
}

// updateRun writes the changeable columns of a run with its counters.
func (s *Store) updateRun(ctx context.Context, t *tx, r run.Run, id string, last rows.Counters) error {
	r.ID = id
	r.CheckpointSeq, r.EventSeq, r.JournalSeq = last.Checkpoint, last.Event, last.Journal
	if r.UpdatedAt.IsZero() {
		r.UpdatedAt = s.now()
	}
	if err := t.later.UpdateRun(ctx, pgdb.UpdateRunParams(rows.FromRun(r).Update())); err != nil {
		return fmt.Errorf("update run: %w", err)
	}
	return nil
}

// applyProgress writes everything of p for a run whose counters already include it.
func (s *Store) applyProgress(ctx context.Context, t *tx, id string, last rows.Counters, p store.Progress) error {
	if p.Run != nil {
		if err := s.updateRun(ctx, t, *p.Run, id, last); err != nil {
			return err
		}
	}
	return s.appendHistory(ctx, t, id, last, p)
}

// claimKey inserts the idempotency record of a leg. A record that nobody completes any more gives way.
func (s *Store) claimKey(ctx context.Context, t *tx, c *store.Claim, runID string, response []byte) error {
	if c == nil {
		return nil
	}
	p := pgdb.InsertKeyParams{
		Scope: c.Scope, Key: c.Key, Hash: c.Hash, Done: response != nil, StatusCode: int64(c.StatusCode),
		RunID: runID, UpdatedAt: s.now(), Response: dbtype.JSON(response),
	}
	n, err := t.q.InsertKey(ctx, p)
	if err != nil {
		return fmt.Errorf("insert idempotency record: %w", err)
	}
	if n > 0 {
		return nil
	}
	if err := t.sync(ctx); err != nil {
		return fmt.Errorf("insert idempotency record: %w", err)
	}
	// A statement of its own sees what the transaction that holds the key has committed meanwhile.
	if n, err = t.q.DropStaleKey(ctx, pgdb.DropStaleKeyParams{Scope: c.Scope, Key: c.Key}); err == nil && n > 0 {
		n, err = t.q.InsertKey(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("insert idempotency record: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%w: %s", store.ErrKeyExists, c.Scope)
	}
	return nil
}

package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/dbtype"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, e ...run.AuditEvent) error {
	if len(e) == 0 {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error { return s.insertAudit(ctx, t, e) })
}

// Idempotency implements store.Keys.
func (s *Store) Idempotency(ctx context.Context, scope, key string) (run.IdempotencyRecord, error) {
	var out run.IdempotencyRecord
	err := s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		row, err := q.GetKey(ctx, pgdb.GetKeyParams{Scope: scope, Key: key})
		out = rows.Key(row).Record()
		return err
	})
	if err != nil {
		return run.IdempotencyRecord{}, err
	}
	return out, nil
}

// DropIdempotency implements store.Keys.
func (s *Store) DropIdempotency(ctx context.Context, scope, key string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.q.DropKey(ctx, pgdb.DropKeyParams{Scope: scope, Key: key})
	})
}

// Metadata implements store.Metadata.
func (s *Store) Metadata(ctx context.Context, prefix string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	err := s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error {
		found, err := q.ListMetadata(ctx, prefix)
		for _, row := range found {
			out[row.Key] = json.RawMessage(row.Value)
		}
		return err
	})
	return out, err
}

// PutMetadata implements store.Metadata.
func (s *Store) PutMetadata(
	ctx context.Context, key string, value json.RawMessage, audit func(previous json.RawMessage) []run.AuditEvent,
) (json.RawMessage, error) {
	var previous json.RawMessage
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.sync(ctx); err != nil {
			return fmt.Errorf("read metadata: %w", err)
		}
		row, err := t.q.GetMetadata(ctx, key)
		if err = failure(err); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("read metadata: %w", err)
		}
		previous = json.RawMessage(row.Value)
		if err := t.later.PutMetadata(ctx, pgdb.PutMetadataParams{Key: key, UpdatedAt: s.now(), Value: dbtype.JSON(value)}); err != nil {
			return fmt.Errorf("put metadata: %w", err)
		}
		if audit == nil {
			return nil
		}
		return s.insertAudit(ctx, t, audit(previous))
	})
	return previous, err
}

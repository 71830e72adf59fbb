package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// dialect composes queries for SQLite; LIKE folds ASCII letters only.
func dialect() rows.Dialect {
	return rows.Dialect{Placeholder: func(int) string { return "?" }, Like: "LIKE", Tie: "rowid"}
}

// ListRuns implements store.Runs.
func (s *Store) ListRuns(ctx context.Context, f store.RunFilter) ([]run.Run, error) {
	query, args := rows.ListRuns(dialect(), f)
	out := []run.Run{}
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, db litedb.DBTX) error {
		out = out[:0]
		err := each(ctx, db, query, args, func(found *sql.Rows) error {
			var row rows.Run
			if err := found.Scan(row.Fields()...); err != nil {
				return err
			}
			r, err := row.Record()
			out = append(out, r)
			return err
		})
		for i := range out {
			if err == nil {
				err = s.unfold(ctx, q, &out[i])
			}
		}
		return err
	})
	return out, err
}

// CountRuns implements store.Runs.
func (s *Store) CountRuns(ctx context.Context, f store.RunFilter) (int64, error) {
	query, args := rows.CountRuns(dialect(), f)
	if s.writer == nil {
		return s.count(ctx, query, args)
	}
	key := totalKey(query, args)
	n, ok, epoch := s.totals.get(key)
	if ok && !s.closed.Load() {
		return n, nil
	}
	n, err := s.count(ctx, query, args)
	if err == nil {
		s.totals.put(key, n, epoch)
	}
	return n, err
}

func (s *Store) count(ctx context.Context, query string, args []any) (int64, error) {
	var n int64
	err := s.read(ctx, func(ctx context.Context, _ *litedb.Queries, db litedb.DBTX) error {
		return db.QueryRowContext(ctx, query, args...).Scan(&n)
	})
	return n, err
}

// AuditEvents implements store.Audit.
func (s *Store) AuditEvents(ctx context.Context, f store.AuditFilter) ([]run.AuditEvent, int64, error) {
	query, args := rows.ListAudit(dialect(), f)
	out := []run.AuditEvent{}
	err := s.read(ctx, func(ctx context.Context, _ *litedb.Queries, db litedb.DBTX) error {
		out = out[:0]
		return each(ctx, db, query, args, func(found *sql.Rows) error {
			var row rows.Audit
			err := found.Scan(row.Fields()...)
			out = append(out, row.Record())
			return err
		})
	})
	if err != nil {
		return nil, 0, err
	}
	query, args = rows.CountAudit(dialect(), f)
	total, err := s.count(ctx, query, args)
	return out, total, err
}

func each(ctx context.Context, db litedb.DBTX, query string, args []any, scan func(*sql.Rows) error) (err error) {
	found, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		if err := scan(found); err != nil {
			return err
		}
	}
	return found.Err()
}

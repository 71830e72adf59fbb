package postgres

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/rows"
)

func dialect() rows.Dialect {
	return rows.Dialect{Placeholder: func(n int) string { return "$" + strconv.Itoa(n) }, Like: "ILIKE", Tie: "id"}
}

// ListRuns implements store.Runs.
func (s *Store) ListRuns(ctx context.Context, f store.RunFilter) ([]run.Run, error) {
	query, args := rows.ListRuns(dialect(), f)
	out := []run.Run{}
	err := s.each(ctx, query, args, func(found pgx.Rows) error {
		var row rows.Run
		if err := found.Scan(row.Fields()...); err != nil {
			return err
		}
		r, err := plainRun(row).Record()
		out = append(out, r)
		return err
	})
	for i := range out {
		if err == nil && out[i].VisitedFolded {
			err = s.read(ctx, func(ctx context.Context, q *pgdb.Queries) error { return s.unfold(ctx, q, &out[i]) })
		}
	}
	return out, err
}

// CountRuns implements store.Runs.
func (s *Store) CountRuns(ctx context.Context, f store.RunFilter) (int64, error) {
	query, args := rows.CountRuns(dialect(), f)
	return s.count(ctx, query, args)
}

func (s *Store) count(ctx context.Context, query string, args []any) (int64, error) {
	if s.closed.Load() {
		return 0, errClosed()
	}
	var n int64
	err := s.pool.QueryRow(ctx, query, escapeArgs(args)...).Scan(&n)
	return n, failure(err)
}

// AuditEvents implements store.Audit.
func (s *Store) AuditEvents(ctx context.Context, f store.AuditFilter) ([]run.AuditEvent, int64, error) {
	query, args := rows.ListAudit(dialect(), f)
	out := []run.AuditEvent{}
	err := s.each(ctx, query, args, func(found pgx.Rows) error {
		var row rows.Audit
		err := found.Scan(row.Fields()...)
		unescapeTo(row.Actor)
		out = append(out, row.Record())
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	query, args = rows.CountAudit(dialect(), f)
	total, err := s.count(ctx, query, args)
	return out, total, err
}

func (s *Store) each(ctx context.Context, query string, args []any, scan func(pgx.Rows) error) error {
	if s.closed.Load() {
		return errClosed()
	}
	found, err := s.pool.Query(ctx, query, escapeArgs(args)...)
	if err != nil {
		return failure(err)
	}
	defer found.Close()
	for found.Next() {
		if err := scan(found); err != nil {
			return errors.Join(failure(err), failure(found.Err()))
		}
	}
	return failure(found.Err())
}

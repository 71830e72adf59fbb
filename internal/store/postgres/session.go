package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
)

// errRecorded is what a recorded query answers; nobody looks at it.
var errRecorded = errors.New("postgres: recorded")

// session is one transaction on one connection.
type session struct {
	conn   *pgx.Conn
	queue  pgx.Batch
	begun  bool
	direct int
	failed error
	// fetched are the answers to the first queries; current is the operation that runs.
	fetched map[*operation]fetchedRow
	current *operation
}

type mark struct{ direct, queued int }

func (s *session) mark() mark { return mark{s.direct, s.queue.Len()} }

// reset forgets what was queued since the mark.
func (s *session) reset(m mark) {
	if s.queue.Len() > m.queued {
		s.queue.QueuedQueries = s.queue.QueuedQueries[:m.queued]
	}
}

func (s *session) begin(ctx context.Context) error {
	if s.begun {
		return nil
	}
	if _, err := s.conn.Exec(ctx, "begin"); err != nil {
		return s.note(err)
	}
	s.begun = true
	return nil
}

// prefetch sends the first queries of all operations at once.
func (s *session) prefetch(ctx context.Context, group []*operation) error {
	var batch pgx.Batch
	var asked []*operation
	for _, o := range group {
		if o.first == nil || o.ctx.Err() != nil {
			continue
		}
		var r recorder
		o.first(ctx, pgdb.New(escaping{&r}))
		if batch.Len() == 0 {
			batch.Queue("begin")
		}
		batch.Queue(r.query, r.args...)
		asked = append(asked, o)
	}
	if len(asked) == 0 {
		return nil
	}
	s.begun = true
	s.fetched = make(map[*operation]fetchedRow, len(asked))
	answers := s.conn.SendBatch(ctx, &batch)
	_, err := answers.Exec()
	for _, o := range asked {
		if err != nil {
			break
		}
		var found pgx.Rows
		if found, err = answers.Query(); err == nil {
			row := fetchedRow{s: s}
			if found.Next() {
				row.values, err = found.Values()
			}
			found.Close()
			err = errors.Join(err, found.Err())
			s.fetched[o] = row
		}
	}
	if closing := answers.Close(); err == nil {
		err = closing
	}
	_ = s.note(err)
	return s.failed
}

// recorder keeps a query instead of running it.
type recorder struct {
	query string
	args  []any
}

// Exec implements pgdb.DBTX.
func (r *recorder) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, errRecorded
}

// Query implements pgdb.DBTX.
func (r *recorder) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errRecorded }

// QueryRow implements pgdb.DBTX.
func (r *recorder) QueryRow(_ context.Context, query string, args ...any) pgx.Row {
	r.query, r.args = query, args
	return failedRow{errRecorded}
}

// fetchedRow is an answer that is already here.
type fetchedRow struct {
	s      *session
	values []any
}

// Scan implements pgx.Row for the types that first queries return.
func (r fetchedRow) Scan(dest ...any) error {
	if r.values == nil {
		return pgx.ErrNoRows
	}
	if len(dest) != len(r.values) {
		return fmt.Errorf("postgres: %d values for %d places", len(r.values), len(dest))
	}
	for i, d := range dest {
		switch p := d.(type) {
		case *int64:
			*p, _ = r.values[i].(int64)
		case *bool:
			*p, _ = r.values[i].(bool)
		default:
			return fmt.Errorf("postgres: a first query cannot return into %T", d)
		}
	}
	r.s.direct++
	return nil
}

// note remembers an error of the database: the transaction is of no use after it.
func (s *session) note(err error) error {
	if err != nil && !errors.Is(err, pgx.ErrNoRows) && s.failed == nil {
		s.failed = unreachable(err)
	}
	return err
}

// Exec implements pgdb.DBTX.
func (s *session) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	if err := s.begin(ctx); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := s.conn.Exec(ctx, query, args...)
	if tag.RowsAffected() > 0 {
		s.direct++
	}
	return tag, s.note(err)
}

// Query implements pgdb.DBTX.
func (s *session) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	found, err := s.conn.Query(ctx, query, args...)
	return found, s.note(err)
}

// QueryRow implements pgdb.DBTX.
func (s *session) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	if row, ok := s.fetched[s.current]; ok {
		delete(s.fetched, s.current)
		return row
	}
	if err := s.begin(ctx); err != nil {
		return failedRow{err}
	}
	return sessionRow{s, s.conn.QueryRow(ctx, query, args...)}
}

type sessionRow struct {
	s   *session
	row pgx.Row
}

// Scan implements pgx.Row.
func (r sessionRow) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	if err == nil {
		r.s.direct++
	}
	return r.s.note(err)
}

type failedRow struct{ err error }

// Scan implements pgx.Row.
func (r failedRow) Scan(...any) error { return r.err }

// sync sends what is queued and waits for it.
func (s *session) sync(ctx context.Context) error {
	if s.queue.Len() == 0 {
		return nil
	}
	if !s.begun {
		var batch pgx.Batch
		batch.Queue("begin")
		batch.QueuedQueries = append(batch.QueuedQueries, s.queue.QueuedQueries...)
		s.queue = batch
		s.begun = true
	}
	err := s.conn.SendBatch(ctx, &s.queue).Close()
	s.direct += s.queue.Len()
	s.queue = pgx.Batch{}
	return s.note(err)
}

func (s *session) commit(ctx context.Context) error {
	if !s.begun && s.queue.Len() == 0 {
		return nil
	}
	s.queue.Queue("commit")
	if err := s.sync(ctx); err != nil {
		return s.failed
	}
	s.begun = false
	return nil
}

func (s *session) rollback(ctx context.Context) error {
	if !s.begun {
		return nil
	}
	s.begun = false
	if _, err := s.conn.Exec(ctx, "rollback"); err != nil {
		return unreachable(err)
	}
	return nil
}

// pipeline queues statements whose results nobody needs.
type pipeline struct{ s *session }

// Exec implements pgdb.DBTX; the tag is empty.
func (p pipeline) Exec(_ context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	p.s.queue.Queue(query, args...)
	return pgconn.CommandTag{}, nil
}

// Query implements pgdb.DBTX.
func (p pipeline) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	return p.s.Query(ctx, query, args...)
}

// QueryRow implements pgdb.DBTX.
func (p pipeline) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return p.s.QueryRow(ctx, query, args...)
}

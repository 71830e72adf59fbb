package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
)

const (
	// maxBatch bounds the operations of one transaction.
	maxBatch = 128
	// commitTimeout bounds a transaction, so that a database that stopped answering is reported.
	commitTimeout = 30 * time.Second
)

// tx is what an operation sees of the transaction that it may share with others. Statements of q run at once; those of later are sent together
// with the commit, so their results are not known. An operation that reads what later may change calls sync first.
type tx struct {
	q     *pgdb.Queries
	later *pgdb.Queries
	sync  func(ctx context.Context) error
	// changed and wake are announced after the commit.
	changed []string
	wake    bool
}

type operation struct {
	ctx context.Context
	// first, when set, issues the one query that do starts with; the queries of a whole group travel together.
	first func(context.Context, *pgdb.Queries)
	do    func(context.Context, *tx) error
	done  chan error
	err   error
	tx    tx
}

// flusher commits waiting operations in shared transactions. The duration of a commit is the window in which the next group gathers.
type flusher struct {
	pool      *pgxpool.Pool
	published func(changed []string, wake bool)

	mu     sync.RWMutex
	closed bool
	ops    chan *operation
	ended  sync.WaitGroup
}

// errRecorded is what a recorded query answers; nobody looks at it.
var errRecorded = errors.New("postgres: recorded")

// errSplit says that the operations of a group must not share a transaction.
var errSplit = errors.New("postgres: operations need transactions of their own")

func startFlusher(pool *pgxpool.Pool, n int, published func([]string, bool)) *flusher {
	f := &flusher{pool: pool, published: published, ops: make(chan *operation, maxBatch)}
	for range n {
		f.ended.Go(f.loop)
	}
	return f
}

// submit waits until the operation is committed or refused. Once an operation has begun, the end of ctx does not hide its outcome.
func (f *flusher) submit(ctx context.Context, first func(context.Context, *pgdb.Queries), do func(context.Context, *tx) error) error {
	o := &operation{ctx: ctx, first: first, do: do, done: make(chan error, 1)}
	f.mu.RLock()
	if f.closed {
		f.mu.RUnlock()
		return errClosed()
	}
	select {
	case f.ops <- o:
		f.mu.RUnlock()
	case <-ctx.Done():
		f.mu.RUnlock()
		return ctx.Err()
	}
	return <-o.done
}

func (f *flusher) close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.ops)
	}
	f.mu.Unlock()
	f.ended.Wait()
}

func (f *flusher) loop() {
	group := make([]*operation, 0, maxBatch)
	for first := range f.ops {
		group = append(group[:0], first)
	gather:
		for len(group) < maxBatch {
			select {
			case o, ok := <-f.ops:
				if !ok {
					break gather
				}
				group = append(group, o)
			default:
				break gather
			}
		}
		f.commit(group)
		clear(group)
	}
}

// commit runs the group in one transaction and answers every operation. When the server refuses a statement, nobody's work is in doubt, so
// each operation gets a transaction of its own; a lost connection is in doubt and is never repeated.
func (f *flusher) commit(group []*operation) {
	err := f.run(group)
	var refused *pgconn.PgError
	if errors.Is(err, errSplit) || errors.As(err, &refused) {
		for _, o := range group {
			o.err = f.alone(o, len(group) == 1, err)
		}
		err = nil
	}
	var changed []string
	wake := false
	for _, o := range group {
		if o.err == nil && err == nil {
			changed = append(changed, o.tx.changed...)
			wake = wake || o.tx.wake
		}
	}
	if len(changed) > 0 || wake {
		f.published(changed, wake)
	}
	for _, o := range group {
		if o.err == nil {
			o.err = err
		}
		o.done <- failure(o.err)
	}
}

// alone runs one operation by itself, again when it lost against another transaction.
func (f *flusher) alone(o *operation, tried bool, first error) error {
	const attempts = 4
	err := first
	for n := range attempts {
		if n > 0 || !tried {
			if err = f.run([]*operation{o}); err == nil {
				return o.err
			}
		}
		if !transient(err) {
			return err
		}
	}
	return err
}

// run executes the operations and commits. An error of an operation that is not the database's leaves the others alone.
func (f *flusher) run(group []*operation) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	conn, err := f.pool.Acquire(ctx)
	if err != nil {
		return unreachable(err)
	}
	defer conn.Release()
	s := &session{conn: conn.Conn()}
	if err := s.prefetch(ctx, group); err != nil {
		return errors.Join(err, s.rollback(ctx))
	}
	// What was asked first is also written first: an operation that reads a run must see the leg that ended in the same transaction.
	slices.SortStableFunc(group, func(a, b *operation) int { return rank(a) - rank(b) })
	direct, later := pgdb.New(escaping{s}), pgdb.New(escaping{pipeline{s}})
	for _, o := range group {
		if o.err = o.ctx.Err(); o.err != nil {
			continue
		}
		o.tx = tx{q: direct, later: later, sync: s.sync}
		s.current = o
		mark := s.mark()
		if o.err = guarded(ctx, o); o.err == nil {
			continue
		}
		if s.failed != nil {
			return errors.Join(s.failed, s.rollback(ctx))
		}
		if s.direct > mark.direct && len(group) > 1 {
			// It may have changed rows before it failed: the transaction is given up and each operation repeated alone.
			return errors.Join(errSplit, s.rollback(ctx))
		}
		s.reset(mark)
	}
	if len(group) == 1 && group[0].err != nil {
		return s.rollback(ctx)
	}
	if err := s.commit(ctx); err != nil {
		return errors.Join(err, s.rollback(ctx))
	}
	return nil
}

func rank(o *operation) int {
	if o.first == nil {
		return 1
	}
	return 0
}

// guarded keeps the flusher alive when an operation panics.
func guarded(ctx context.Context, o *operation) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("postgres: operation failed: %v", r)
		}
	}()
	return o.do(ctx, &o.tx)
}

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

func (s *Store) write(ctx context.Context, do func(context.Context, *tx) error) error {
	return s.flush.submit(ctx, nil, do)
}

// writeFirst is write for an operation whose only query with an answer comes first.
func (s *Store) writeFirst(ctx context.Context, first func(context.Context, *pgdb.Queries), do func(context.Context, *tx) error) error {
	return s.flush.submit(ctx, first, do)
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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

func (s *Store) write(ctx context.Context, do func(context.Context, *tx) error) error {
	return s.flush.submit(ctx, nil, do)
}

// writeFirst is write for an operation whose only query with an answer comes first.
func (s *Store) writeFirst(ctx context.Context, first func(context.Context, *pgdb.Queries), do func(context.Context, *tx) error) error {
	return s.flush.submit(ctx, first, do)
}

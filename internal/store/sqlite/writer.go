package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/store"
)

// maxBatch bounds the operations of one commit, so that the first of them never waits long.
const maxBatch = 512

// errSpoiled says that an operation failed and the batch must be done again.
var errSpoiled = errors.New("sqlite: an operation failed in a shared transaction")

// tx is what an operation sees of the transaction that it shares with others.
type tx struct {
	q  *litedb.Queries
	db litedb.DBTX
	// changed and wake are announced after the commit.
	changed []string
	wake    bool
}

// operation is a write of a caller; do may be called twice and starts anew each time.
type operation struct {
	ctx  context.Context
	do   func(context.Context, *tx) error
	done chan error
	err  error
	tx   tx
}

// writer owns the only connection that writes. The duration of a commit is the window in which the next batch gathers; a lone write never waits.
type writer struct {
	conn      *sql.Conn
	stmts     *statements
	q         *litedb.Queries
	log       *slog.Logger
	published func(changed []string, wake bool)

	mu     sync.RWMutex
	closed bool
	ops    chan *operation
	ended  chan struct{}
	err    error
}

func startWriter(conn *sql.Conn, log *slog.Logger, published func([]string, bool)) *writer {
	stmts := newStatements(conn)
	w := &writer{
		conn: conn, stmts: stmts, q: litedb.New(stmts), log: log, published: published,
		ops: make(chan *operation, maxBatch), ended: make(chan struct{}),
	}
	go w.loop()
	return w
}

// submit waits until the operation is committed or refused. Once an operation has begun, the end of ctx does not hide its outcome.
func (w *writer) submit(ctx context.Context, do func(context.Context, *tx) error) error {
	o := &operation{ctx: ctx, do: do, done: make(chan error, 1)}
	w.mu.RLock()
	if w.closed {
		w.mu.RUnlock()
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	select {
	case w.ops <- o:
		w.mu.RUnlock()
	case <-ctx.Done():
		w.mu.RUnlock()
		return ctx.Err()
	}
	return <-o.done
}

func (w *writer) close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.ops)
	}
	w.mu.Unlock()
	<-w.ended
	return w.err
}

func (w *writer) loop() {
	defer close(w.ended)
	batch := make([]*operation, 0, maxBatch)
	for first := range w.ops {
		batch = append(batch[:0], first)
	gather:
		for len(batch) < maxBatch {
			select {
			case o, ok := <-w.ops:
				if !ok {
					break gather
				}
				batch = append(batch, o)
			default:
				break gather
			}
		}
		w.commit(batch)
		clear(batch)
	}
	w.stmts.close()
	w.err = w.conn.Close()
}

// commit runs the batch in one transaction and answers every operation afterwards. Failures are rare, so savepoints are used only when the
// batch has one: then everything is done again with them.
func (w *writer) commit(batch []*operation) {
	err := w.transact(batch, false)
	if errors.Is(err, errSpoiled) {
		err = w.transact(batch, true)
	}
	var changed []string
	wake := false
	for _, o := range batch {
		if o.err == nil && err == nil {
			changed = append(changed, o.tx.changed...)
			wake = wake || o.tx.wake
		}
	}
	w.published(changed, wake)
	for _, o := range batch {
		if o.err == nil {
			o.err = err
		}
		o.done <- failure(o.err)
	}
}

// transact executes the batch. Without savepoints it gives up at the first failure of an operation that is not alone.
func (w *writer) transact(batch []*operation, savepoints bool) error {
	if err := w.begin(); err != nil {
		return err
	}
	for _, o := range batch {
		w.run(o, savepoints)
		if o.err == nil || savepoints {
			continue
		}
		if len(batch) > 1 {
			return errors.Join(errSpoiled, w.exec("ROLLBACK"))
		}
		return w.exec("ROLLBACK")
	}
	err := w.exec("COMMIT")
	if err != nil {
		w.abandon()
	}
	return err
}

// begin starts a transaction, also when an earlier failure left one open.
func (w *writer) begin() error {
	err := w.exec("BEGIN IMMEDIATE")
	if err == nil {
		return nil
	}
	w.abandon()
	return w.exec("BEGIN IMMEDIATE")
}

// abandon ends a transaction that may or may not be open after a failure.
func (w *writer) abandon() {
	if err := w.exec("ROLLBACK"); err != nil {
		w.log.Debug("sqlite rollback after a failure", "error", err)
	}
}

// run executes one operation; with a savepoint its failure undoes nothing of others.
func (w *writer) run(o *operation, savepoint bool) {
	if o.err = o.ctx.Err(); o.err != nil {
		return
	}
	if savepoint {
		if o.err = w.exec("SAVEPOINT op"); o.err != nil {
			return
		}
	}
	o.tx = tx{q: w.q, db: w.stmts}
	o.err = w.guarded(o)
	if !savepoint {
		return
	}
	if o.err != nil {
		if err := w.exec("ROLLBACK TO op"); err != nil {
			o.err = errors.Join(o.err, err)
		}
	}
	if err := w.exec("RELEASE op"); err != nil {
		o.err = errors.Join(o.err, err)
	}
}

// guarded keeps the writer alive when an operation panics.
func (w *writer) guarded(o *operation) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.log.Error("panic in a store operation", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("sqlite: operation failed: %v", r)
		}
	}()
	return o.do(context.WithoutCancel(o.ctx), &o.tx)
}

func (w *writer) exec(query string) error {
	_, err := w.stmts.ExecContext(context.Background(), query)
	return err
}

func (s *Store) write(ctx context.Context, do func(context.Context, *tx) error) error {
	if s.writer == nil {
		return fmt.Errorf("%w: %s is opened read-only", store.ErrUnavailable, s.opts.Path)
	}
	return s.writer.submit(ctx, do)
}

// read runs a query beside the writer, or on its connection when the database exists only there.
func (s *Store) read(ctx context.Context, do func(context.Context, *litedb.Queries, litedb.DBTX) error) error {
	if s.reads == nil {
		return s.write(ctx, func(ctx context.Context, t *tx) error { return do(ctx, t.q, t.db) })
	}
	if s.closed.Load() {
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	return failure(do(ctx, s.reads, s.dbtx))
}

// Package sqlite is the SQLite adapter of the store port. One goroutine owns the only writing connection and commits everything that waits in
// one transaction; readers have a pool of their own. It imports the port, its row and payload packages, generated queries and the driver.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/codec"
	"github.com/kneo-go/kneo/internal/store/fanout"
)

// Memory as a path keeps everything in memory until Close.
const Memory = ":memory:"

const readers = 4

// Options configure New.
type Options struct {
	// Path of the database file; its folder is created. Memory keeps nothing on disk.
	Path string
	// ReadOnly opens an existing file beside a process that writes; every write answers store.ErrUnavailable.
	ReadOnly bool
	// Normal relaxes durability: the last commits may be lost when the machine loses power, though never when the process dies.
	Normal bool
	// Limits bound checkpoint payloads; the zero value means codec.DefaultLimits.
	Limits codec.Limits
	// Now is the clock of leases; nil means time.Now.
	Now func() time.Time
	// Logger receives what callers cannot see; nil discards it.
	Logger *slog.Logger
}

// Store implements store.Store.
type Store struct {
	opts   Options
	lock   *ownerLock
	memory bool

	db     *sql.DB
	writer *writer
	readDB *sql.DB
	reads  *litedb.Queries
	dbtx   litedb.DBTX

	hub       fanout.Hub
	wake      chan struct{}
	snapshots *digests
	totals    totals
	closed    atomic.Bool
	recovered atomic.Bool
	closing   sync.Once
	closeErr  error
}

var _ store.Store = (*Store)(nil)

// New opens the database, takes the lock of its single writer and migrates the schema. It answers store.ErrInUse when another process writes
// to the file and store.ErrSchemaTooNew when a newer release migrated it.
func New(ctx context.Context, o Options) (*Store, error) {
	if o.Path == "" {
		return nil, errors.New("sqlite: no database path")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Limits == (codec.Limits{}) {
		o.Limits = codec.DefaultLimits()
	}
	s := &Store{opts: o, memory: o.Path == Memory, wake: make(chan struct{}, 1), snapshots: newDigests()}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if s.opts.ReadOnly {
		return s.openReadOnly(ctx)
	}
	if !s.memory {
		if err := s.prepareFile(); err != nil {
			return err
		}
	}
	db, err := sql.Open("sqlite", s.dsn(""))
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	s.db = db
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db, s.opts.Path); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return failure(err)
	}
	s.writer = startWriter(conn, s.opts.Logger, s.published) //nolint:contextcheck // the writer outlives the call that starts it
	if s.memory {
		return nil
	}
	return s.openReaders(s.dsn("query_only(1)"))
}

func (s *Store) prepareFile() error {
	if err := os.MkdirAll(filepath.Dir(s.opts.Path), 0o750); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	lock, err := acquireOwnerLock(s.opts.Path)
	if err != nil {
		return err
	}
	s.lock = lock
	return nil
}

func (s *Store) openReaders(dsn string) error {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	s.readDB = db
	s.dbtx = newStatements(db)
	s.reads = litedb.New(s.dbtx)
	return nil
}

// openReadOnly leaves lock and schema alone. The file is opened for writing when possible, because WAL readers share an index file, but every
// write is refused by the connection.
func (s *Store) openReadOnly(ctx context.Context) error {
	if s.memory {
		return fmt.Errorf("%w: a database in memory cannot be opened read-only", store.ErrUnavailable)
	}
	if _, err := os.Stat(s.opts.Path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %w", store.ErrNotFound, err)
		}
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	var first error
	for _, mode := range []string{"rw", "ro"} {
		if err := s.openReaders(s.dsn("query_only(1)") + "&mode=" + mode); err != nil {
			return err
		}
		err := checkVersion(ctx, s.readDB, s.opts.Path)
		if err == nil || errors.Is(err, store.ErrSchemaTooNew) {
			return err
		}
		if first == nil {
			first = err
		}
		if err := s.readDB.Close(); err != nil {
			return failure(err)
		}
		s.readDB = nil
	}
	return first
}

func (s *Store) dsn(pragma string) string {
	q := url.Values{}
	sync := "FULL"
	if s.opts.Normal {
		sync = "NORMAL"
	}
	q.Add("_pragma", "busy_timeout(5000)")
	q.Add("_pragma", "temp_store(MEMORY)")
	// Runs of the same time lie together, so a small cache per connection holds what is written and read again; the system caches the rest.
	q.Add("_pragma", "cache_size(-4000)")
	if !s.opts.ReadOnly {
		q.Add("_pragma", "journal_mode(WAL)")
		q.Add("_pragma", "synchronous("+sync+")")
		// Pages that are written again and again reach the database file less often with a longer log.
		q.Add("_pragma", "wal_autocheckpoint(4000)")
		q.Add("_pragma", "journal_size_limit(67108864)")
	}
	if pragma != "" {
		q.Add("_pragma", pragma)
	}
	q.Set("_txlock", "immediate")
	q.Set("_time_integer_format", "unix_micro")
	q.Set("_inttotime", "1")
	if s.memory {
		return "file::memory:?" + q.Encode()
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(s.opts.Path)}).EscapedPath(), RawQuery: q.Encode()}
	return u.String()
}

// published runs after a commit.
func (s *Store) published(changed []string, wake bool) {
	if len(changed) > 0 {
		s.totals.changed()
	}
	s.hub.Publish(changed...)
	if wake {
		s.nudge()
	}
}

func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Kind implements store.Store.
func (s *Store) Kind() string { return "sqlite" }

// Ping implements store.Store. It asks the writer, so that a writer that cannot begin a transaction is noticed.
func (s *Store) Ping(ctx context.Context) error {
	if s.writer == nil {
		return s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
			_, err := q.ListMetadata(ctx, "-")
			return err
		})
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.q.ListMetadata(ctx, "-")
		return err
	})
}

// Close finishes what waits, closes all connections and gives the file free.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.hub.Close()
		var errs []error
		if s.writer != nil {
			errs = append(errs, s.writer.close())
		}
		if s.readDB != nil {
			errs = append(errs, s.readDB.Close())
		}
		if s.db != nil {
			errs = append(errs, s.db.Close())
		}
		if s.lock != nil {
			errs = append(errs, s.lock.release())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// Wake implements store.Queue.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// Changed implements store.Queue; only this process writes, so it knows of every change.
func (s *Store) Changed(ctx context.Context) (<-chan string, error) { return s.hub.Subscribe(ctx), nil }

func (s *Store) now() time.Time { return s.opts.Now().UTC() }

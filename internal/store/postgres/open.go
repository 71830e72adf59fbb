// Package postgres is the PostgreSQL adapter of the store port. Concurrent writes share transactions, leases use the clock of the database,
// and other processes hear of changes by notifications. No statement needs state of its session, so a transaction-mode pooler may stand
// between; only the listener needs a direct connection. It imports the port, its row and payload packages, generated queries and the driver.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/codec"
	"github.com/kneo-go/kneo/internal/store/fanout"
)

const (
	defaultOwnerTTL = 10 * time.Second
	defaultConns    = 12
	// flushers commit side by side: while one waits for the disk, the other gathers and sends.
	flushers = 2
	// connectTimeout bounds the first contact, so that a wrong address is reported soon.
	connectTimeout = 5 * time.Second
)

// Options configure New.
type Options struct {
	// DSN is a libpq URL or key=value string. Behind a transaction-mode pooler that keeps no prepared statements it carries
	// default_query_exec_mode=cache_describe (or exec).
	DSN string
	// ListenDSN is a direct connection for notifications when DSN leads to a pooler; empty means DSN.
	ListenDSN string
	// MaxConns bounds the pool; 0 means pool_max_conns of the DSN, or 12.
	MaxConns int
	// OwnerTTL is how long an owner may be silent before its leases are free; 0 means 10 seconds.
	OwnerTTL time.Duration
	// Limits bound checkpoint payloads; the zero value means codec.DefaultLimits.
	Limits codec.Limits
	// Now replaces the clock of the database in tests.
	Now func() time.Time
	// Logger receives what callers cannot see; nil discards it.
	Logger *slog.Logger
}

// Store implements store.Store.
type Store struct {
	opts     Options
	instance string
	pool     *pgxpool.Pool
	q        *pgdb.Queries

	flush  *flusher
	hub    fanout.Hub
	wake   chan struct{}
	news   *announcer
	owners owners
	// snapshots that this process stored a short while ago.
	snapshots digests

	stop     context.CancelFunc
	running  sync.WaitGroup
	closed   atomic.Bool
	closing  sync.Once
	closeErr error
}

var _ store.Store = (*Store)(nil)

// New connects, migrates the schema and starts the goroutines of the store. It answers store.ErrUnavailable when the database cannot be
// reached (the message never has the password) and store.ErrSchemaTooNew when a newer release migrated it.
func New(ctx context.Context, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OwnerTTL <= 0 {
		o.OwnerTTL = defaultOwnerTTL
	}
	if o.Limits == (codec.Limits{}) {
		o.Limits = codec.DefaultLimits()
	}
	cfg, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	listen, err := listenConfig(cfg, o.ListenDSN)
	if err != nil {
		return nil, err
	}
	configurePool(cfg, o)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if err := migrate(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		opts: o, instance: uuid.NewString(), pool: pool, q: pgdb.New(escaping{pool}), wake: make(chan struct{}, 1), stop: stop,
	}
	s.news = newAnnouncer(s.instance, s.q, o.Logger)
	s.flush = startFlusher(pool, flushers, s.published)
	s.running.Go(func() { s.news.run(background) })
	s.running.Go(func() { s.listen(background, listen) })
	s.running.Go(func() { s.beat(background) })
	return s, nil
}

func configurePool(cfg *pgxpool.Config, o Options) {
	switch {
	case o.MaxConns > 0:
		cfg.MaxConns = int32(min(o.MaxConns, 1<<15)) //nolint:gosec // bounded
	case cfg.MaxConns < defaultConns:
		cfg.MaxConns = defaultConns
	}
	// Both flushers and a reader must have a connection.
	cfg.MaxConns = max(cfg.MaxConns, flushers+1)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	if _, ok := cfg.ConnConfig.RuntimeParams["application_name"]; !ok {
		cfg.ConnConfig.RuntimeParams["application_name"] = "kneo"
	}
}

func listenConfig(cfg *pgxpool.Config, dsn string) (*pgx.ConnConfig, error) {
	if dsn == "" {
		return cfg.ConnConfig.Copy(), nil
	}
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return c, nil
}

// Kind implements store.Store.
func (s *Store) Kind() string { return "postgres" }

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	if s.closed.Load() {
		return errClosed()
	}
	return failure(s.pool.Ping(ctx))
}

// Close finishes what waits, declares the owners of this process dead and closes all connections.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.hub.Close()
		s.flush.close()
		s.stop()
		s.running.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		if names := s.owners.names(); len(names) > 0 {
			// Best effort: without it the leases of this process are free a few seconds later.
			if err := s.q.RetireOwners(ctx, names); err != nil {
				s.opts.Logger.Debug("retire owners", "error", err)
			}
		}
		s.pool.Close()
	})
	return s.closeErr
}

// Wake implements store.Queue.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// Changed implements store.Queue.
func (s *Store) Changed(ctx context.Context) (<-chan string, error) { return s.hub.Subscribe(ctx), nil }

func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// published runs after a commit: this process hears at once, others through the database.
func (s *Store) published(changed []string, wake bool) {
	s.hub.Publish(changed...)
	if wake {
		s.nudge()
	}
	s.news.add(changed, wake)
}

// at is the time that replaces the database's clock, or nil.
func (s *Store) at() *time.Time {
	if s.opts.Now == nil {
		return nil
	}
	now := s.opts.Now().UTC()
	return &now
}

// now stamps rows that the caller left without a time; leases never use it.
func (s *Store) now() time.Time {
	if at := s.at(); at != nil {
		return *at
	}
	return time.Now().UTC()
}

func errClosed() error { return fmt.Errorf("%w: %w", store.ErrUnavailable, errors.New("closed")) }

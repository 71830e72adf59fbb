package app

import (
	"context"
	"encoding/json"
	"sync"

	"google.golang.org/grpc"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

// Conn calls the services inside the process, through the same chain as the network. Runs need Work besides.
func (a *App) Conn() grpc.ClientConnInterface { return a.local }

// Handlers is where functions of this program are registered under the names that specs use.
func (a *App) Handlers() *handler.Registry { return a.execution.handlers }

// Record returns the whole record of a run as JSON, redacted.
func (a *App) Record(ctx context.Context, id string) (json.RawMessage, error) {
	r, err := a.store.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	snapshot, err := a.store.Snapshot(ctx, r.SnapshotDigest)
	if err != nil {
		return nil, err
	}
	checkpoints, err := a.store.Checkpoints(ctx, id)
	if err != nil {
		return nil, err
	}
	return record.Whole(&r, snapshot.Frozen, record.Trace(&r, checkpoints, "")), nil
}

// Work runs everything but the listeners: leases, events, maintenance, and the given number of workers for queued runs, which may be 0. The
// returned function drains, releases what New built and returns when all has ended.
func (a *App) Work(ctx context.Context, workers int) (stop func()) {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	working, stopWork := context.WithCancel(background)
	var parts, pool sync.WaitGroup
	a.start(background, &parts)
	a.cfg.Worker.Concurrency = int64(workers)
	p := a.pool()
	pool.Go(func() {
		if err := p.Run(working); err != nil {
			a.log.ErrorContext(working, "workers stopped", "error", err)
		}
	})
	return sync.OnceFunc(func() {
		a.draining.Store(true)
		stopWork()
		pool.Wait()
		a.giveBack(background)
		cancel()
		parts.Wait()
		a.close(background)
	})
}

// openStore opens the database for writing, or beside a process that writes.
func (a *App) openStore(ctx context.Context) (store.Store, error) {
	if !a.o.ReadOnly || a.cfg.Storage.DatabaseURL != "" {
		return OpenStore(ctx, &a.cfg, a.log)
	}
	s, err := sqlite.New(ctx, sqlite.Options{Path: a.cfg.Storage.SQLitePath, ReadOnly: true, Limits: checkpointLimits(&a.cfg), Logger: a.log})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Package app builds the service from a configuration and owns its life: the order in which parts start, how it drains, and how it stops. It is
// the only package that knows concrete adapters.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/inproc"
	"github.com/kneo-go/kneo/internal/maintenance"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/service"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/telemetry"
	"github.com/kneo-go/kneo/internal/transport/server"
	"github.com/kneo-go/kneo/internal/worker"
)

// Options are what a process decides besides its configuration.
type Options struct {
	// Host and Port are the main address; port 0 takes a free one.
	Host string
	Port int
	// Version is the version of this build.
	Version string
	// Log gets the log lines.
	Log io.Writer
	// Env is the environment for inventories and probes.
	Env config.Env
	// ReadOnly opens an embedded database beside the process that writes to it; every change is refused.
	ReadOnly bool
	// WorkerOnly answers probes, scrapes and remote workers, and no other request.
	WorkerOnly bool
	// Ready, when not nil, is called with the addresses once the service answers.
	Ready func(rest, grpc net.Addr)
}

// App is one process of the service: its parts, built and not yet serving.
type App struct {
	cfg config.Config
	o   Options
	log *slog.Logger

	store     store.Store
	tracing   *telemetry.Tracing
	metrics   *telemetry.Metrics
	logs      *telemetry.Logs
	exported  *telemetry.MetricExport
	execution *execution
	runner    *runner.Runner
	use       useCases
	server    *server.Server
	handler   http.Handler
	local     *inproc.Conn

	draining atomic.Bool
	closed   sync.Once
}

// useCases are the services behind the transports.
type useCases struct {
	runs        *service.Runs
	specs       *service.Specs
	tasks       *service.HumanTasks
	audit       *service.Audit
	policies    *service.Policies
	skills      *service.Skills
	credentials *service.Credentials
	health      *service.Health
	events      *service.Events
}

// New builds the service. An error is a reason not to start, in words for the operator; no port has been opened then.
func New(ctx context.Context, cfg config.Config, o Options) (*App, error) {
	a := &App{cfg: cfg, o: o}
	if err := a.openLog(ctx); err != nil {
		return nil, err
	}
	if err := a.build(ctx); err != nil {
		a.close(ctx)
		return nil, err
	}
	return a, nil
}

// openLog makes the logger, which also sends its records where telemetry goes.
func (a *App) openLog(ctx context.Context) error {
	var err error
	if a.logs, err = telemetry.NewLogs(ctx, a.cfg.Observe.OTel, a.o.Version); err != nil {
		return err
	}
	level := telemetry.Level(a.cfg.Observe.LogLevel)
	var also []slog.Handler
	if a.logs != nil {
		also = append(also, a.logs.Handler(level))
	}
	a.log = telemetry.NewLogger(a.o.Log, level, a.cfg.Observe.LogFormat == "text", also...)
	if a.cfg.Observe.OTel {
		telemetry.ReportErrors(a.log)
	}
	return nil
}

func (a *App) build(ctx context.Context) error {
	var err error
	if a.tracing, err = telemetry.NewTracing(ctx, a.cfg.Observe.OTel, a.o.Version); err != nil {
		return err
	}
	a.metrics = telemetry.NewMetrics(a.o.Version)
	if a.store, err = a.openStore(ctx); err != nil {
		return err
	}
	watchPool(a.metrics, a.store)
	a.store = &observed{Store: a.store, metrics: a.metrics, tracer: a.tracing.Provider.Tracer(telemetry.TracerName)}
	if a.cfg.Observe.AuditExport {
		a.store = &auditLogged{Store: a.store, log: a.log}
	}
	if a.exported, err = telemetry.NewMetricExport(ctx, a.cfg.Observe.OTel, a.o.Version, a.metrics, a.queueNumbers); err != nil {
		return err
	}
	keys, err := auth.New(auth.Settings{APIKeys: a.cfg.Auth.APIKeys, AdminAPIKey: a.cfg.Auth.AdminAPIKey, Enabled: a.cfg.Auth.Enabled})
	if err != nil {
		return err
	}
	if err := a.requireSecrets(ctx); err != nil {
		return err
	}
	for _, w := range keys.Warnings() {
		a.log.WarnContext(ctx, "auth: "+w)
	}
	if err := a.buildServices(); err != nil {
		return err
	}
	return a.buildTransport(keys) //nolint:contextcheck // streams have contexts of their own
}

// requireSecrets refuses a start without the keys of the providers that readiness names, where the deployment wants that.
func (a *App) requireSecrets(ctx context.Context) error {
	if !a.cfg.Specs.RequireProviderSecrets {
		return nil
	}
	for _, p := range a.cfg.Observe.HealthProviders {
		if _, err := secret.Require(ctx, secret.Env{}, "provider:"+p, secret.ProviderVariable(p)); err != nil {
			if known := problem.As(err); known != nil {
				return errors.New(known.Message)
			}
			return err
		}
	}
	return nil
}

// Serve opens the ports and answers until ctx ends; then it drains. It returns nil after an orderly stop.
func (a *App) Serve(ctx context.Context) error {
	defer a.close(ctx)
	if err := a.server.Listen(ctx); err != nil {
		return err
	}
	if _, err := a.store.RecoverOwners(ctx, a.runner.OwnerID(), deadOwner); err != nil {
		return errors.Join(err, a.server.Close())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	working, stopWork := context.WithCancel(background)
	defer stopWork()
	var parts, pool sync.WaitGroup
	a.start(background, &parts)
	pool.Go(func() {
		if err := a.pool().Run(working); err != nil {
			a.log.ErrorContext(ctx, "workers stopped", "error", err)
		}
	})
	served := make(chan error, 1)
	go func() { served <- a.server.Serve() }()
	a.log.InfoContext(ctx, "kneo is serving", "rest", a.server.Addr().String(), "grpc", a.server.GRPCAddr().String(), "store", a.store.Kind())
	if a.o.Ready != nil {
		a.o.Ready(a.server.Addr(), a.server.GRPCAddr())
	}
	if err := releasePages(); err != nil {
		a.log.DebugContext(ctx, "pages of the start are kept", "error", err)
	}
	var err error
	select {
	case <-ctx.Done():
		err = a.drain(context.WithoutCancel(ctx), func() {
			stopWork()
			pool.Wait()
		})
	case err = <-served:
	}
	stop()
	pool.Wait()
	parts.Wait()
	return err
}

// deadOwner is how long another process may be silent before its runs are free. It tells four times as often that it is alive, so three messages in a
// row may be late.
const deadOwner = 8 * time.Second

// pool executes queued runs and keeps the leases of this process.
func (a *App) pool() *worker.Pool {
	w := a.cfg.Worker
	a.metrics.Workers(int(w.Concurrency))
	return worker.New(a.store, a.runner, worker.Options{
		Concurrency: int(w.Concurrency), Lease: w.Lease, IdlePoll: w.IdlePoll, MaxAttempts: w.MaxAttempts, DrainTimeout: w.ShutdownTimeout, Log: a.log,
	})
}

// sweeper does what must happen without anybody asking.
func (a *App) sweeper() *maintenance.Sweeper {
	return maintenance.New(a.store, maintenance.Options{
		Owner: a.runner.OwnerID(), Every: a.cfg.Worker.Sweep, OwnerTTL: deadOwner, Cut: func(now time.Time) *store.RetentionCut { return cut(&a.cfg.Retention, now) }, Cancel: a.runner.Keeper().Cancel,
		Clock: clock.System{}, Log: a.log,
	})
}

// start runs the parts that live beside the transports.
func (a *App) start(ctx context.Context, parts *sync.WaitGroup) {
	part := func(name string, f func(context.Context) error) {
		parts.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				a.log.ErrorContext(ctx, "part stopped", "part", name, "error", err)
			}
		})
	}
	part("events", a.use.events.Run)
	if a.cfg.Worker.Sweep > 0 {
		part("maintenance", a.sweeper().Run)
		part("files", a.keepFilesPruned)
	}
	part("dispatcher", func(ctx context.Context) error {
		a.execution.dispatcher.Run(ctx)
		return nil
	})
}

// drain stops taking work and waits for what is in progress, at most for the shutdown timeout: requests first, then queued runs. What is left is
// given back, so that another process goes on from the journal.
func (a *App) drain(ctx context.Context, stopWork func()) error {
	a.draining.Store(true)
	a.log.InfoContext(ctx, "stopping", "timeout", a.cfg.Worker.ShutdownTimeout.String())
	limit, cancel := context.WithTimeout(ctx, a.cfg.Worker.ShutdownTimeout)
	defer cancel()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		stopWork()
	}()
	if err := a.server.Shutdown(limit); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		a.log.WarnContext(ctx, "connections did not close in order", "error", err)
	}
	<-worked
	a.giveBack(ctx)
	return a.server.Close()
}

// giveBackTimeout is how long a leg may take to give its claim back, giveBackPoll the pause between looks.
const (
	giveBackTimeout = 5 * time.Second
	giveBackPoll    = 10 * time.Millisecond
)

// giveBack stops the legs that requests still wait for.
func (a *App) giveBack(ctx context.Context) {
	keeper := a.runner.Keeper()
	for _, f := range keeper.Held() {
		keeper.Cancel(f.RunID, runner.ErrDrain)
	}
	limit := time.NewTimer(giveBackTimeout)
	defer limit.Stop()
	look := time.NewTicker(giveBackPoll)
	defer look.Stop()
	for len(keeper.Held()) > 0 {
		select {
		case <-limit.C:
			a.log.WarnContext(ctx, "runs are left to their leases", "count", len(keeper.Held()))
			return
		case <-look.C:
		}
	}
}

// closeTimeout bounds the last writes of telemetry.
const closeTimeout = 3 * time.Second

// close releases what was built, in reverse order.
func (a *App) close(ctx context.Context) {
	a.closed.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		var errs []error
		if a.execution != nil {
			a.execution.servers.Close()
		}
		errs = append(errs, a.exported.Shutdown(ctx))
		if a.store != nil {
			errs = append(errs, a.store.Close())
		}
		if a.tracing != nil {
			errs = append(errs, a.tracing.Shutdown(ctx))
		}
		if err := errors.Join(errs...); err != nil {
			a.log.WarnContext(ctx, "not everything closed in order", "error", err)
		}
		_ = a.logs.Shutdown(ctx) // nobody is left to be told
	})
}

// Close releases an app that never served.
func (a *App) Close() { a.close(context.Background()) }

func (a *App) address() string { return net.JoinHostPort(a.o.Host, strconv.Itoa(a.o.Port)) }

// now is the clock of the process.
func (a *App) now() time.Time { return clock.System{}.Now() }

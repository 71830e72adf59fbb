package app

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/accesslog"
	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/inproc"
	"github.com/kneo-go/kneo/internal/service"
	"github.com/kneo-go/kneo/internal/telemetry"
	"github.com/kneo-go/kneo/internal/transport/gateway"
	"github.com/kneo-go/kneo/internal/transport/interceptor"
	"github.com/kneo-go/kneo/internal/transport/openapi"
	"github.com/kneo-go/kneo/internal/transport/rpc"
	"github.com/kneo-go/kneo/internal/transport/server"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// buildTransport builds the chain, both doors and the server around them.
func (a *App) buildTransport(keys *auth.Authenticator) error {
	facts, err := contract.Load()
	if err != nil {
		return err
	}
	codec := wirejson.New(facts)
	var access *accesslog.Log
	if a.cfg.Observe.RequestLogs {
		access = accesslog.New(a.log, telemetry.Level(a.cfg.Observe.LogLevel), a.now)
	}
	chain, err := interceptor.New(interceptor.Options{
		Contract: facts, Codec: codec, Authenticator: keys, Validator: validate.New(facts, a.limits()), Keys: a.store, Logger: a.log, AccessLog: access,
		Tracer: a.tracing.Provider, Propagator: a.tracing.Propagator, MaxBytes: int(a.cfg.Limits.BodyBytes),
		Observe: a.metrics.Request, ObserveKey: a.metrics.Idempotency, Now: a.now,
	})
	if err != nil {
		return err
	}
	a.local = inproc.New(chain.Unary(), chain.Stream())
	a.register(a.local)
	api, err := gateway.New(gateway.Options{Contract: facts, Codec: codec, Conn: a.local.Handover(), Authenticator: keys})
	if err != nil {
		return err
	}
	plain := a.documents(facts)
	if a.cfg.Observe.Metrics {
		plain["/metrics"] = a.metrics.Handler(a.queueNumbers, func(w http.ResponseWriter, _ *http.Request, err error) { errmap.WriteError(w, err) })
	}
	var rest http.Handler = api
	if a.o.WorkerOnly {
		rest = probesOnly(api)
	}
	a.handler = server.Handler(server.HandlerOptions{
		API: rest, Plain: plain, MaxBody: a.cfg.Limits.BodyBytes, Origins: a.cfg.Listen.Origins, AccessLog: access, Logger: a.log, Now: a.now,
	})
	a.server, err = server.New(server.Options{
		Addr: a.address(), GRPCAddr: a.cfg.Listen.GRPCAddr, TLS: server.TLS{CertFile: a.cfg.Listen.CertFile, KeyFile: a.cfg.Listen.KeyFile, ClientCAFile: a.cfg.Listen.ClientCAFile},
		HTTP:  a.handler,
		Unary: chain.Unary(), Stream: chain.Stream(), Register: a.serveOver, MaxBytes: int(a.cfg.Limits.BodyBytes), Stopping: api.EndStreams, Logger: a.log,
	})
	return err
}

// documents are the pages that describe the interface. The description is written when somebody asks for it first.
func (a *App) documents(facts *contract.Contract) map[string]http.Handler {
	document := sync.OnceValues(func() (http.Handler, error) {
		text, err := openapi.Document(openapi.Options{Contract: facts, Version: service.ServiceVersion, Metrics: a.cfg.Observe.Metrics})
		return openapi.Handler(text), err
	})
	description := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := document()
		if err != nil {
			errmap.WriteError(w, err)
			return
		}
		h.ServeHTTP(w, r)
	})
	return map[string]http.Handler{"/openapi.json": description, "/docs": openapi.Docs(), "/redoc": openapi.Docs()}
}

// probesOnly answers the paths that balancers and supervisors ask for, and nothing else.
func probesOnly(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, "/v1") {
		case "/healthz", "/livez", "/readyz":
			api.ServeHTTP(w, r)
		default:
			errmap.WriteNotFound(w)
		}
	})
}

// serveOver adds the services that the network may call. A process that only works offers its health, and remote workers a place to connect to.
func (a *App) serveOver(r grpc.ServiceRegistrar) {
	if !a.o.WorkerOnly {
		a.register(r)
		return
	}
	kneov1.RegisterHealthServiceServer(r, rpc.NewHealthServer(a.use.health))
	kneov1.RegisterWorkerServiceServer(r, &rpc.WorkerServer{Dispatcher: a.execution.dispatcher})
}

// register adds all services of the contract.
func (a *App) register(r grpc.ServiceRegistrar) {
	u := &a.use
	kneov1.RegisterRunServiceServer(r, rpc.NewRunServer(u.runs))
	kneov1.RegisterSpecServiceServer(r, rpc.NewSpecServer(u.specs, u.runs))
	kneov1.RegisterHumanTaskServiceServer(r, rpc.NewHumanTaskServer(u.tasks, u.runs))
	kneov1.RegisterAuditServiceServer(r, rpc.NewAuditServer(u.audit))
	kneov1.RegisterPolicyServiceServer(r, rpc.NewPolicyServer(u.policies))
	kneov1.RegisterSkillServiceServer(r, rpc.NewSkillServer(u.skills))
	kneov1.RegisterSecurityServiceServer(r, rpc.NewSecurityServer(u.credentials))
	kneov1.RegisterHealthServiceServer(r, rpc.NewHealthServer(u.health))
	kneov1.RegisterEventServiceServer(r, rpc.NewEventServer(u.events, u.runs))
	kneov1.RegisterWorkerServiceServer(r, &rpc.WorkerServer{Dispatcher: a.execution.dispatcher})
}

func (a *App) limits() validate.Limits {
	l := a.cfg.Limits
	return validate.Limits{
		InputChars: int(l.InputChars), HumanContentChars: int(l.HumanContentChars), InlineSpecBytes: int(l.InlineSpecBytes),
		OverridesBytes: int(l.OverridesBytes), MetadataBytes: int(l.MetadataBytes), ListItems: int(l.ListItems), PathChars: int(l.PathChars),
	}
}

// queueNumbers reads the gauges of a scrape.
func (a *App) queueNumbers(ctx context.Context) (telemetry.QueueNumbers, error) {
	if a.use.health == nil { // a start that failed early still sends its last values
		return telemetry.QueueNumbers{}, errors.New("the service is not built")
	}
	stats, err := a.use.health.Queue(ctx)
	if err != nil {
		return telemetry.QueueNumbers{}, err
	}
	return telemetry.QueueNumbers{Queued: stats.Queued, Running: stats.Running, OldestQueued: stats.OldestQueued}, nil
}

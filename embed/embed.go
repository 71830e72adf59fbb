// Package embed runs the whole platform inside a Go program: store, engine, workers and, when asked for, the network service. Functions, tools and
// guardrails that specs name are Go functions of the program.
//
//	w := worker.New(worker.Options{})
//	w.Function("shop.normalise", func(ctx context.Context, text string) (string, error) { return strings.ToUpper(text), nil })
//	p, err := embed.Open(ctx, embed.Options{Path: "state.db", Handlers: w})
//	if err != nil { … }
//	defer p.Close()
//	out, err := p.Client().Run(ctx, client.RunRequest{Spec: spec, Input: "hello"})
//
// The handlers are those of the package worker, so they can move out of the process later without a change.
package embed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/worker"
)

// Options describe a platform. The zero value keeps everything in memory and answers only this program.
type Options struct {
	// Path is the SQLite file; empty keeps everything in memory.
	Path string
	// DatabaseURL selects PostgreSQL instead.
	DatabaseURL string
	// SpecRoot is the folder of spec paths and skills; empty means the working folder.
	SpecRoot string
	// Handlers are the functions, tools and guardrails of this program.
	Handlers *worker.Worker
	// Workers is how many queued runs are carried out at once; 0 means 1, a negative number none.
	Workers int
	// Listen, when set, also serves gRPC and REST on host:port, for example "127.0.0.1:8000". Port 0 takes a free one; Addr tells which.
	Listen string
	// APIKey is the key that Client uses, when Settings turn authentication on.
	APIKey string
	// Settings are KNEO_SERV_* variables by name. The environment of the process is not read for settings, only for the keys of model providers.
	Settings map[string]string
	// Log gets the log lines; nil discards them.
	Log io.Writer
}

// Platform is a running platform.
type Platform struct {
	client *client.Client
	addr   net.Addr
	stop   func() error
}

// Open builds and starts a platform. The context bounds the start only; Close ends the platform.
func Open(ctx context.Context, o Options) (*Platform, error) {
	env := config.FromMap(o.settings())
	cfg, err := config.Load(env)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	host, port, err := address(o.Listen)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	workers := int(cfg.Worker.Concurrency)
	if o.Workers < 0 {
		workers, cfg.Worker.Concurrency = 0, 0
	}
	ready := make(chan net.Addr, 1)
	built, err := app.New(ctx, cfg, app.Options{
		Host: host, Port: port, Version: "embedded", Log: o.Log, Env: config.Process(), Ready: func(rest, _ net.Addr) { ready <- rest },
	})
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	if err := register(built.Handlers(), o.Handlers); err != nil {
		built.Close() //nolint:contextcheck // closing outlives the caller's context
		return nil, err
	}
	p := &Platform{client: client.New(built.Conn(), client.Options{APIKey: o.APIKey, Retry: client.NoRetry})}
	if o.Listen == "" {
		end := built.Work(ctx, workers)
		p.stop = func() error {
			end()
			return nil
		}
		return p, nil
	}
	if err := p.serve(ctx, built, ready); err != nil {
		return nil, err
	}
	return p, nil
}

// settings are the variables that the options stand for.
func (o *Options) settings() map[string]string {
	out := map[string]string{"KNEO_SERV_SQLITE_PATH": ":memory:", "KNEO_SERV_REQUEST_LOGS": "false"}
	maps.Copy(out, o.Settings)
	if o.Path != "" {
		out["KNEO_SERV_SQLITE_PATH"] = o.Path
	}
	if o.DatabaseURL != "" {
		out["KNEO_SERV_DATABASE_URL"] = o.DatabaseURL
	}
	if o.SpecRoot != "" {
		out["KNEO_SERV_SPEC_ROOT"] = o.SpecRoot
	}
	if o.Workers > 0 {
		out["KNEO_SERV_WORKER_CONCURRENCY"] = strconv.Itoa(o.Workers)
	}
	return out
}

func address(listen string) (host string, port int, err error) {
	if listen == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("embed: %q is no address to listen on; expected host:port", listen)
	}
	return host, port, nil
}

// serve runs the network service and returns once it answers.
func (p *Platform) serve(ctx context.Context, built *app.App, ready <-chan net.Addr) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- built.Serve(life) }()
	p.stop = func() error {
		end()
		return <-served
	}
	select {
	case p.addr = <-ready:
		return nil
	case err := <-served:
		end()
		return fmt.Errorf("embed: %w", errors.Join(err, errors.New("the service did not start")))
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.stop())
	}
}

// Client calls the platform without a network.
func (p *Platform) Client() *client.Client { return p.client }

// Addr is the address of the network service, nil without one.
func (p *Platform) Addr() net.Addr { return p.addr }

// Close drains and ends the platform. Runs that do not end in time are given back to the store and go on when the next process opens it.
func (p *Platform) Close() error { return p.stop() }

// register makes the handlers of a worker callable in this process.
func register(into *handler.Registry, w *worker.Worker) error {
	if w == nil {
		return nil
	}
	all, err := w.Handlers()
	if err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	for h, fn := range all {
		err := into.Register(handler.Definition{
			Name: h.Name, Kind: handler.Kind(h.Kind), Description: h.Description, InputSchema: h.InputSchema, Idempotent: !h.NotIdempotent,
		}, adapt(h, fn))
		if err != nil {
			return fmt.Errorf("embed: %w", err)
		}
	}
	return nil
}

func adapt(h worker.Handler, fn worker.Func) handler.Func {
	return func(ctx context.Context, input json.RawMessage, m handler.Meta) (json.RawMessage, error) {
		out, err := fn(ctx, worker.Call{
			ID: m.IdempotencyKey, Kind: h.Kind, Name: h.Name, Input: input, Attempt: m.Attempt, IdempotencyKey: m.IdempotencyKey,
			RunID: m.RunID, Deadline: m.Deadline, TraceParent: m.TraceParent,
		})
		var failure *worker.Error
		if errors.As(err, &failure) {
			return nil, &handler.Error{Code: failure.Code, Message: failure.Message, Retryable: failure.Retryable, Details: failure.Details}
		}
		return out, err
	}
}

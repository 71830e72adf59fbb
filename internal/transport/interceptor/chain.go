// Package interceptor is the chain that every call passes on its way to a service, over gRPC and in process alike: a list of named links whose
// order is checked when the chain is built.
//
// It may import everything below the transports.
package interceptor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/kneo-go/kneo/internal/accesslog"
	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// Keys looks up recorded idempotency keys; the store does.
type Keys interface {
	// Idempotency returns the record of a key, or store.ErrNotFound.
	Idempotency(ctx context.Context, scope, key string) (run.IdempotencyRecord, error)
}

// Options are the parts the links work with. Contract, Codec, Authenticator, Validator, Keys and Logger are required.
type Options struct {
	Contract      *contract.Contract
	Codec         *wirejson.Codec
	Authenticator *auth.Authenticator
	Validator     *validate.Validator
	Keys          Keys
	// Logger gets what no caller may see: panics and causes of internal errors.
	Logger *slog.Logger
	// AccessLog writes one line per call that came over gRPC; nil writes none.
	AccessLog *accesslog.Log
	// Tracer and Propagator make spans; nil makes none.
	Tracer     trace.TracerProvider
	Propagator propagation.TextMapPropagator
	// MaxBytes bounds a request message; 0 does not.
	MaxBytes int
	// Observe is told about every answered call, with the name of its gRPC code.
	Observe func(method, code string, took time.Duration)
	// ObserveKey is told what an idempotency key meant: first, replay, conflict or in_progress.
	ObserveKey func(outcome string)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Names of the links in their order, outermost first.
const (
	Recover     = "recover"
	RequestID   = "requestid"
	Trace       = "trace"
	Log         = "log"
	Metrics     = "metrics"
	Limits      = "limits"
	Authn       = "authn"
	Scope       = "scope"
	Shape       = "shape"
	Validate    = "validate"
	Idempotency = "idempotency"
	ErrMap      = "errmap"
)

// call is what a link knows about the call besides its context.
type call struct {
	name   string
	method *contract.Method // nil for the methods of grpc itself
}

// link is one element of the chain. around wraps the rest of the call; message looks at each message that the client sends, reply at
// the answer of a plain call; unary, when set, replaces them all for plain calls.
type link struct {
	name    string
	after   []string
	around  func(ctx context.Context, c *call, next func(context.Context) error) error
	message func(ctx context.Context, c *call, m any) error
	reply   func(ctx context.Context, m any)
	unary   func(ctx context.Context, c *call, req any, next grpc.UnaryHandler) (any, error)
}

// Chain is a checked list of links.
type Chain struct {
	links  []link
	unary  []grpc.UnaryServerInterceptor
	stream []grpc.StreamServerInterceptor
}

// New builds the chain in the order of the package's constants.
func New(o Options) (*Chain, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &links{o}
	return build(o.Contract, []link{
		{name: Recover, around: l.recover},
		{name: RequestID, after: []string{Recover}, around: l.requestID},
		{name: Trace, after: []string{RequestID}, around: l.trace},
		{name: Log, after: []string{RequestID, Trace}, around: l.log, message: l.note, reply: l.noteReply},
		{name: Metrics, after: []string{Recover}, around: l.metrics},
		{name: Limits, after: []string{Log, Metrics}, message: l.limits},
		{name: Authn, after: []string{Limits}, around: l.authn},
		{name: Scope, after: []string{Authn}, around: l.scope},
		{name: Shape, after: []string{Scope}, around: l.shape},
		{name: Validate, after: []string{Shape}, message: l.validate},
		{name: Idempotency, after: []string{Authn, Validate}, unary: l.idempotency},
		{name: ErrMap, after: []string{Idempotency}, around: l.errmap},
	})
}

func build(c *contract.Contract, list []link) (*Chain, error) {
	chain := &Chain{links: list}
	methods := newCalls(c)
	var seen []string
	for _, l := range list {
		for _, before := range l.after {
			if !slices.Contains(seen, before) {
				return nil, fmt.Errorf("interceptor: %s must come after %s", l.name, before)
			}
		}
		if slices.Contains(seen, l.name) {
			return nil, fmt.Errorf("interceptor: %s is there twice", l.name)
		}
		seen = append(seen, l.name)
		chain.unary = append(chain.unary, unary(methods, l))
		chain.stream = append(chain.stream, stream(methods, l))
	}
	return chain, nil
}

// Names returns the links, outermost first.
func (c *Chain) Names() []string {
	names := make([]string, len(c.links))
	for i, l := range c.links {
		names[i] = l.name
	}
	return names
}

// Unary returns the interceptors of plain calls, outermost first.
func (c *Chain) Unary() []grpc.UnaryServerInterceptor { return c.unary }

// Stream returns the interceptors of streams, outermost first.
func (c *Chain) Stream() []grpc.StreamServerInterceptor { return c.stream }

// calls are the methods of the contract, prepared once.
type calls map[string]*call

func newCalls(c *contract.Contract) calls {
	all := calls{}
	if c == nil {
		return all
	}
	for _, m := range c.Methods() {
		all[m.FullName] = &call{name: m.FullName, method: m}
	}
	return all
}

func (c calls) of(name string) *call {
	if known, ok := c[name]; ok {
		return known
	}
	return &call{name: name}
}

func unary(c calls, l link) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		at := c.of(info.FullMethod)
		if l.unary != nil {
			return l.unary(ctx, at, req, handler)
		}
		var resp any
		next := func(ctx context.Context) error {
			if l.message != nil {
				if err := l.message(ctx, at, req); err != nil {
					return err
				}
			}
			var err error
			resp, err = handler(ctx, req)
			if l.reply != nil && err == nil {
				l.reply(ctx, resp)
			}
			return err
		}
		if l.around == nil {
			err := next(ctx)
			return resp, err
		}
		err := l.around(ctx, at, next)
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
}

func stream(c calls, l link) grpc.StreamServerInterceptor {
	return func(server any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		at := c.of(info.FullMethod)
		next := func(ctx context.Context) error {
			return handler(server, &wrapped{ServerStream: ss, ctx: ctx, call: at, message: l.message})
		}
		if l.around == nil {
			return next(ss.Context())
		}
		return l.around(ss.Context(), at, next)
	}
}

// wrapped is a stream with another context and a look at what the client sends.
type wrapped struct {
	grpc.ServerStream
	ctx     context.Context
	call    *call
	message func(ctx context.Context, c *call, m any) error
}

// Context returns the context of the call as the links before made it.
func (w *wrapped) Context() context.Context { return w.ctx }

// RecvMsg receives a message and lets the link check it.
func (w *wrapped) RecvMsg(m any) error {
	if err := w.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if w.message == nil {
		return nil
	}
	return w.message(w.ctx, w.call, m)
}

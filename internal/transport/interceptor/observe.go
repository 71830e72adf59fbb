package interceptor

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/internal/accesslog"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/requestid"
)

// links holds the options; its methods are the links.
type links struct{ Options }

// tracerName is the instrumentation scope of the spans.
const tracerName = "kneo_serv.platform"

// recover turns a panic into an internal error; the stack goes to the log.
func (l *links) recover(ctx context.Context, c *call, next func(context.Context) error) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		l.Logger.LogAttrs(ctx, slog.LevelError, "panic in a call", slog.String("rpc", c.name),
			slog.String("panic", redact.Text(fmt.Sprint(value))), slog.String("stack", string(debug.Stack())))
		err = errmap.ToStatus(problem.New(problem.Internal, "An internal error occurred."))
	}()
	return next(ctx)
}

// requestID accepts or makes the id of the call and tells it to the client.
func (l *links) requestID(ctx context.Context, _ *call, next func(context.Context) error) error {
	id := requestid.FromContext(ctx)
	if id == "" {
		id = requestid.Accept(header(ctx, requestid.Metadata))
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(requestid.Metadata, id)); err != nil {
		l.Logger.LogAttrs(ctx, slog.LevelDebug, "request id was not sent", slog.Any("error", err))
	}
	return next(requestid.NewContext(ctx, id))
}

// trace makes the span of the call, as a child of the caller's.
func (l *links) trace(ctx context.Context, c *call, next func(context.Context) error) error {
	if l.Tracer == nil {
		return next(ctx)
	}
	if l.Propagator != nil {
		md, _ := metadata.FromIncomingContext(ctx)
		ctx = l.Propagator.Extract(ctx, carrier(md))
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(c.name, "/"), "/")
	ctx, span := l.Tracer.Tracer(tracerName).Start(ctx, service+"/"+method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service), attribute.String("rpc.method", method),
		attribute.String("kneo.request_id", requestid.FromContext(ctx))))
	defer span.End()
	if r := accesslog.FromContext(ctx); r != nil && span.SpanContext().HasTraceID() {
		r.SetTrace(span.SpanContext().TraceID().String())
	}
	err := next(ctx)
	code := status.Code(err)
	span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(code)))
	if code == grpccodes.Internal || code == grpccodes.Unknown || code == grpccodes.Unavailable {
		span.SetStatus(codes.Error, code.String())
	}
	return err
}

// carrier reads trace context from metadata.
type carrier metadata.MD

var _ propagation.TextMapCarrier = carrier(nil)

// Get returns the first value of a key.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces a key.
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys lists the keys.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}

// log completes the record of an HTTP request, or writes the line of a call that came over gRPC.
func (l *links) log(ctx context.Context, c *call, next func(context.Context) error) error {
	record := accesslog.FromContext(ctx)
	native := record == nil
	if native {
		record = &accesslog.Record{RequestID: requestid.FromContext(ctx), Method: "GRPC", Path: c.name, UserAgent: header(ctx, "user-agent"), Start: l.Now()}
		if p, ok := peer.FromContext(ctx); ok {
			record.ClientIP = host(p.Addr.String())
		}
		if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
			record.SetTrace(span.TraceID().String())
		}
		ctx = accesslog.NewContext(ctx, record)
	}
	err := next(ctx)
	code := 200
	if err != nil {
		p := problemOf(err)
		code = errmap.Lookup(p.Code).HTTP
		if p.Code == problem.Internal {
			record.Fail(string(p.Code), err)
		}
	}
	if native {
		l.AccessLog.Write(ctx, record, code)
	}
	return err
}

// note lets the record of the request find ids in a message.
func (l *links) note(ctx context.Context, _ *call, m any) error {
	l.noteReply(ctx, m)
	return nil
}

func (l *links) noteReply(ctx context.Context, m any) {
	if r := accesslog.FromContext(ctx); r != nil {
		r.Note(m)
	}
}

func problemOf(err error) *problem.Error {
	if p := problem.As(err); p != nil {
		return p
	}
	return errmap.FromStatus(status.Convert(errmap.ToStatus(err)))
}

func host(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i > 0 {
		return strings.Trim(addr[:i], "[]")
	}
	return addr
}

// metrics reports the call.
func (l *links) metrics(ctx context.Context, c *call, next func(context.Context) error) error {
	if l.Observe == nil {
		return next(ctx)
	}
	start := l.Now()
	err := next(ctx)
	name := c.name
	if c.method == nil {
		name = "other"
	}
	l.Observe(name, status.Code(err).String(), l.Now().Sub(start))
	return err
}

// header returns the first value of a metadata key.
func header(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

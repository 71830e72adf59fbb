// Package accesslog writes one line per request, whichever transport it came by.
//
// It imports internal/redact and the protobuf runtime.
package accesslog

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/redact"
)

// Record is what is known about one request. Set the exported fields before the request is handled; the methods may be called while it is.
type Record struct {
	RequestID, Method, Path, ClientIP, UserAgent string
	Start                                        time.Time

	mu                             sync.Mutex
	runID, continuationID, traceID string
	kind                           string
	cause                          error
}

// SetTrace notes the trace of the request.
func (r *Record) SetTrace(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traceID = id
}

// Fail notes an error that the caller is not told about, under its machine readable kind.
func (r *Record) Fail(kind string, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kind, r.cause = kind, cause
}

// Note looks for the ids of a run and a human task in a request or response message.
func (r *Record) Note(m any) {
	message, ok := m.(proto.Message)
	if !ok || message == nil {
		return
	}
	p := message.ProtoReflect()
	if !p.IsValid() {
		return
	}
	run, task := text(p, "run_id"), text(p, "continuation_id")
	r.mu.Lock()
	defer r.mu.Unlock()
	if run != "" {
		r.runID = run
	}
	if task != "" {
		r.continuationID = task
	}
}

func text(m protoreflect.Message, name protoreflect.Name) string {
	f := m.Descriptor().Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return ""
	}
	return m.Get(f).String()
}

// Log writes records. A nil Log writes nothing.
type Log struct {
	logger *slog.Logger
	level  slog.Level
	now    func() time.Time
}

// New returns a log that writes at the given level.
func New(logger *slog.Logger, level slog.Level, now func() time.Time) *Log {
	return &Log{logger: logger, level: level, now: now}
}

// Write writes the line of an answered request. Keys are sorted; what is unknown is left out.
func (l *Log) Write(ctx context.Context, r *Record, status int) {
	if l == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	attrs := make([]slog.Attr, 0, 14)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("client_ip", r.ClientIP)
	add("continuation_id", r.continuationID)
	attrs = append(attrs, slog.Float64("duration_ms", math.Round(l.now().Sub(r.Start).Seconds()*1e6)/1e3))
	add("error", r.kind)
	attrs = append(attrs, slog.String("event", "http_request"), slog.String("logger", "kneo_serv.service"))
	if r.cause != nil {
		add("message", redact.Paths(redact.Text(r.cause.Error())))
	}
	attrs = append(attrs, slog.String("method", r.Method), slog.String("path", r.Path), slog.String("request_id", r.RequestID))
	add("run_id", r.runID)
	attrs = append(attrs, slog.Int("status_code", status))
	add("trace_id", r.traceID)
	add("user_agent", r.UserAgent)
	l.logger.LogAttrs(ctx, l.level, "http_request", attrs...)
}

type contextKey struct{}

// NewContext returns a context that carries the record of the request.
func NewContext(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, contextKey{}, r)
}

// FromContext returns the record of the request, or nil.
func FromContext(ctx context.Context) *Record {
	r, _ := ctx.Value(contextKey{}).(*Record)
	return r
}

// Package telemetry sets up what an operator sees: the log (slog, one JSON object per line, redacted), the Prometheus metrics with the names of
// the compatible service, and OpenTelemetry traces. It imports internal/redact,
// internal/requestid and the telemetry libraries only.
package telemetry

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/requestid"
)

// Level turns a level name of KNEO_SERV_LOG_LEVEL into a slog level. Unknown names mean INFO.
func Level(name string) slog.Level {
	switch name {
	case "DEBUG", "NOTSET":
		return slog.LevelDebug
	case "WARNING", "WARN":
		return slog.LevelWarn
	case "ERROR":
		return slog.LevelError
	case "CRITICAL", "FATAL":
		return slog.LevelError + 4
	default:
		return slog.LevelInfo
	}
}

// NewLogger returns a logger that writes one JSON object per record, or one line of text, with secrets and personal data in messages and text
// attributes hidden. Records get the ids of the request and the trace they belong to. What is hidden here is hidden from also, too.
func NewLogger(w io.Writer, level slog.Level, text bool, also ...slog.Handler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	var inner slog.Handler = slog.NewJSONHandler(w, o)
	if text {
		inner = slog.NewTextHandler(w, o)
	}
	for _, h := range also {
		inner = both{inner, h}
	}
	return slog.New(&redacting{inner: inner})
}

// redacting hides sensitive attributes before the inner handler sees them.
type redacting struct{ inner slog.Handler }

// Enabled asks the inner handler.
func (h *redacting) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// Handle redacts the record and passes it on.
func (h *redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, redact.Text(r.Message), r.PC)
	requestID, traceID := requestid.FromContext(ctx), ""
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		traceID = span.TraceID().String()
	}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "request_id":
			requestID = ""
		case "trace_id":
			traceID = ""
		}
		clean.AddAttrs(redactAttr(a))
		return true
	})
	if requestID != "" {
		clean.AddAttrs(slog.String("request_id", requestID))
	}
	if traceID != "" {
		clean.AddAttrs(slog.String("trace_id", traceID))
	}
	return h.inner.Handle(ctx, clean)
}

// WithAttrs redacts the attributes once.
func (h *redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	return &redacting{inner: h.inner.WithAttrs(clean)}
}

// WithGroup opens a group.
func (h *redacting) WithGroup(name string) slog.Handler {
	return &redacting{inner: h.inner.WithGroup(name)}
}

func redactAttr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	if redact.Key(a.Key) {
		return slog.String(a.Key, redact.Mask)
	}
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, redact.Text(v.String()))
	case slog.KindGroup:
		group := v.Group()
		clean := make([]slog.Attr, len(group))
		for i, g := range group {
			clean[i] = redactAttr(g)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(clean...)}
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, redact.Text(err.Error()))
		}
	}
	return a
}

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// Logs sends log records by OTLP.
type Logs struct {
	provider *sdklog.LoggerProvider
}

// NewLogs returns a pipeline, or nil when log records are not sent.
func NewLogs(ctx context.Context, enabled bool, version string) (*Logs, error) {
	if !enabled || !exported(signalLogs) {
		return nil, nil //nolint:nilnil // no pipeline is not an error
	}
	exporter, err := logExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry: log exporter: %w", err)
	}
	res, err := newResource(ctx, version)
	if err != nil {
		return nil, err
	}
	return &Logs{sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))}, nil
}

// Handler returns a handler that sends what it gets; it expects records that are redacted already.
func (l *Logs) Handler(level slog.Level) slog.Handler {
	return &logSender{logger: l.provider.Logger("kneo"), level: level}
}

// Shutdown sends what is pending and stops. A nil pipeline has nothing to stop.
func (l *Logs) Shutdown(ctx context.Context) error {
	if l == nil {
		return nil
	}
	return l.provider.Shutdown(ctx)
}

// logSender is a slog.Handler on top of an OpenTelemetry logger.
type logSender struct {
	logger otellog.Logger
	level  slog.Level
	prefix string
	attrs  []attribute.KeyValue
}

// Enabled compares with the configured level.
func (h *logSender) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle sends one record. Trace and span come from the context.
func (h *logSender) Handle(ctx context.Context, r slog.Record) error {
	var out otellog.Record
	out.SetTimestamp(r.Time)
	out.SetBody(attribute.StringValue(r.Message))
	out.SetSeverity(severity(r.Level))
	out.SetSeverityText(r.Level.String())
	out.AddAttributes(h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttributes(h.convert(a)...)
		return true
	})
	h.logger.Emit(ctx, out)
	return nil
}

// WithAttrs keeps attributes for later records.
func (h *logSender) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append([]attribute.KeyValue(nil), h.attrs...)
	for _, a := range attrs {
		next.attrs = append(next.attrs, h.convert(a)...)
	}
	return &next
}

// WithGroup puts the name in front of later attributes.
func (h *logSender) WithGroup(name string) slog.Handler {
	next := *h
	next.prefix += name + "."
	return &next
}

// convert flattens groups into dotted names.
func (h *logSender) convert(a slog.Attr) []attribute.KeyValue {
	key, v := h.prefix+a.Key, a.Value.Resolve()
	switch v.Kind() {
	case slog.KindBool:
		return []attribute.KeyValue{attribute.Bool(key, v.Bool())}
	case slog.KindInt64:
		return []attribute.KeyValue{attribute.Int64(key, v.Int64())}
	case slog.KindFloat64:
		return []attribute.KeyValue{attribute.Float64(key, v.Float64())}
	case slog.KindGroup:
		inner := *h
		if a.Key != "" {
			inner.prefix = key + "."
		}
		var out []attribute.KeyValue
		for _, g := range v.Group() {
			out = append(out, inner.convert(g)...)
		}
		return out
	}
	return []attribute.KeyValue{attribute.String(key, v.String())}
}

func severity(level slog.Level) otellog.Severity {
	switch {
	case level < slog.LevelInfo:
		return otellog.SeverityDebug
	case level < slog.LevelWarn:
		return otellog.SeverityInfo
	case level < slog.LevelError:
		return otellog.SeverityWarn
	case level < slog.LevelError+4:
		return otellog.SeverityError
	default:
		return otellog.SeverityFatal
	}
}

// both is a handler that passes records to two others.
type both struct{ first, second slog.Handler }

// Enabled asks both.
func (b both) Enabled(ctx context.Context, level slog.Level) bool {
	return b.first.Enabled(ctx, level) || b.second.Enabled(ctx, level)
}

// Handle passes the record on.
func (b both) Handle(ctx context.Context, r slog.Record) error {
	var errs []error
	for _, h := range []slog.Handler{b.first, b.second} {
		if h.Enabled(ctx, r.Level) {
			errs = append(errs, h.Handle(ctx, r.Clone()))
		}
	}
	return errors.Join(errs...)
}

// WithAttrs passes the attributes on.
func (b both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return both{b.first.WithAttrs(attrs), b.second.WithAttrs(attrs)}
}

// WithGroup passes the group on.
func (b both) WithGroup(name string) slog.Handler {
	return both{b.first.WithGroup(name), b.second.WithGroup(name)}
}

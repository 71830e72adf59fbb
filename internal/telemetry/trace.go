package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TracerName is the instrumentation scope of the platform's spans.
const TracerName = "kneo_serv.platform"

// Tracing is the trace pipeline of one process.
type Tracing struct {
	// Provider makes tracers; it records nothing when tracing is off.
	Provider trace.TracerProvider
	// Propagator reads and writes W3C trace context and baggage.
	Propagator propagation.TextMapPropagator

	shutdown func(context.Context) error
}

// NewTracing returns a pipeline. When enabled, spans go to the OTLP exporter that the standard OTEL_* variables describe.
func NewTracing(ctx context.Context, enabled bool, version string) (*Tracing, error) {
	t := &Tracing{
		Provider:   noop.NewTracerProvider(),
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		shutdown:   func(context.Context) error { return nil },
	}
	if !enabled || !exported(signalTraces) {
		return t, nil
	}
	exporter, err := traceExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry: trace exporter: %w", err)
	}
	res, err := newResource(ctx, version)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	t.Provider, t.shutdown = provider, provider.Shutdown
	return t, nil
}

// Shutdown sends what is pending and stops the pipeline.
func (t *Tracing) Shutdown(ctx context.Context) error { return t.shutdown(ctx) }

package agent

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kneo-go/kneo/internal/redact"
)

// Meters is an Observer that records the client metrics of OpenTelemetry's semantic conventions for generative AI: the duration of every model call and
// the tokens it reports.
type Meters struct {
	duration metric.Float64Histogram
	tokens   metric.Int64Histogram
}

// NewMeters returns an Observer on a provider.
func NewMeters(p metric.MeterProvider) (*Meters, error) {
	m := p.Meter(ScopeName)
	duration, err := m.Float64Histogram("gen_ai.client.operation.duration", metric.WithUnit("s"), metric.WithDescription("GenAI operation duration."),
		metric.WithExplicitBucketBoundaries(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92))
	if err != nil {
		return nil, err
	}
	tokens, err := m.Int64Histogram("gen_ai.client.token.usage", metric.WithUnit("{token}"), metric.WithDescription("Number of input and output tokens used."),
		metric.WithExplicitBucketBoundaries(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864))
	if err != nil {
		return nil, err
	}
	return &Meters{duration, tokens}, nil
}

// Agent implements Observer.
func (*Meters) Agent(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(Done) {}
}

// Model implements Observer.
func (m *Meters) Model(ctx context.Context, o Observation) (context.Context, func(Done)) {
	start := time.Now()
	return ctx, func(d Done) {
		common := []attribute.KeyValue{
			attribute.String("gen_ai.operation.name", "chat"), attribute.String("gen_ai.provider.name", system(o.Provider)),
			attribute.String("gen_ai.request.model", redact.Text(o.Model)),
		}
		if d.Model != "" {
			common = append(common, attribute.String("gen_ai.response.model", d.Model))
		}
		timed := common[:len(common):len(common)]
		if d.Err != nil {
			timed = append(timed, attribute.String("error.type", outcome(d)))
		}
		m.duration.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(timed...))
		if d.Usage == nil {
			return
		}
		spent := func(kind string, n int64) {
			m.tokens.Record(ctx, n, metric.WithAttributes(common...), metric.WithAttributes(attribute.String("gen_ai.token.type", kind)))
		}
		spent("input", d.Usage.InputTokens)
		spent("output", d.Usage.OutputTokens)
	}
}

// Tool implements Observer.
func (*Meters) Tool(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(Done) {}
}

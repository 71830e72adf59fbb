package telemetry

import (
	"context"
	"fmt"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// MetricExport sends the instruments of a process by OTLP, under the names of /metrics.
type MetricExport struct {
	provider *sdkmetric.MeterProvider
}

// NewMetricExport returns a pipeline, or nil when metrics are not sent. read gets the numbers that are read from the store, as for a scrape.
func NewMetricExport(ctx context.Context, enabled bool, version string, m *Metrics, read func(ctx context.Context) (QueueNumbers, error)) (*MetricExport, error) {
	if !enabled || !exported(signalMetrics) {
		return nil, nil //nolint:nilnil // no pipeline is not an error
	}
	exporter, err := metricExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry: metric exporter: %w", err)
	}
	res, err := newResource(ctx, version)
	if err != nil {
		return nil, err
	}
	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(&bridge{m: m, read: read, start: time.Now()}))
	return &MetricExport{sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(reader))}, nil
}

// Provider makes meters whose values are sent too. A nil pipeline makes meters that record nothing.
func (e *MetricExport) Provider() metric.MeterProvider {
	if e == nil {
		return noop.NewMeterProvider()
	}
	return e.provider
}

// Shutdown sends the last values and stops. A nil pipeline has nothing to stop.
func (e *MetricExport) Shutdown(ctx context.Context) error {
	if e == nil {
		return nil
	}
	return e.provider.Shutdown(ctx)
}

// bridge turns the registry into the data model of OpenTelemetry.
type bridge struct {
	m     *Metrics
	read  func(ctx context.Context) (QueueNumbers, error)
	start time.Time
}

// Produce implements sdkmetric.Producer.
func (b *bridge) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	if n, err := b.read(ctx); err == nil {
		b.m.queueNumbers(n)
	}
	families, err := b.m.registry.Gather()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	list := make([]metricdata.Metrics, 0, len(families))
	for _, f := range families {
		if data := b.family(f, now); data != nil {
			list = append(list, metricdata.Metrics{Name: f.GetName(), Description: f.GetHelp(), Data: data})
		}
	}
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: TracerName}, Metrics: list}}, nil
}

func (b *bridge) family(f *dto.MetricFamily, now time.Time) metricdata.Aggregation {
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return metricdata.Sum[float64]{IsMonotonic: true, Temporality: metricdata.CumulativeTemporality, DataPoints: b.points(f, now)}
	case dto.MetricType_GAUGE:
		return metricdata.Gauge[float64]{DataPoints: b.points(f, now)}
	case dto.MetricType_HISTOGRAM:
		return metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: b.histograms(f, now)}
	}
	return nil
}

func (b *bridge) points(f *dto.MetricFamily, now time.Time) []metricdata.DataPoint[float64] {
	out := make([]metricdata.DataPoint[float64], 0, len(f.GetMetric()))
	for _, m := range f.GetMetric() {
		value := m.GetGauge().GetValue()
		if m.GetCounter() != nil {
			value = m.GetCounter().GetValue()
		}
		out = append(out, metricdata.DataPoint[float64]{Attributes: labels(m), StartTime: b.start, Time: now, Value: value})
	}
	return out
}

func (b *bridge) histograms(f *dto.MetricFamily, now time.Time) []metricdata.HistogramDataPoint[float64] {
	out := make([]metricdata.HistogramDataPoint[float64], 0, len(f.GetMetric()))
	for _, m := range f.GetMetric() {
		h := m.GetHistogram()
		p := metricdata.HistogramDataPoint[float64]{Attributes: labels(m), StartTime: b.start, Time: now, Count: h.GetSampleCount(), Sum: h.GetSampleSum()}
		before := uint64(0)
		for _, bucket := range h.GetBucket() {
			p.Bounds = append(p.Bounds, bucket.GetUpperBound())
			p.BucketCounts = append(p.BucketCounts, bucket.GetCumulativeCount()-before)
			before = bucket.GetCumulativeCount()
		}
		p.BucketCounts = append(p.BucketCounts, h.GetSampleCount()-before)
		out = append(out, p)
	}
	return out
}

func labels(m *dto.Metric) attribute.Set {
	pairs := make([]attribute.KeyValue, 0, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		pairs = append(pairs, attribute.String(l.GetName(), l.GetValue()))
	}
	return attribute.NewSet(pairs...)
}

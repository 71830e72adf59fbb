package replica

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Collector receives OpenTelemetry data and keeps it.
type Collector struct {
	// Addr is where it listens.
	Addr string

	mu      sync.Mutex
	spans   []*spanpb.Span
	metrics map[string]bool
	logs    int
	text    strings.Builder
}

// NewCollector returns a collector that ends with the test.
func NewCollector(t testing.TB) *Collector {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{Addr: l.Addr().String(), metrics: map[string]bool{}}
	s := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(s, traceReceiver{c: c})
	metricspb.RegisterMetricsServiceServer(s, metricReceiver{c: c})
	logspb.RegisterLogsServiceServer(s, logReceiver{c: c})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return c
}

// Env are the settings that send everything here soon.
func (c *Collector) Env() map[string]string {
	return map[string]string{
		"KNEO_SERV_OTEL_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + c.Addr, "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100",
		"OTEL_METRIC_EXPORT_INTERVAL": "200",
	}
}

// Spans are all spans so far.
func (c *Collector) Spans() []*spanpb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*spanpb.Span(nil), c.spans...)
}

// Metric tells whether a metric of that name came.
func (c *Collector) Metric(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metrics[name]
}

// Logs is how many log records came.
func (c *Collector) Logs() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logs
}

// Text is everything that came, as text.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *Collector) keep(m proto.Message) {
	if text, err := protojson.Marshal(m); err == nil {
		c.text.Write(text)
		c.text.WriteByte('\n')
	}
}

type traceReceiver struct {
	tracepb.UnimplementedTraceServiceServer
	c *Collector
}

// Export implements the OTLP service.
func (r traceReceiver) Export(_ context.Context, in *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, resource := range in.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.c.spans = append(r.c.spans, scope.GetSpans()...)
		}
	}
	r.c.keep(in)
	return &tracepb.ExportTraceServiceResponse{}, nil
}

type metricReceiver struct {
	metricspb.UnimplementedMetricsServiceServer
	c *Collector
}

// Export implements the OTLP service.
func (r metricReceiver) Export(_ context.Context, in *metricspb.ExportMetricsServiceRequest) (*metricspb.ExportMetricsServiceResponse, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, resource := range in.GetResourceMetrics() {
		for _, scope := range resource.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				r.c.metrics[m.GetName()] = true
			}
		}
	}
	r.c.keep(in)
	return &metricspb.ExportMetricsServiceResponse{}, nil
}

type logReceiver struct {
	logspb.UnimplementedLogsServiceServer
	c *Collector
}

// Export implements the OTLP service.
func (r logReceiver) Export(_ context.Context, in *logspb.ExportLogsServiceRequest) (*logspb.ExportLogsServiceResponse, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, resource := range in.GetResourceLogs() {
		for _, scope := range resource.GetScopeLogs() {
			r.c.logs += len(scope.GetLogRecords())
		}
	}
	r.c.keep(in)
	return &logspb.ExportLogsServiceResponse{}, nil
}

// Eventually waits until a condition holds and fails the test when it does not in time.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-limit.C:
			t.Fatalf("never: %s", what)
		case <-look.C:
		}
	}
}

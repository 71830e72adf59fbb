package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Signals of OpenTelemetry, as they stand in the names of the standard variables.
const (
	signalTraces  = "TRACES"
	signalMetrics = "METRICS"
	signalLogs    = "LOGS"
)

// exported tells whether a signal is sent: OTEL_SDK_DISABLED and OTEL_<SIGNAL>_EXPORTER=none turn it off.
func exported(signal string) bool {
	return !strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") && !strings.EqualFold(os.Getenv("OTEL_"+signal+"_EXPORTER"), "none")
}

// overHTTP tells whether a signal is sent by HTTP instead of gRPC (OTEL_EXPORTER_OTLP_PROTOCOL and its variants per signal).
func overHTTP(signal string) (bool, error) {
	protocol := os.Getenv("OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL")
	if protocol == "" {
		protocol = os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "grpc":
		return false, nil
	case "http/protobuf":
		return true, nil
	}
	return false, fmt.Errorf("telemetry: OTEL_EXPORTER_OTLP_PROTOCOL %q is not grpc or http/protobuf", protocol)
}

func newResource(ctx context.Context, version string) (*resource.Resource, error) {
	res, err := resource.New(ctx, resource.WithAttributes(serviceAttributes(version)...), resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithProcessPID(), resource.WithHost())
	if err != nil {
		return nil, fmt.Errorf("telemetry: resource: %w", err)
	}
	return res, nil
}

// traceExporter, metricExporter and logExporter read the standard variables and connect lazily, so that an absent collector delays nothing.
func traceExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	http, err := overHTTP(signalTraces)
	if err != nil {
		return nil, err
	}
	if http {
		return otlptracehttp.New(ctx)
	}
	return otlptracegrpc.New(ctx)
}

func metricExporter(ctx context.Context) (sdkmetric.Exporter, error) {
	http, err := overHTTP(signalMetrics)
	if err != nil {
		return nil, err
	}
	if http {
		return otlpmetrichttp.New(ctx)
	}
	return otlpmetricgrpc.New(ctx)
}

func logExporter(ctx context.Context) (sdklog.Exporter, error) {
	http, err := overHTTP(signalLogs)
	if err != nil {
		return nil, err
	}
	if http {
		return otlploghttp.New(ctx)
	}
	return otlploggrpc.New(ctx)
}

// ReportErrors sends what goes wrong inside the exporters to the log. The library has one place for that in a process, so the last logger wins.
func ReportErrors(log *slog.Logger) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry could not be sent", "error", err)
	}))
}

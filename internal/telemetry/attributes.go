package telemetry

import "go.opentelemetry.io/otel/attribute"

// serviceAttributes name the service in every span; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override them.
func serviceAttributes(version string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("service.name", "kneo"), attribute.String("service.version", version)}
}

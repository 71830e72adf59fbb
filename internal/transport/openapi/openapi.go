// Package openapi writes the OpenAPI document of the HTTP interface from the descriptors of the contract, with the schema names under which the
// interface has always been published, and a page that shows it.
//
// It may import the contract and the protobuf runtime.
package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
)

// Options describe the document.
type Options struct {
	Contract *contract.Contract
	// Version is the version of the interface.
	Version string
	// Metrics says that /metrics is served.
	Metrics bool
}

// names are the published schema names of messages whose own name differs.
var names = map[protoreflect.Name]string{
	"ListAuditEventsResponse":         "AuditEventListResponse",
	"ListCheckpointsResponse":         "CheckpointListResponse",
	"ListEnvironmentPoliciesResponse": "EnvironmentPolicyListResponse",
	"PolicyPreviewResponse":           "EnvironmentPolicyPreviewResponse",
	"EnvironmentPolicy":               "EnvironmentPolicyRequest",
	"ListHumanTasksResponse":          "HumanTaskListResponse",
	"ListRunsResponse":                "RunListResponse",
	"RecoveryResponse":                "RunRecoveryResponse",
	"ReplayResponse":                  "RunReplayResponse",
	"TokenUsage":                      "RunUsage",
	"ListSkillsResponse":              "SkillsListResponse",
	"PolicyReportResponse":            "SpecPolicyReportResponse",
	"RunTraceResponse":                "TraceResponse",
}

// bodies are the published names of request bodies that share one message.
var bodies = map[string]string{
	"ValidateSpec": "SpecValidateRequest", "ExplainSpec": "SpecExplainRequest", "GraphSpec": "SpecGraphRequest", "ReportSpecPolicy": "SpecPolicyReportRequest",
}

// additions are the first path segments after the run id that have no form without /v1: they are younger than that form.
var additions = []string{"wait", "events"}

//go:embed descriptions.json
var descriptionsJSON []byte

//go:embed docs.html
var docs []byte

type builder struct {
	contract *contract.Contract
	texts    map[string]string
	schemas  map[string]object
	requests map[protoreflect.FullName]bool
}

// Document writes the document as compact JSON. The same contract gives the same bytes.
func Document(o Options) ([]byte, error) {
	b := &builder{contract: o.Contract, schemas: map[string]object{}, requests: map[protoreflect.FullName]bool{}}
	if err := json.Unmarshal(descriptionsJSON, &b.texts); err != nil {
		return nil, fmt.Errorf("openapi: descriptions: %w", err)
	}
	for _, r := range o.Contract.Routes() {
		if r.BodyMessage != nil {
			b.markRequest(r.BodyMessage)
		}
	}
	paths := b.paths()
	paths = append(paths, b.events())
	if o.Metrics {
		paths = append(paths, member{"/metrics", object{{"get", object{
			{"tags", []string{"metrics"}},
			{"summary", "Metrics in the text format of Prometheus."},
			{"operationId", "metrics"},
			{"responses", object{{"200", object{{"description", "The metrics."}, {"content", object{{"text/plain", object{{"schema", object{{"type", "string"}}}}}}}}}}},
		}}}})
	}
	b.errorSchemas()
	doc, err := json.Marshal(object{
		{"openapi", "3.1.0"},
		{"info", object{
			{"title", "Kneo Agent Platform API"},
			{"description", "Runs AI agents and workflows. The same services are available over gRPC."},
			{"version", o.Version},
		}},
		{"paths", paths},
		{"components", object{{"schemas", b.sortedSchemas()}, {"securitySchemes", object{
			{"bearer", object{{"type", "http"}, {"scheme", "bearer"}}},
			{"apiKey", object{{"type", "apiKey"}, {"in", "header"}, {"name", "X-Kneo-Api-Key"}}},
		}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return doc, nil
}

// markRequest notes the messages that clients send: they refuse unknown fields and require only what has no default.
func (b *builder) markRequest(m protoreflect.MessageDescriptor) {
	if b.requests[m.FullName()] || isRaw(m) {
		return
	}
	b.requests[m.FullName()] = true
	for i := range m.Fields().Len() {
		if nested := m.Fields().Get(i).Message(); nested != nil {
			b.markRequest(nested)
		}
	}
}

func (b *builder) paths() object {
	var paths object
	at := map[string]int{}
	add := func(path, verb string, operation object) {
		i, ok := at[path]
		if !ok {
			i = len(paths)
			at[path] = i
			paths = append(paths, member{path, object{}})
		}
		operations, _ := paths[i].value.(object)
		paths[i].value = append(operations, member{strings.ToLower(verb), operation})
	}
	for _, r := range b.contract.Routes() {
		add(r.Template, r.Verb, b.operation(r, ""))
	}
	for _, r := range b.contract.Routes() {
		if last := r.Template[strings.LastIndexByte(r.Template, '/')+1:]; !slices.Contains(additions, last) {
			add(strings.TrimPrefix(r.Template, "/v1"), r.Verb, b.operation(r, "_unversioned"))
		}
	}
	return paths
}

// tag groups an operation by the first segment of its path; probes have a group of their own.
func tag(r *contract.Route) string {
	if r.Method.Public {
		return "health"
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(r.Template, "/v1/"), "/")
	return first
}

func (b *builder) operation(r *contract.Route, suffix string) object {
	m := r.Method
	summary, description, _ := strings.Cut(b.texts[m.Service+"."+m.Name], "\n")
	operation := object{{"tags", []string{tag(r)}}, {"summary", summary}}
	if description = strings.TrimSpace(description); description != "" {
		operation = append(operation, member{"description", description})
	}
	operation = append(operation, member{"operationId", snake(m.Name) + suffix})
	if parameters := b.parameters(r); len(parameters) > 0 {
		operation = append(operation, member{"parameters", parameters})
	}
	if r.BodyMessage != nil {
		operation = append(operation, member{"requestBody", object{
			{"required", true}, {"content", jsonContent(b.bodySchema(r))},
		}})
	}
	operation = append(operation, member{"responses", b.responses(r)})
	if !m.Public {
		operation = append(operation, member{"security", []object{{{"bearer", []string{}}}, {{"apiKey", []string{}}}}})
	}
	return operation
}

func (b *builder) parameters(r *contract.Route) []object {
	var out []object
	fields := r.Method.Input.Fields()
	add := func(name, in string) {
		field := fields.ByName(protoreflect.Name(name))
		p := object{{"name", name}, {"in", in}, {"required", in == "path"}}
		if text := b.texts[string(r.Method.Input.Name())+"."+name]; text != "" {
			p = append(p, member{"description", text})
		}
		out = append(out, append(p, member{"schema", b.fieldSchema(field)}))
	}
	for _, name := range r.PathParams {
		add(name, "path")
	}
	for _, name := range r.Query {
		add(name, "query")
	}
	if r.Method.IdempotencyScope != "" {
		out = append(out, object{
			{"name", "Idempotency-Key"},
			{"in", "header"},
			{"required", false},
			{"description", "Repeating a request with the same key answers with the first result instead of executing it again."},
			{"schema", nullable(object{{"type", "string"}, {"minLength", 1}, {"maxLength", 256}})},
		})
	}
	return out
}

func (b *builder) responses(r *contract.Route) object {
	out := object{{"200", object{{"description", "Success."}, {"content", jsonContent(b.messageRef(r.Method.Output))}}}}
	if r.BodyMessage != nil && r.BodyMessage.Fields().ByName("async_mode") != nil {
		out = append(out, member{"202", object{{"description", "The run was queued."}, {"content", jsonContent(b.messageRef(r.Method.Output))}}})
	}
	failures := []string{"400", "401", "403", "404", "409", "413", "424", "500", "503"}
	if r.Method.Public {
		failures = []string{"503"}
	}
	for _, status := range failures {
		out = append(out, member{status, object{{"description", meanings[status]}, {"content", jsonContent(ref("ErrorResponse"))}}})
	}
	if !r.Method.Public {
		out = append(out, member{"422", object{{"description", "The request does not fit the contract."}, {"content", jsonContent(object{{"anyOf", []object{ref("HTTPValidationError"), ref("ErrorResponse")}}})}}})
	}
	return out
}

var meanings = map[string]string{
	"400": "A value is wrong.", "401": "No valid API key.", "403": "The key lacks a scope, or a policy refuses the spec.", "404": "Not found.",
	"409": "The state forbids it, or the same thing is being worked on.", "413": "The body is too large.", "424": "A secret is not configured.",
	"500": "Internal error.", "503": "The service cannot do it now; retry later.",
}

// events is the one path beside the contract: a stream that is not JSON.
func (b *builder) events() member {
	text := object{{"type", "string"}}
	return member{"/v1/runs/{run_id}/events", object{{"get", object{
		{"tags", []string{"runs"}},
		{"summary", "Follows a run as server-sent events."},
		{"description", strings.TrimSpace(b.texts["EventService.WatchRun"])},
		{"operationId", "watch_run"},
		{"parameters", []object{
			{{"name", "run_id"}, {"in", "path"}, {"required", true}, {"schema", text}},
			{{"name", "after"}, {"in", "query"}, {"required", false}, {"schema", object{{"type", "integer"}, {"minimum", 0}}}},
			{{"name", "Last-Event-ID"}, {"in", "header"}, {"required", false}, {"schema", text}},
		}},
		{"responses", object{
			{"200", object{{"description", "The events."}, {"content", object{{"text/event-stream", object{{"schema", text}}}}}}},
			{"204", object{{"description", "The run has ended and there are no further events."}}},
			{"404", object{{"description", meanings["404"]}, {"content", jsonContent(ref("ErrorResponse"))}}},
		}},
	}}}}
}

// Handler serves a document.
func Handler(document []byte) http.Handler { return static("application/json", document) }

// Docs serves a page that shows the document at /openapi.json. It loads nothing from elsewhere.
func Docs() http.Handler { return static("text/html; charset=utf-8", docs) }

func static(contentType string, text []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'")
		// A client that went away is noticed by the server below.
		_, _ = w.Write(text)
	})
}

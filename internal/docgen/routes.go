package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
)

const routesHead = `# API

Every method of the contract (` + "`api/kneo/v1`" + `), with its REST route. This page is written from the contract itself (` + "`make docs`" + `). Every route exists
without ` + "`/v1`" + ` too. gRPC and REST share one port; gRPC reflection and the standard health service are on. ` + "`/openapi.json`" + ` is the OpenAPI document, ` + "`/docs`" + ` a
page for people.

- **Scope**: what the key must allow; public methods need none. Keys are sent as ` + "`Authorization: Bearer KEY`" + ` or ` + "`X-Kneo-Api-Key: KEY`" + `.
- **Idempotency**: the name under which an ` + "`Idempotency-Key`" + ` header (1–256 characters) is recorded. Repeating a call with its key gives the recorded
  answer and executes nothing twice. Methods without a name ignore the header.
- **Audit**: the event that a successful call writes.

Errors are ` + "`{\"detail\": {\"error\": CODE, \"message\": TEXT, …}}`" + `, or a list of violations for a request that breaks the contract (422). The codes are listed
in ` + "`api/kneo/v1/error.proto`" + `.

| Method | REST | Scope | Idempotency | Audit |
| --- | --- | --- | --- | --- |
`

// eventsRoute is served beside the contract's routes, because a stream of events is no JSON document.
const eventsRoute = "`GET /v1/runs/{run_id}/events` (server-sent events)"

// routes renders all methods.
func routes(facts *contract.Contract, said map[string]string) string {
	var b strings.Builder
	b.WriteString(routesHead)
	for _, m := range facts.Methods() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s |\n", name(m), anchor(name(m)), rest(m), scope(m), mark(m.IdempotencyScope), mark(m.AuditEvent))
	}
	for _, m := range facts.Methods() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n", name(m), said[name(m)], paragraph(m))
		fields(&b, facts, said, "Request", m.Input)
		fields(&b, facts, said, "Answer", m.Output)
	}
	b.WriteString("\n## Messages\n\nMessages that others contain.\n")
	for _, d := range parts(facts) {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", d.Name(), said[string(d.Name())])
		fields(&b, facts, said, "Fields of", d)
	}
	return b.String()
}

// parts lists the messages inside of requests and answers, each once, in the order in which they are met.
func parts(facts *contract.Contract) []protoreflect.MessageDescriptor {
	seen := map[protoreflect.FullName]bool{}
	for _, m := range facts.Methods() {
		seen[m.Input.FullName()], seen[m.Output.FullName()] = true, true
	}
	var out []protoreflect.MessageDescriptor
	var visit func(d protoreflect.MessageDescriptor)
	visit = func(d protoreflect.MessageDescriptor) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if f.IsMap() {
				f = f.MapValue()
			}
			inner := f.Message()
			if inner == nil || inner.Name() == "JsonObject" || inner.Name() == "JsonValue" {
				continue
			}
			if !seen[inner.FullName()] {
				seen[inner.FullName()] = true
				out = append(out, inner)
				visit(inner)
			}
		}
	}
	for _, m := range facts.Methods() {
		visit(m.Input)
		visit(m.Output)
	}
	return out
}

func name(m *contract.Method) string { return m.Service + "." + m.Name }

func anchor(heading string) string { return strings.ToLower(strings.ReplaceAll(heading, ".", "")) }

func mark(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + text + "`"
}

func scope(m *contract.Method) string {
	if m.Public {
		return "public"
	}
	return mark(m.RequiredScope)
}

func rest(m *contract.Method) string {
	if m.Service == "EventService" && m.Name == "WatchRun" {
		return eventsRoute
	}
	var out []string
	for _, r := range m.Routes {
		out = append(out, fmt.Sprintf("`%s %s`", r.Verb, r.Template))
	}
	if len(out) == 0 {
		return "gRPC only"
	}
	return strings.Join(out, ", ")
}

// paragraph says how the method is called.
func paragraph(m *contract.Method) string {
	text := fmt.Sprintf("gRPC `%s`", m.FullName)
	switch {
	case m.ClientStreaming && m.ServerStreaming:
		text += " (streams in both directions)"
	case m.ServerStreaming:
		text += " (streams its answers)"
	}
	return text + ", REST " + rest(m) + "."
}

func fields(b *strings.Builder, facts *contract.Contract, said map[string]string, title string, d protoreflect.MessageDescriptor) {
	if d.Fields().Len() == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s `%s`:\n\n| Field | Type | Rules | Meaning |\n| --- | --- | --- | --- |\n", title, d.Name())
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Name(), kind(f), rules(facts.Rules(f)), strings.ReplaceAll(said[string(d.Name())+"."+string(f.Name())], "|", "\\|"))
	}
}

func kind(f protoreflect.FieldDescriptor) string {
	text := f.Kind().String()
	switch {
	case f.IsMap():
		return "map of " + kind(f.MapValue())
	case f.Message() != nil:
		text = string(f.Message().Name())
	case f.Enum() != nil:
		text = string(f.Enum().Name())
	}
	switch text {
	case "JsonObject":
		text = "JSON object"
	case "JsonValue":
		text = "JSON value"
	}
	if f.IsList() {
		return "list of " + text
	}
	return text
}

func rules(r contract.Rules) string {
	var out []string
	if r.Required {
		out = append(out, "required")
	}
	if r.Nullable {
		out = append(out, "or null")
	}
	if r.Default != nil {
		out = append(out, fmt.Sprintf("default `%s`", r.Default))
	}
	if len(r.OneOf) > 0 {
		out = append(out, "one of `"+strings.Join(r.OneOf, "`, `")+"`")
	}
	if r.Minimum != nil {
		out = append(out, fmt.Sprintf("at least %d", *r.Minimum))
	}
	if r.Maximum != nil {
		out = append(out, fmt.Sprintf("at most %d", *r.Maximum))
	}
	if r.MinLength != nil {
		out = append(out, fmt.Sprintf("%d characters or more", *r.MinLength))
	}
	if r.MaxLength != nil {
		out = append(out, fmt.Sprintf("%d characters at most", *r.MaxLength))
	}
	if len(out) == 0 {
		return "–"
	}
	return strings.Join(out, ", ")
}

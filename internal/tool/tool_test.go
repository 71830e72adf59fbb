package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/tool"
)

func TestHost(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, host string }{
		{"https://Example.ORG./x", "example.org"},
		{"//host/x", "host"},
		{"ftp://a.b:21/", "a.b"},
		{"custom+scheme://inner/x", "inner"},
		{"https://allowed.org@evil.org/", "evil.org"},
		{"https://user:pw@evil.org:8443", "evil.org"},
		{`https:\\evil.org\x`, "evil.org"},
		{"https:/evil.org", "evil.org"},
		{"https:evil.org", "evil.org"},
		{"https:///evil.org", "evil.org"},
		{"  https://evil.org", "evil.org"},
		{"ht\ntps://ev\til.org", "evil.org"},
		{"https://ｅｖｉｌ。org", "evil.org"},
		{"https://ev%69l.org", "evil.org"},
		{"https://[::1]:80/x", "::1"},
		{"search see https://evil.org", ""},
		{"word", ""},
		{"", ""},
		{"a:b", ""},
		{"mailto:x@evil.org", ""},
		{"https: is a scheme", ""},
	}
	for _, tt := range tests {
		if host, ok := tool.Host(tt.text); ok != (tt.host != "") || ok && host != tt.host {
			t.Errorf("%q: %q %v", tt.text, host, ok)
		}
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	domains := func(allowed, denied string) *plan.Permissions {
		return &plan.Permissions{AllowedDomains: strings.Fields(allowed), DeniedDomains: strings.Fields(denied)}
	}
	tests := map[string]struct {
		gate      tool.Gate
		arguments string
		message   string
	}{
		"open":              {tool.Gate{}, `{"a":"https://x.org"}`, ""},
		"excluded":          {tool.Gate{Exclude: []string{"t"}}, `{}`, "Tool 't' is explicitly denied."},
		"excluded first":    {tool.Gate{Include: []string{"t"}, Exclude: []string{"t"}}, `{}`, "Tool 't' is explicitly denied."},
		"not included":      {tool.Gate{Include: []string{"u"}}, `{}`, "Tool 't' is not in the allow list."},
		"denied":            {tool.Gate{Permissions: domains("", "x.org")}, `{"a":"https://x.org"}`, "Tool 't' call targets denied domain 'x.org'."},
		"denied subdomain":  {tool.Gate{Permissions: domains("", ".x.org")}, `{"a":["https://a.x.org"]}`, "Tool 't' call targets denied domain 'a.x.org'."},
		"similar name":      {tool.Gate{Permissions: domains("", "x.org")}, `{"a":"https://ax.org"}`, ""},
		"allowed":           {tool.Gate{Permissions: domains("x.org", "")}, `{"a":{"b":["https://a.x.org","plain"]}}`, ""},
		"not allowed":       {tool.Gate{Permissions: domains("x.org", "")}, `{"a":"https://y.org"}`, "Tool 't' call targets domain 'y.org' that is not in allowed_domains."},
		"deny wins":         {tool.Gate{Permissions: domains("x.org", "in.x.org")}, `{"a":"//in.x.org/"}`, "Tool 't' call targets denied domain 'in.x.org'."},
		"in a key":          {tool.Gate{Permissions: domains("x.org", "")}, `{"a":{"https://y.org":1}}`, "Tool 't' call targets domain 'y.org' that is not in allowed_domains."},
		"escaped in JSON":   {tool.Gate{Permissions: domains("", "x.org")}, `{"a":"https:\u002f\u002fx.org"}`, "Tool 't' call targets denied domain 'x.org'."},
		"only posture":      {tool.Gate{Permissions: &plan.Permissions{}}, `{"a":"https://y.org"}`, ""},
		"prose with a link": {tool.Gate{Permissions: domains("x.org", "")}, `{"a":"see https://y.org"}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tt.gate.Check("t", json.RawMessage(tt.arguments)), tt.message)
		})
	}
}

func check(t *testing.T, err error, message string) {
	t.Helper()
	var r *tool.Refusal
	if message == "" && err == nil || errors.As(err, &r) && strings.HasPrefix(r.Message, message) && message != "" {
		return
	}
	t.Errorf("got %v", err)
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	s, err := tool.NewSchemas()
	if err != nil {
		t.Fatal(err)
	}
	const mismatch = "Tool 't' arguments do not match its parameters: "
	object := `{"type":"object","properties":{"q":{"type":"string","pattern":"^(?!x)"},"n":{"type":"integer"}},"required":["q"],"additionalProperties":false}`
	tests := map[string]struct{ schema, arguments, message string }{
		"nothing declared": {``, `{"a":1}`, ""},
		"anything":         {`{}`, `[1]`, ""},
		"match":            {object, `{"q":"a","n":3}`, ""},
		"whole number":     {object, `{"q":"a","n":3.0}`, ""},
		"missing":          {object, `{}`, mismatch + "arguments: missing property 'q'"},
		"wrong type":       {object, `{"q":1}`, mismatch + "q: got number, want string"},
		"unknown member":   {object, `{"q":"a","z":1}`, mismatch},
		"look-ahead":       {object, `{"q":"xy"}`, mismatch + "q: "},
		"older draft":      {`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","dependencies":{"a":["b"]}}`, `{"a":1}`, mismatch},
		"outside":          {`{"$ref":"https://example.org/s.json"}`, `{}`, "Tool 't' has a parameters schema that cannot be used: "},
		"a file":           {`{"$ref":"file:///etc/passwd"}`, `{}`, "Tool 't' has a parameters schema that cannot be used: "},
		"not a schema":     {`{"type":"nope"}`, `{}`, "Tool 't' has a parameters schema that cannot be used: "},
		"broken arguments": {object, `{"q"`, "Tool 't' arguments are not valid JSON."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				check(t, s.Check("t", json.RawMessage(tt.schema), json.RawMessage(tt.arguments)), tt.message)
			}
		})
	}
}

type caller func(input json.RawMessage, m handler.Meta) (json.RawMessage, error)

func (c caller) Call(_ context.Context, _ handler.Kind, _ string, input json.RawMessage, m handler.Meta) (json.RawMessage, error) {
	return c(input, m)
}

func TestExecute(t *testing.T) {
	t.Parallel()
	answer := func(out string, err error) handler.Caller {
		return caller(func(json.RawMessage, handler.Meta) (json.RawMessage, error) { return json.RawMessage(out), err })
	}
	tests := map[string]struct {
		executor tool.Executor
		want     tool.Outcome
	}{
		"text":     {tool.Executor{Handlers: answer(`"héllo"`, nil)}, tool.Outcome{Text: "héllo"}},
		"object":   {tool.Executor{Handlers: answer(`{"b":[1,2.5],"a":"é\"x, y:z","e":"😀"}`, nil)}, tool.Outcome{Text: `{"b": [1, 2.5], "a": "\u00e9\"x, y:z", "e": "\ud83d\ude00"}`}},
		"null":     {tool.Executor{Handlers: answer(`null`, nil)}, tool.Outcome{Text: "null"}},
		"error":    {tool.Executor{Handlers: answer("", errors.New("it <broke>"))}, tool.Outcome{Text: `{"error": "it <broke>"}`, Failed: true}},
		"nobody":   {tool.Executor{}, tool.Outcome{Text: `{"error": "No handler registered for tool \"t\"."}`, Failed: true}},
		"capped":   {tool.Executor{Handlers: answer(`"ééééé"`, nil), MaxResult: 5}, tool.Outcome{Text: "éé...[truncated 3 chars]"}},
		"redacted": {tool.Executor{Handlers: answer(`"to me@example.org"`, nil), RedactResults: true}, tool.Outcome{Text: "to [REDACTED_EMAIL]"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.executor.Execute(t.Context(), &plan.Plan{}, &plan.Tool{Name: "t", Implementation: "x"}, json.RawMessage(`{}`), tool.Meta{IdempotencyKey: "k"})
			if err != nil || got != tt.want {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	_, err := (&tool.Executor{}).Execute(t.Context(), &plan.Plan{}, &plan.Tool{Name: "t", Server: "far"}, nil, tool.Meta{})
	if !problem.Is(err, problem.SpecInvalid) {
		t.Errorf("unknown server: %v", err)
	}
}

func FuzzHost(f *testing.F) {
	f.Add("https://x.org")
	f.Add(`\\x@y`)
	f.Fuzz(func(t *testing.T, s string) {
		if host, ok := tool.Host(s); ok && (host == "" || strings.HasSuffix(host, ".")) {
			t.Errorf("%q: %q", s, host)
		}
	})
}

func BenchmarkGate(b *testing.B) {
	s, err := tool.NewSchemas()
	if err != nil {
		b.Fatal(err)
	}
	g := tool.Gate{Include: []string{"t"}, Permissions: &plan.Permissions{AllowedDomains: []string{"x.org"}}}
	schema := json.RawMessage(`{"type":"object","properties":{"q":{"type":"string"}},"required":["q"]}`)
	arguments := json.RawMessage(`{"q":"https://x.org/page"}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := errors.Join(g.Check("t", arguments), s.Check("t", schema, arguments)); err != nil {
			b.Fatal(err)
		}
	}
}

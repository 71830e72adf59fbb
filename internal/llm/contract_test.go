package llm_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/anthropic"
	"github.com/kneo-go/kneo/internal/llm/catalog"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/llm/google"
	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/internal/llm/openai"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/secret"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

const key = "sk-test-0123456789abcdef"

var adapters = map[string]llm.Factory{"openai": openai.Open, "anthropic": anthropic.Open, "google": google.Open, "ollama": openai.Open}

// each runs a test for every adapter, whole and streamed.
func each(t *testing.T, fn func(t *testing.T, name string, stream bool, open func(url string) llm.Provider)) {
	t.Helper()
	for name, factory := range adapters {
		for _, stream := range []bool{false, true} {
			kind := "whole"
			if stream {
				kind = "stream"
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				fn(t, name, stream, func(url string) llm.Provider {
					p, err := factory(llm.Endpoint{Provider: name, BaseURL: url, APIKey: key})
					if err != nil {
						t.Fatal(err)
					}
					return p
				})
			})
		}
	}
}

func ask(stream bool, p llm.Provider, r *llm.Request) (*llm.Response, string, error) {
	var streamed strings.Builder
	if stream {
		r.OnDelta = func(s string) { streamed.WriteString(s) }
	}
	resp, err := p.Complete(context.Background(), r)
	return resp, streamed.String(), err
}

func question(text string) *llm.Request {
	return &llm.Request{Model: "m", Messages: []run.Message{{Role: "user", Content: text}}}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, name string, stream bool, open func(string) llm.Provider) {
		s := llmtest.New(t, llmtest.Turn{Text: "hällo wörld", Input: 10, Output: 5, Cached: 4, Reasoning: 2})
		p := open(s.URL)
		resp, streamed, err := ask(stream, p, question("hi"))
		if err != nil {
			t.Fatal(err)
		}
		want := &llm.Response{
			Text: "hällo wörld", Usage: &llm.Usage{InputTokens: 10, OutputTokens: 5, TotalTokens: 15, CachedTokens: 4, ReasoningTokens: 2},
			Model: "m-1", RequestID: "req-1", FinishReason: resp.FinishReason,
		}
		if d := cmp.Diff(want, resp); d != "" {
			t.Error(d)
		}
		if stream && streamed != resp.Text {
			t.Errorf("streamed %q", streamed)
		}
		if p.Name() != name {
			t.Errorf("name %q", p.Name())
		}
		asked := s.Requests()[0]
		if !strings.Contains(asked.Header.Get("Authorization")+asked.Header.Get("X-Api-Key")+asked.Header.Get("X-Goog-Api-Key"), key) {
			t.Error("the key was not sent")
		}
	})
}

func TestToolTurns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, stream bool, open func(string) llm.Provider) {
		s := llmtest.New(t,
			llmtest.Turn{Calls: []llmtest.Call{{ID: "a1", Name: "add", Arguments: `{"x":1}`, Signature: "c2ln"}, {ID: "a2", Name: "sub", Arguments: `{"y":[2]}`}}, Input: 1, Output: 1},
			llmtest.Turn{Text: "3"})
		p := open(s.URL)
		r := question("what?")
		r.System, r.Temperature, r.MaxTokens = "be exact", new(0.5), new(int64(77))
		r.Tools = []llm.ToolDefinition{{Name: "add", Description: "adds", Parameters: json.RawMessage(`{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}`)}, {Name: "sub"}}
		r.Extra = map[string]json.RawMessage{"top_p": json.RawMessage("0.25")}
		resp, _, err := ask(stream, p, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.ToolCalls) != 2 || resp.ToolCalls[0].Name != "add" || string(resp.ToolCalls[0].Arguments) != `{"x":1}` || string(resp.ToolCalls[1].Arguments) != `{"y":[2]}` {
			t.Fatalf("calls %+v", resp.ToolCalls)
		}
		for _, want := range []string{"be exact", `"top`, "0.25", "77", "0.5", `"adds"`} {
			if !strings.Contains(s.Requests()[0].Raw, want) {
				t.Errorf("the request lacks %s: %s", want, s.Requests()[0].Raw)
			}
		}
		r.Messages = append(r.Messages, run.Message{Role: "assistant", ToolCalls: resp.ToolCalls})
		r.Echo = resp.Echo
		for i, c := range resp.ToolCalls {
			r.Messages = append(r.Messages, run.Message{Role: "tool", Content: []string{"one", "two"}[i], Name: &c.Name, ToolCallID: &c.ID})
		}
		if resp, _, err = ask(stream, p, r); err != nil || resp.Text != "3" || resp.Usage != nil && resp.Usage.InputTokens != 0 {
			t.Fatalf("%+v %v", resp, err)
		}
		for _, want := range []string{"one", "two", "add", "sub"} {
			if !strings.Contains(s.Requests()[1].Raw, want) {
				t.Errorf("the second request lacks %s", want)
			}
		}
	})
}

func TestStructuredOutput(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}`
	const format = `{"type":"json_schema","json_schema":{"name":"count","strict":true,"schema":` + schema + `}}`
	tests := map[string]struct {
		format string
		tools  bool
		wants  map[string]map[string]string
	}{
		"schema": {format, false, map[string]map[string]string{
			"openai": {"response_format": format}, "ollama": {"response_format": format},
			"anthropic": {"output_config": `{"format":{"type":"json_schema","schema":` + schema + `}}`},
			"google":    {"generationConfig.responseMimeType": `"application/json"`, "generationConfig.responseJsonSchema": schema},
		}},
		"any object": {`{"type":"json_object"}`, false, map[string]map[string]string{
			"openai": {"response_format": `{"type":"json_object"}`}, "ollama": {"response_format": `{"type":"json_object"}`},
			"anthropic": {"system": `[{"type":"text","text":"Answer with one JSON object and nothing else."}]`, "output_config": "null"},
			"google":    {"generationConfig.responseMimeType": `"application/json"`, "generationConfig.responseJsonSchema": "null"},
		}},
		"schema beside tools": {format, true, map[string]map[string]string{
			"openai": {"response_format": format}, "ollama": {"response_format": format},
			"anthropic": {"output_config": `{"format":{"type":"json_schema","schema":` + schema + `}}`},
			"google":    {"generationConfig.responseMimeType": "null", "systemInstruction.parts.0.text": quoted("Answer with JSON that matches this JSON Schema and nothing else: " + schema)},
		}},
	}
	each(t, func(t *testing.T, name string, stream bool, open func(string) llm.Provider) {
		for what, tt := range tests {
			s := llmtest.New(t, llmtest.Turn{Text: `{"n":1}`})
			r := question("how many?")
			if r.Format = llm.ParseFormat(json.RawMessage(tt.format)); r.Format == nil {
				t.Fatal("no format")
			}
			if tt.tools {
				r.Tools = []llm.ToolDefinition{{Name: "count", Description: "counts"}}
			}
			resp, _, err := ask(stream, open(s.URL), r)
			if err != nil || resp.Text != `{"n":1}` {
				t.Errorf("%s: %+v %v", what, resp, err)
				continue
			}
			for path, want := range tt.wants[name] {
				if d := cmp.Diff(decoded(t, want), member(decoded(t, s.Requests()[0].Raw), path)); d != "" {
					t.Errorf("%s: %s: %s", what, path, d)
				}
			}
		}
	})
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err, text)
	}
	return v
}

// member walks a decoded document; what is missing is nil.
func member(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		if list, ok := v.([]any); ok && name == "0" && len(list) > 0 {
			v = list[0]
			continue
		}
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

func TestOtherFormatsAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null", "7", `"json"`, `{"type":"text"}`, `{"type":"json_schema"}`, `{"type":"json_schema","json_schema":{"schema":[1]}}`} {
		if f := llm.ParseFormat(json.RawMessage(text)); f != nil {
			t.Errorf("%s: %+v", text, f)
		}
	}
}

func TestGeminiGetsItsSignatureBack(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.Turn{Calls: []llmtest.Call{{Name: "add", Arguments: `{}`, Signature: "c2ln"}}}, llmtest.Turn{Text: "x"})
	p, err := google.Open(llm.Endpoint{BaseURL: s.URL, APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	r := question("q")
	resp, err := p.Complete(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	c := resp.ToolCalls[0]
	r.Messages = append(r.Messages, run.Message{Role: "assistant", ToolCalls: resp.ToolCalls}, run.Message{Role: "tool", Content: "1", Name: &c.Name, ToolCallID: &c.ID})
	r.Echo = resp.Echo
	if _, err := p.Complete(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if raw := s.Requests()[1].Raw; !strings.Contains(raw, `"c2ln"`) || strings.Contains(raw, `"call_1"`) {
		t.Error(raw)
	}
}

func TestErrorClasses(t *testing.T) {
	t.Parallel()
	long := map[string]llmtest.Turn{
		"openai":    {Status: 400, Code: "context_length_exceeded", Message: "This model's maximum context length is 10 tokens."},
		"anthropic": {Status: 400, Code: "invalid_request_error", Message: "prompt is too long: 20 tokens > 10 maximum"},
		"google":    {Status: 400, Code: "INVALID_ARGUMENT", Message: "The input token count (20) exceeds the maximum number of tokens allowed (10)."},
	}
	long["ollama"] = long["openai"]
	filtered := map[string]llmtest.Turn{"openai": {Finish: "content_filter"}, "ollama": {Finish: "content_filter"}, "anthropic": {Finish: "refusal"}, "google": {Finish: "SAFETY"}}
	tests := map[string]struct {
		turn  func(name string) llmtest.Turn
		class llm.Class
		retry time.Duration
	}{
		"auth": {func(string) llmtest.Turn {
			return llmtest.Turn{Status: 401, Code: "authentication_error", Message: "bad key " + key}
		}, llm.ClassAuth, 0},
		"rate limit": {func(string) llmtest.Turn {
			return llmtest.Turn{Status: 429, Code: "rate_limit_error", Message: "slow", Header: map[string]string{"Retry-After": "7"}}
		}, llm.ClassRateLimit, 7 * time.Second},
		"no retry after": {func(string) llmtest.Turn { return llmtest.Turn{Status: 429, Message: "slow"} }, llm.ClassRateLimit, 0},
		"overloaded":     {func(string) llmtest.Turn { return llmtest.Turn{Status: 503, Code: "overloaded_error", Message: "busy"} }, llm.ClassOverloaded, 0},
		"server":         {func(string) llmtest.Turn { return llmtest.Turn{Status: 500, Code: "api_error", Message: "boom"} }, llm.ClassServer, 0},
		"invalid": {func(string) llmtest.Turn {
			return llmtest.Turn{Status: 400, Code: "invalid_request_error", Message: "no such field"}
		}, llm.ClassInvalidRequest, 0},
		"context length": {func(name string) llmtest.Turn { return long[name] }, llm.ClassContextLength, 0},
		"filter":         {func(name string) llmtest.Turn { return filtered[name] }, llm.ClassContentFilter, 0},
		"redirect": {func(string) llmtest.Turn {
			return llmtest.Turn{Status: 307, Message: "x", Header: map[string]string{"Location": "http://127.0.0.1:1/"}}
		}, llm.ClassInvalidRequest, 0},
	}
	each(t, func(t *testing.T, name string, stream bool, open func(string) llm.Provider) {
		for what, tt := range tests {
			s := llmtest.New(t, tt.turn(name))
			_, _, err := ask(stream, open(s.URL), question("hi"))
			e := llm.AsError(err)
			if e == nil || e.Class != tt.class || e.RetryAfter != tt.retry {
				t.Errorf("%s: %#v", what, err)
				continue
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("%s: the key is in the error", what)
			}
			if len(s.Requests()) != 1 {
				t.Errorf("%s: %d requests", what, len(s.Requests()))
			}
		}
	})
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, name string, stream bool, open func(string) llm.Provider) {
		turns := map[string]llmtest.Turn{"half JSON": {Raw: `{"choices":[{"mess`}, "empty object": {Raw: `{}`}}
		if stream || name == "anthropic" {
			turns = map[string]llmtest.Turn{"half a stream": {Text: "abcdef", Cut: true}, "error in the stream": {Text: "abcdef", StreamError: true, Status: 0, Code: "overloaded_error", Message: "busy"}}
		}
		for what, turn := range turns {
			s := llmtest.New(t, turn)
			_, _, err := ask(stream, open(s.URL), question("hi"))
			if e := llm.AsError(err); e == nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func TestUnreachableAndCancelled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, stream bool, open func(string) llm.Provider) {
		s := llmtest.New(t)
		s.Close()
		_, _, err := ask(stream, open(s.URL), question("hi"))
		if e := llm.AsError(err); e == nil || e.Class != llm.ClassNetwork {
			t.Errorf("unreachable: %v", err)
		}
		hold := make(chan struct{})
		defer close(hold)
		arrived := make(chan struct{})
		s = llmtest.New(t, llmtest.Turn{Text: "x", Hold: hold, Arrived: arrived})
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() {
			<-arrived
			cancel(cause)
		}()
		if _, err := open(s.URL).Complete(ctx, question("hi")); !errors.Is(err, cause) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t, llmtest.Turn{Text: "x"})
	tests := map[string]struct {
		binding llm.Binding
		secrets secret.Map
		force   bool
		require bool
		name    string
		missing string
	}{
		"no model":            {llm.Binding{}, nil, false, false, "dummy", ""},
		"default":             {llm.Binding{Provider: "default"}, nil, false, false, "dummy", ""},
		"forced":              {llm.Binding{Provider: "made-up"}, nil, true, false, "dummy", ""},
		"openai without key":  {llm.Binding{Provider: "openai"}, nil, false, false, "", "OPENAI_API_KEY"},
		"anthropic":           {llm.Binding{Provider: "anthropic"}, nil, false, false, "", "ANTHROPIC_API_KEY"},
		"google":              {llm.Binding{Provider: "google"}, nil, false, false, "", "GOOGLE_API_KEY"},
		"reference":           {llm.Binding{Provider: "openai", APIKeyRef: "MINE"}, secret.Map{"OPENAI_API_KEY": "x"}, false, false, "", "MINE"},
		"with key":            {llm.Binding{Provider: "openai"}, secret.Map{"OPENAI_API_KEY": "x"}, false, false, "openai", ""},
		"ollama needs no key": {llm.Binding{Provider: "ollama"}, nil, false, false, "ollama", ""},
		"any with a base URL": {llm.Binding{Provider: "made-up", BaseURL: server.URL}, nil, false, false, "made-up", ""},
		"required anyway":     {llm.Binding{Provider: "openai", BaseURL: server.URL}, nil, false, true, "", "OPENAI_API_KEY"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := catalog.Options(exchange.Policy{})
			o.Secrets, o.ForceDummy, o.RequireKeys = tt.secrets, tt.force, tt.require
			p, err := llm.NewRegistry(o).Bind(t.Context(), tt.binding)
			if tt.missing != "" {
				if !problem.Is(err, problem.MissingSecret) || !strings.Contains(err.Error(), tt.missing) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || p.Name() != tt.name {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
	if _, err := llm.NewRegistry(catalog.Options(exchange.Policy{})).Bind(t.Context(), llm.Binding{Provider: "made-up"}); !problem.Is(err, problem.SpecInvalid) {
		t.Errorf("unknown provider: %v", err)
	}
}

// TestOwnKeyStaysHome: the deployment's key is never sent to an address that a spec chose.
func TestOwnKeyStaysHome(t *testing.T) {
	t.Setenv("OPENAI_ORG_ID", "org")
	s := llmtest.New(t, llmtest.Turn{Text: "x"})
	o := catalog.Options(exchange.Policy{})
	o.Secrets = secret.Map{"OPENAI_API_KEY": key}
	p, err := llm.NewRegistry(o).Bind(t.Context(), llm.Binding{Provider: "openai", BaseURL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Complete(t.Context(), question("hi")); err != nil {
		t.Fatal(err)
	}
	if h := s.Requests()[0].Header; h.Get("Authorization") != "Bearer "+llm.Placeholder || h.Get("Openai-Organization") != "" {
		t.Errorf("headers %v", h)
	}
}

func TestWellformed(t *testing.T) {
	t.Parallel()
	id, name := "a", "add"
	call := []run.ToolCall{{ID: "a", Name: "add"}}
	tests := map[string]struct{ in, want []run.Message }{
		"kept":            {[]run.Message{{Role: "assistant", ToolCalls: call}, {Role: "tool", Content: "1", ToolCallID: &id, Name: &name}}, []run.Message{{Role: "assistant", ToolCalls: call}, {Role: "tool", Content: "1", ToolCallID: &id, Name: &name}}},
		"orphaned result": {[]run.Message{{Role: "tool", Content: "1", ToolCallID: &id, Name: &name}}, []run.Message{{Role: "user", Content: "Result of add: 1"}}},
		"no result":       {[]run.Message{{Role: "assistant", Content: "x", ToolCalls: call}}, []run.Message{{Role: "assistant", Content: "x", ToolCalls: []run.ToolCall{}}}},
	}
	for what, tt := range tests {
		if d := cmp.Diff(tt.want, llm.Wellformed(tt.in)); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
}

func BenchmarkOpenAI(b *testing.B) {
	body := []byte(`{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	s := newStatic(b, body)
	p, err := openai.Open(llm.Endpoint{Provider: "openai", BaseURL: s, APIKey: key})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Complete(b.Context(), question("hi")); err != nil {
			b.Fatal(err)
		}
	}
}

func newStatic(tb testing.TB, body []byte) string {
	tb.Helper()
	s := llmtest.New(tb)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	return s.URL
}

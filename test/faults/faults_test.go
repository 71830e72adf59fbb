// Package faults plays every fault of providers, MCP servers and workers through the whole service and compares the end of each run with the table
// in docs/user/failures.md, which is read by people and by this test.
package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/test/live"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(serveVariable); mode != "" {
		serveMCP(mode)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// documented is a row of the table.
type documented struct{ Fault, HTTP, Status, Failure, Checkpoints, Trace, Told string }

// table reads docs/user/failures.md.
func table(t *testing.T) map[string]documented {
	t.Helper()
	data, err := os.ReadFile("../../docs/user/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]documented{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 9 || strings.HasPrefix(strings.TrimSpace(cells[1]), "-") || strings.TrimSpace(cells[1]) == "Fault" {
			continue
		}
		for i, c := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(c), "`")
		}
		if _, twice := rows[cells[1]]; twice {
			t.Errorf("failures.md lists %q twice", cells[1])
		}
		rows[cells[1]] = documented{cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]}
	}
	return rows
}

// fault is one way in which a part fails.
type fault struct {
	name string
	// play starts a run and returns the answer.
	play func(t *testing.T, s *live.Service) (int, live.Object)
}

// TestFaults plays all faults on one service.
func TestFaults(t *testing.T) {
	s := live.Start(t, map[string]string{
		"KNEO_SERV_PROVIDER_RETRY_BACKOFF_SECONDS": "0.01", "KNEO_SERV_HANDLER_TIMEOUT_SECONDS": "2", "KNEO_SERV_WORKER_CONCURRENCY": "8", "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS": "20",
	})
	clock := func(context.Context, json.RawMessage, handler.Meta) (json.RawMessage, error) {
		return json.RawMessage(`"noon"`), nil
	}
	for _, err := range []error{
		s.Handlers().Register(handler.Definition{Name: "kit.clock", Kind: handler.Tool, Idempotent: true}, clock),
		s.Handlers().Register(handler.Definition{Name: "kit.gate", Kind: handler.Function, Idempotent: true}, waitAtGate),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	rows := table(t)
	all := slices.Concat(providerFaults, toolFaults(), workerFaults)
	names := map[string]bool{}
	t.Run("play", func(t *testing.T) {
		for _, f := range all {
			names[f.name] = true
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				code, answer := f.play(t, s)
				compare(t, rows[f.name], f.name, code, see(t, s, code, answer))
			})
		}
	})
	for name := range rows {
		if !names[name] {
			t.Errorf("failures.md has a row %q that no test plays", name)
		}
	}
}

// seen is the end of a run.
type seen struct {
	row  documented
	told string
}

// see reads what a client sees of a run: the answer, the stored run and its trace.
func see(t *testing.T, s *live.Service, code int, answer live.Object) seen {
	t.Helper()
	id := live.Text(answer, "run_id")
	if id == "" {
		id = live.Text(live.Sub(answer, "detail"), "run_id")
	}
	if id == "" {
		t.Fatalf("no run: %d %v", code, answer)
	}
	stored := s.OK(http.MethodGet, "/v1/runs/"+id, nil)
	events := s.Trace(id)
	told := []string{live.Text(live.Sub(stored, "error"), "message")}
	for _, e := range events {
		if failure := e["error"]; failure != nil {
			told = append(told, fmt.Sprint("trace: ", failure))
		}
	}
	checkpoints := s.OK(http.MethodGet, "/v1/runs/"+id+"/checkpoints", nil)
	told = append(told, live.Text(answer, "output_text"), live.Text(answer, "shown"))
	return seen{
		documented{
			"", fmt.Sprint(code), live.Text(stored, "status"), live.Text(live.Sub(stored, "error"), "type"),
			types(live.Objects(checkpoints["checkpoints"]), "type"), types(events, "type"), "",
		},
		strings.Join(told, "\n"),
	}
}

func compare(t *testing.T, want documented, name string, code int, got seen) {
	t.Helper()
	told := want.Told
	got.row.Fault, want.Told = name, ""
	if got.row != want {
		r := got.row
		t.Errorf("got\n| %s | %s | %s | %s | %s | %s | |\nwant %+v\ntold: %s", r.Fault, r.HTTP, r.Status, r.Failure, r.Checkpoints, r.Trace, want, shorten(got.told))
	}
	if told == "" || !strings.Contains(got.told, told) {
		t.Errorf("%d: %q is not told in: %s", code, told, shorten(got.told))
	}
}

func types(list []live.Object, member string) string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = live.Text(o, member)
	}
	return strings.Join(names, ", ")
}

func shorten(text string) string {
	if len(text) > 1500 {
		return text[:1500] + "..."
	}
	return text
}

// agentSpec is an agent on a scripted model with a tool.
func agentSpec(url string, tools live.Object, more live.Object) live.Object {
	a := live.Object{"name": "root", "model": live.Object{"provider": "openai", "name": "m", "extra": live.Object{"base_url": url}}, "strategy": "react"}
	names := []string{}
	for n := range tools {
		names = append(names, n)
	}
	if len(names) > 0 {
		a["tools"] = live.Object{"include": names, "permissions": live.Object{}}
	}
	for k, v := range more {
		a[k] = v
	}
	spec := live.Object{"version": "v1", "agent": a}
	if tools != nil {
		spec["tools"] = tools
	}
	return spec
}

func runAgent(s *live.Service, spec live.Object) (int, live.Object) {
	return s.Call(http.MethodPost, "/v1/runs", live.Object{"spec": spec, "input": "hi", "target": "agent"})
}

// onProvider plays turns of a scripted model; change may alter the agent.
func onProvider(provider string, more live.Object, turns ...llmtest.Turn) func(*testing.T, *live.Service) (int, live.Object) {
	return func(t *testing.T, s *live.Service) (int, live.Object) {
		t.Helper()
		server := llmtest.New(t, turns...)
		model := live.Object{"provider": provider, "name": "m", "extra": live.Object{"base_url": server.URL}}
		agent := live.Object{"model": model}
		for k, v := range more {
			switch k {
			case "timeout_seconds":
				model[k] = v
				continue
			case "response_format":
				model["extra"] = live.Object{"base_url": server.URL, k: v}
				continue
			}
			agent[k] = v
		}
		return shown(server)(runAgent(s, agentSpec(server.URL, live.Object{"clock_now": live.Object{
			"description": "d", "implementation": "kit.clock", "parameters": live.Object{"type": "object", "properties": live.Object{"zone": live.Object{"type": "string"}}},
		}}, agent)))
	}
}

// shown adds what the model was shown last to an answer: what a run's agent knows of a fault that does not end it.
func shown(model *llmtest.Server) func(int, live.Object) (int, live.Object) {
	return func(code int, answer live.Object) (int, live.Object) {
		if requests := model.Requests(); len(requests) > 0 {
			answer["shown"] = requests[len(requests)-1].Raw
		}
		return code, answer
	}
}

func wants(name, arguments string) llmtest.Turn {
	return llmtest.Turn{Text: "calling", Calls: []llmtest.Call{{ID: "c1", Name: name, Arguments: arguments}}}
}

// withSchema asks for structured output.
var withSchema = live.Object{"response_format": live.Object{"type": "json_schema", "json_schema": live.Object{
	"name": "count", "strict": true, "schema": live.Object{"type": "object", "properties": live.Object{"n": live.Object{"type": "integer"}}},
}}}

var half = llmtest.Turn{Raw: `{"choices":[{"mess`}

var sorry = llmtest.Turn{Text: "sorry"}

// never is closed by nobody: a turn that holds it answers when the client has gone.
var never = make(chan struct{})

var providerFaults = []fault{
	{"answer is not JSON", onProvider("openai", nil, half, half, half)},
	{"answer is an empty object", onProvider("google", nil, llmtest.Turn{Raw: `{}`})},
	{"half a stream (openai)", streamed("openai", llmtest.Turn{Text: "abcdef", Cut: true}, sorry)},
	{"half a stream (google)", streamed("google", llmtest.Turn{Text: "abcdef", Cut: true}, sorry)},
	{"half a stream (anthropic)", streamed("anthropic", llmtest.Turn{Text: "abcdef", Cut: true}, sorry)},
	{"half a stream that nobody watches", onProvider("anthropic", nil, llmtest.Turn{Text: "abcdef", Cut: true}, sorry)},
	{"error inside a stream", streamed("anthropic", llmtest.Turn{Text: "abcdef", StreamError: true, Code: "overloaded_error", Message: "busy now"}, sorry)},
	{"unknown tool name", onProvider("openai", nil, wants("rm_rf", `{}`), sorry)},
	{"arguments are not JSON", onProvider("openai", nil, wants("clock_now", `{"zone"`), sorry)},
	{"arguments against the schema", onProvider("openai", nil, wants("clock_now", `{"zone":7}`), sorry)},
	{"answer against its schema", onProvider("openai", withSchema, llmtest.Turn{Text: `{"n":"three"}`})},
	{"10 MB of text", onProvider("openai", nil, llmtest.Turn{Text: strings.Repeat("0123456789", 1<<20)})},
	{"429 with Retry-After", onProvider("openai", nil, llmtest.Turn{Status: 429, Message: "slow", Header: map[string]string{"Retry-After": "0.05"}}, sorry)},
	{"429 without Retry-After", onProvider("openai", nil, llmtest.Turn{Status: 429, Message: "slow"}, sorry)},
	{"429 with Retry-After over a minute", onProvider("openai", nil, llmtest.Turn{Status: 429, Message: "tomorrow", Header: map[string]string{"Retry-After": "86400"}})},
	{"429 again and again", onProvider("anthropic", nil, llmtest.Turn{Status: 429, Message: "slow"}, llmtest.Turn{Status: 429, Message: "slow"}, llmtest.Turn{Status: 429, Message: "slow"})},
	{"wrong key", onProvider("google", nil, llmtest.Turn{Status: 401, Code: "UNAUTHENTICATED", Message: "bad key"})},
	{"redirect", onProvider("openai", nil, llmtest.Turn{Status: 307, Message: "x", Header: map[string]string{"Location": "http://127.0.0.1:1/"}})},
	{"no answer", onProvider("openai", live.Object{"timeout_seconds": 1}, llmtest.Turn{Text: "late", Hold: never})},
	{"nobody listens", func(_ *testing.T, s *live.Service) (int, live.Object) {
		return runAgent(s, agentSpec("http://127.0.0.1:1", nil, nil))
	}},
}

// TestSecretsStaySecret: a provider that repeats the key it was sent does not bring it into an answer, a stored row, or the log.
func TestSecretsStaySecret(t *testing.T) {
	const key = "canary-4f9d8a7b6c5e4d3c2b1a0f9e"
	t.Setenv("FAULTS_MODEL_KEY", key)
	t.Setenv("FAULTS_TOOL_KEY", "tool-"+key)
	file := filepath.Join(t.TempDir(), "kneo.db")
	s := live.Start(t, map[string]string{"KNEO_SERV_SQLITE_PATH": file, "KNEO_SERV_LOG_LEVEL": "DEBUG", "KNEO_SERV_REQUEST_LOGS": "true", "KNEO_SERV_PROVIDER_RETRY_BACKOFF_SECONDS": "0.01"})
	var bodies strings.Builder
	for _, turn := range []llmtest.Turn{
		{Status: 400, Code: "invalid_request_error", Message: "the key " + key + " is bad"},
		{Status: 401, Code: "authentication_error", Message: key},
		{Raw: `{"error":"` + key, Status: 500},
		{Raw: "<p>" + key + "</p>", Status: 502},
	} {
		server := llmtest.New(t, turn, turn, turn)
		spec := agentSpec(server.URL, nil, live.Object{"model": live.Object{"provider": "openai", "name": "m", "extra": live.Object{"base_url": server.URL, "api_key_ref": "FAULTS_MODEL_KEY"}}})
		_, answer := runAgent(s, spec)
		if got := server.Requests()[0].Header.Get("Authorization"); got != "Bearer "+key {
			t.Fatalf("the model was called with %q", got)
		}
		id := live.Text(answer, "run_id")
		for _, path := range []string{"", "/trace", "/checkpoints", "/replay", "/recovery", "/graph", "/policy-report"} {
			_, body := s.Raw(http.MethodGet, "/v1/runs/"+id+path, nil)
			bodies.Write(body)
		}
		whole, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		bodies.Write(whole)
	}
	_, list := s.Raw(http.MethodGet, "/v1/runs", nil)
	bodies.Write(list)
	_, metrics := s.Raw(http.MethodGet, "/metrics", nil)
	bodies.Write(metrics)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"answers": bodies.String(), "log": s.Log()}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(file + suffix)
		if err == nil {
			places["database"+suffix] = string(data)
		}
	}
	for place, text := range places {
		if strings.Contains(text, key) {
			i := strings.Index(text, key)
			t.Errorf("the key is in the %s: %q", place, text[max(0, i-200):i+20])
		}
	}
}

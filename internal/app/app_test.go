package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/config"
)

func TestMain(m *testing.M) {
	// The statistics worker of a library lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// process is a service under test.
type process struct {
	t    *testing.T
	url  string
	grpc string
	log  *syncBuffer
	stop func() error
}

func start(t *testing.T, env map[string]string) *process {
	t.Helper()
	settings := map[string]string{"KNEO_SERV_SQLITE_PATH": filepath.Join(t.TempDir(), "kneo.db"), "KNEO_SERV_SPEC_ROOT": t.TempDir()}
	for k, v := range env {
		settings[k] = v
	}
	cfg, err := config.Load(config.FromMap(settings))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, log: &syncBuffer{}}
	ready := make(chan [2]net.Addr, 1)
	ctx, cancel := context.WithCancel(t.Context())
	a, err := New(ctx, cfg, Options{
		Host: "127.0.0.1", Version: "test", Log: p.log, Env: config.FromMap(settings), Ready: func(rest, grpc net.Addr) { ready <- [2]net.Addr{rest, grpc} },
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	p.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case addrs := <-ready:
		p.url, p.grpc = "http://"+addrs[0].String(), addrs[1].String()
	case err := <-served:
		t.Fatalf("serve: %v", err)
	}
	return p
}

// call sends a request and returns status and decoded body.
func (p *process) call(method, path string, body any, header ...string) (int, map[string]any) {
	p.t.Helper()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, reader)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[string]any{}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &out); err != nil {
			p.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	} else {
		out["text"] = string(text)
	}
	return resp.StatusCode, out
}

// ok is call for requests that must succeed with a status.
func (p *process) ok(status int, method, path string, body any, header ...string) map[string]any {
	p.t.Helper()
	code, out := p.call(method, path, body, header...)
	if code != status {
		p.t.Fatalf("%s %s: %d %v", method, path, code, out)
	}
	return out
}

type object = map[string]any

func greeter() object { return object{"version": "v1", "agent": object{"name": "greeter"}} }

func review() object {
	step := func(id, kind, ref string) object { return object{"id": id, "kind": kind, "ref": ref} }
	return object{
		"version": "v1", "agent": object{"name": "root"},
		"components": object{
			"agents": object{"a": object{"name": "a"}},
			"humans": object{"h": object{"options": []string{"x", "y"}, "request_type": "selection"}},
		},
		"workflow": object{"name": "line", "type": "sequential", "steps": []object{step("draft", "agent", "a"), step("review", "human", "h"), step("publish", "agent", "a")}},
	}
}

func TestSynchronousRun(t *testing.T) {
	p := start(t, nil)
	run := p.ok(200, "POST", "/v1/runs", object{"input": "hello", "spec": greeter(), "metadata": object{"ticket": 7}, "session_id": "s"})
	if run["status"] != "completed" || run["output_text"] != "Final answer: hello" {
		t.Fatalf("run: %v", run)
	}
	id := run["run_id"].(string)
	state := p.ok(200, "GET", "/v1/runs/"+id, nil)
	if state["session_id"] != "s" || state["metadata"].(object)["caller_metadata"].(object)["ticket"] != 7.0 {
		t.Fatalf("state: %v", state)
	}
	for _, path := range []string{"/replay", "/recovery", "/trace", "/checkpoints", "/checkpoints/diff", "/graph", "/policy-report"} {
		p.ok(200, "GET", "/v1/runs/"+id+path, nil)
	}
	list := p.ok(200, "GET", "/v1/runs?sort_by=metadata.caller_metadata.ticket&limit=1", nil)
	if list["total"] != 1.0 || list["runs"].([]any)[0].(object)["id"] != id {
		t.Fatalf("list: %v", list)
	}
}

func TestReviewUnderAKey(t *testing.T) {
	p := start(t, nil)
	paused := p.ok(200, "POST", "/v1/runs", object{"input": "hello", "spec": review()})
	task := paused["continuation_id"].(string)
	answer := object{"request_id": "made-up", "decision": "selected", "selected_option": "z"}
	code, refused := p.call("POST", "/v1/human-tasks/"+task+"/resume", answer, "Idempotency-Key", "k")
	if code != 400 || refused["detail"].(object)["error"] != "invalid_request" {
		t.Fatalf("refused: %d %v", code, refused)
	}
	answer["selected_option"] = "y"
	first := p.ok(200, "POST", "/v1/human-tasks/"+task+"/resume", answer, "Idempotency-Key", "k")
	if first["status"] != "completed" || first["output_text"] != "Final answer: y" {
		t.Fatalf("resumed: %v", first)
	}
	again := p.ok(200, "POST", "/v1/human-tasks/"+task+"/resume", answer, "Idempotency-Key", "k")
	if again["output_text"] != first["output_text"] {
		t.Fatalf("replayed: %v", again)
	}
	if code, _ := p.call("POST", "/v1/human-tasks/"+task+"/resume", answer); code != 404 {
		t.Fatalf("second answer: %d", code)
	}
	events := p.ok(200, "GET", "/v1/audit-events?run_id="+paused["run_id"].(string), nil)
	if events["total"] != 2.0 || events["events"].([]any)[0].(object)["event_type"] != "human.decision" {
		t.Fatalf("audit: %v", events)
	}
}

func TestQueuedRunSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kneo.db")
	first := start(t, map[string]string{"KNEO_SERV_SQLITE_PATH": file})
	run := first.ok(202, "POST", "/v1/runs", object{"input": "hello", "spec": greeter(), "async_mode": true})
	if run["status"] != "queued" {
		t.Fatalf("run: %v", run)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, map[string]string{"KNEO_SERV_SQLITE_PATH": file})
	done := second.ok(200, "GET", "/v1/runs/"+run["run_id"].(string)+"/wait?timeout_seconds=30", nil)
	if done["settled"] != true || done["run"].(object)["status"] != "completed" {
		t.Fatalf("wait: %v", done)
	}
}

func TestInvalidSpecsStoreNothing(t *testing.T) {
	p := start(t, nil)
	for _, async := range []bool{false, true} {
		code, out := p.call("POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1"}, "async_mode": async})
		if code != 400 || out["detail"].(object)["error"] != "spec_invalid" {
			t.Fatalf("async %v: %d %v", async, code, out)
		}
	}
	if list := p.ok(200, "GET", "/v1/runs", nil); list["total"] != 0.0 {
		t.Fatalf("list: %v", list)
	}
}

func TestPolicyGate(t *testing.T) {
	p := start(t, nil)
	p.ok(200, "PUT", "/v1/policies/environment/prod", object{"require_human_review": true})
	code, out := p.call("POST", "/v1/runs", object{"input": "x", "spec": greeter(), "environment": "prod"})
	if code != 403 || out["detail"].(object)["error"] != "environment_policy_blocked" {
		t.Fatalf("blocked: %d %v", code, out)
	}
	p.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": review(), "environment": "prod"})
	preview := p.ok(200, "POST", "/v1/policies/environment/prod/preview", object{"require_guardrails": true})
	if preview["runs_evaluated"] != 1.0 || len(preview["newly_blocking"].([]any)) != 1 {
		t.Fatalf("preview: %v", preview)
	}
}

func TestQueueFull(t *testing.T) {
	// The pool sleeps long enough between claims for the backlog to be seen; new runs wake it only after the limit was reached.
	p := start(t, map[string]string{"KNEO_SERV_MAX_QUEUE_DEPTH": "1"})
	full := false
	for range 200 {
		code, out := p.call("POST", "/v1/runs", object{"input": "x", "spec": greeter(), "async_mode": true})
		if code == 503 {
			full = out["detail"].(object)["error"] == "queue_full"
			break
		}
	}
	text := p.ok(200, "GET", "/metrics", nil)["text"].(string)
	if full && !strings.Contains(text, "kneo_runs_rejected_total 1") {
		t.Fatalf("metrics: %s", text)
	}
}

func TestOverGRPC(t *testing.T) {
	p := start(t, map[string]string{"KNEO_SERV_API_KEYS": "ann:k1:operator;eve:k2:viewer"})
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	as := func(key string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
	}
	spec, err := json.Marshal(greeter())
	if err != nil {
		t.Fatal(err)
	}
	request := &kneov1.RunCreateRequest{Input: "hello", Spec: &kneov1.JsonObject{Raw: spec}, AsyncMode: true}
	runs := kneov1.NewRunServiceClient(conn)
	if _, err := runs.CreateRun(as("k2"), request); err == nil {
		t.Fatal("a viewer may create runs")
	}
	created, err := runs.CreateRun(as("k1"), request)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := kneov1.NewEventServiceClient(conn).WatchRun(as("k1"), &kneov1.WatchRunRequest{RunId: created.GetRunId()})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, event.GetKind())
	}
	if kinds[0] != "queued" || kinds[len(kinds)-1] != "completed" {
		t.Fatalf("events: %v", kinds)
	}
}

func TestStartFailures(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"auth without keys": {"KNEO_SERV_AUTH_ENABLED": "true"},
		"bad keys":          {"KNEO_SERV_API_KEYS": "a:b"},
		"bad path":          {"KNEO_SERV_SQLITE_PATH": "/proc/none/kneo.db"},
		"missing secret":    {"KNEO_SERV_REQUIRE_PROVIDER_SECRETS": "true", "KNEO_SERV_HEALTH_PROVIDERS": "no-such-provider"},
		"half a key pair":   {"KNEO_SERV_TLS_CERT_FILE": "/none", "KNEO_SERV_TLS_KEY_FILE": "/none"},
	} {
		settings := map[string]string{"KNEO_SERV_SQLITE_PATH": filepath.Join(t.TempDir(), "kneo.db")}
		for k, v := range env {
			settings[k] = v
		}
		cfg, err := config.Load(config.FromMap(settings))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := New(t.Context(), cfg, Options{Host: "127.0.0.1", Log: io.Discard, Env: config.FromMap(settings)}); err == nil {
			a.Close()
			t.Errorf("%s: the service starts", name)
		}
	}
}

func TestAuthSwitchedOffIsLogged(t *testing.T) {
	p := start(t, map[string]string{"KNEO_SERV_ADMIN_API_KEY": "topsecret", "KNEO_SERV_AUTH_ENABLED": "false"})
	p.ok(200, "GET", "/v1/security/credentials", nil)
	log := p.log.String()
	if !strings.Contains(log, "WARN") || !strings.Contains(log, "auth") || strings.Contains(log, "topsecret") {
		t.Fatalf("log: %s", log)
	}
}

func TestStoreOutage(t *testing.T) {
	p := start(t, map[string]string{"KNEO_SERV_HEALTH_PROVIDERS": "no-such-provider"})
	code, out := p.call("GET", "/readyz", nil)
	if code != 503 || out["error"] != "not_ready" || out["metadata"].(object)["ready"] != false {
		t.Fatalf("readyz: %d %v", code, out)
	}
}

func TestAuditIsExported(t *testing.T) {
	p := start(t, map[string]string{"KNEO_SERV_AUDIT_EXPORT_ENABLED": "true"})
	run := p.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": review()})
	p.ok(200, "POST", "/v1/runs/"+run["run_id"].(string)+"/cancel", nil)
	p.ok(200, "PUT", "/v1/policies/environment/prod", object{})
	p.ok(200, "GET", "/v1/security/credentials", nil)
	for _, kind := range []string{"run.created", "run.cancelled", "policy.changed", "credential.inventory_accessed"} {
		if log := p.log.String(); strings.Count(log, `"event_type":"`+kind+`"`) != 1 {
			t.Errorf("%s in the log: %s", kind, log)
		}
	}
}

func TestDeadline(t *testing.T) {
	p := start(t, map[string]string{"KNEO_SERV_SWEEP_SECONDS": "0.05"})
	run := p.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": review(), "timeout_seconds": 0.05})
	deadline := time.Now().Add(20 * time.Second)
	for {
		done := p.ok(200, "GET", "/v1/runs/"+run["run_id"].(string), nil)
		if done["status"] == "timed_out" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("run: %v", done)
		}
		p.ok(200, "GET", "/v1/runs/"+run["run_id"].(string)+"/wait?timeout_seconds=0.2", nil)
	}
}

package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kneo-go/kneo/embed"
	"github.com/kneo-go/kneo/internal/cli"
)

// expect checks a result's exit code and that words appear on one of its streams.
func expect(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	for _, w := range words {
		if !strings.Contains(r.out+r.err, w) {
			t.Errorf("%q is missing in\n%s%s", w, r.out, r.err)
		}
	}
}

// count returns a service's answer to the question which runs it knows.
func count(t *testing.T, r result) int {
	t.Helper()
	var list struct{ Total int }
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatal(err, r.out, r.err)
	}
	return list.Total
}

func TestWhichService(t *testing.T) {
	urls := [4]string{}
	for i := range urls {
		urls[i] = service(t, nil)
		m := newMachine(t)
		for range i + 1 {
			expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--service-url", urls[i]), 0)
		}
	}
	m := newMachine(t)
	list := func(args ...string) int {
		return count(t, m.kneo(t.Context(), append([]string{"runs", "list", "--json"}, args...)...))
	}
	if n := list(); n != 0 {
		t.Errorf("local: %d runs", n)
	}
	expect(t, m.kneo(t.Context(), "config", "profile", "set", "one", "--service-url", urls[0]+"/"), 0)
	expect(t, m.kneo(t.Context(), "config", "profile", "set", "two", "--service-url", urls[1], "--no-activate"), 0)
	if n := list(); n != 1 {
		t.Errorf("active profile: %d runs", n)
	}
	m.write(t, ".kneo/config.yaml", "project: { name: p }\nservice: { default_url: '"+urls[2]+"' }\n")
	if n := list(); n != 3 {
		t.Errorf("project: %d runs", n)
	}
	if n := list("--profile", "two"); n != 2 {
		t.Errorf("profile: %d runs", n)
	}
	if n := list("--service-url", urls[3]); n != 4 {
		t.Errorf("address: %d runs", n)
	}
	if n := list("--service-url", urls[3], "--profile", "two"); n != 4 {
		t.Errorf("address and profile: %d runs", n)
	}
	expect(t, m.kneo(t.Context(), "runs", "list", "--profile", "three"), 1, "Unknown service profile: three")
}

func TestKeys(t *testing.T) {
	url := service(t, map[string]string{"KNEO_SERV_API_KEYS": "ada:key1:admin;vic:key2:viewer"})
	m := newMachine(t)
	expect(t, m.kneo(t.Context(), "runs", "list", "--service-url", url), 1, "Service request failed (401 Unauthorized)", "Give a key")
	m.env["KNEO_SERV_API_KEY"] = "key2"
	expect(t, m.kneo(t.Context(), "runs", "list", "--service-url", url), 0)
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--service-url", url), 1, "403 Forbidden", "lacks a scope")
	expect(t, m.kneo(t.Context(), "config", "profile", "set", "ada", "--service-url", url, "--api-key", "key1"), 0, `"authenticated": true`)
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x"), 0, "Final answer: x")
	r := m.kneo(t.Context(), "config", "profile", "list", "--json")
	expect(t, r, 0)
	if strings.Contains(r.out, "key1") {
		t.Error("the list shows a key")
	}
}

func TestTwoProcessesOnOneFile(t *testing.T) {
	m := newMachine(t)
	state := filepath.Join(m.dir, ".kneo", "kneo_runs.sqlite")
	p, err := embed.Open(t.Context(), embed.Options{Path: state})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, m.kneo(t.Context(), "runs", "list"), 0, "No runs.")
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x"), 1, state, "--service-url")
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--json"), 1, `"error":"store_unavailable"`)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x"), 0)
}

func TestFailedRunIsAFailure(t *testing.T) {
	m := newMachine(t)
	m.write(t, "fail.yaml", `version: v1
agent: { name: a, model: { provider: openai, name: m, extra: { base_url: "http://127.0.0.1:9", api_key: x } } }
`)
	expect(t, m.kneo(t.Context(), "run", "fail.yaml", "-i", "x"), 1, "Status: failed", "✗ ")
	r := m.kneo(t.Context(), "run", "fail.yaml", "-i", "x", "--json")
	expect(t, r, 1, `"status": "failed"`)
	var envelope struct {
		Detail struct {
			Error string
			RunID string `json:"run_id"`
		}
	}
	if err := json.Unmarshal([]byte(r.err), &envelope); err != nil || envelope.Detail.Error != "provider_error" || envelope.Detail.RunID == "" {
		t.Errorf("%v: %s", err, r.err)
	}
	expect(t, m.kneo(t.Context(), "runs", "watch", envelope.Detail.RunID), 1, "failed")
	expect(t, m.kneo(t.Context(), "runs", "recovery", envelope.Detail.RunID), 0)
}

func TestSecretsOfProvidersAreNamed(t *testing.T) {
	m := newMachine(t)
	t.Setenv("OPENAI_API_KEY", "")
	m.write(t, "paid.yaml", "version: v1\nagent: { name: a, model: { provider: openai, name: gpt-4o } }\n")
	expect(t, m.kneo(t.Context(), "run", "paid.yaml", "-i", "x"), 1, "OPENAI_API_KEY", "Set the variable")
}

func TestClientVariables(t *testing.T) {
	m := newMachine(t)
	for name, c := range map[string][2]string{
		"KNEO_SERV_CLIENT_TIMEOUT":               {"0", "KNEO_SERV_CLIENT_TIMEOUT must be greater than zero."},
		"KNEO_SERV_CLIENT_RETRIES":               {"-1", "KNEO_SERV_CLIENT_RETRIES must be zero or greater."},
		"KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS": {"soon", "KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS must be a number."},
	} {
		was := m.env[name]
		m.env[name] = c[0]
		expect(t, m.kneo(t.Context(), "runs", "list", "--service-url", "http://127.0.0.1:9"), 1, c[1])
		m.env[name] = was
	}
	expect(t, m.kneo(t.Context(), "runs", "list", "--service-url", "http://127.0.0.1:9"), 1, "Is a service running at http://127.0.0.1:9?")
	expect(t, m.kneo(t.Context(), "runs", "list", "--service-url", "http://127.0.0.1:9", "--json"), 1, `"error":"service_unreachable"`)
	expect(t, m.kneo(t.Context(), "runs", "list", "--service-url", "nonsense"), 1, "no service address")
}

// TestRetriesOverREST counts what an old service or a proxy gets.
func TestRetriesOverREST(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		calls  int64
	}{
		"an internal error is final":      {500, `{"detail":{"error":"internal_error","message":"no"}}`, 1},
		"a proxy that cannot reach it":    {502, "<html>bad gateway</html>", 3},
		"a page that is no answer":        {404, "<html>what?</html>", 1},
		"a full queue is tried again":     {503, `{"detail":{"error":"queue_full","message":"full"}}`, 3},
		"a run that does not exist is no": {404, `{"detail":{"error":"not_found","message":"gone"}}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			keys := map[string]bool{}
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost {
					w.WriteHeader(http.StatusNotImplemented)
					return
				}
				calls.Add(1)
				keys[r.Header.Get("Idempotency-Key")] = true
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer s.Close()
			m := newMachine(t)
			expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--service-url", s.URL), 1, "Service request failed (")
			if calls.Load() != c.calls || len(keys) != 1 || keys[""] {
				t.Errorf("%d calls with the keys %v, want %d with one", calls.Load(), keys, c.calls)
			}
		})
	}
}

func TestTemplatesAreGood(t *testing.T) {
	m := newMachine(t)
	for _, name := range cli.Templates() {
		file := "new/" + name + ".yaml"
		expect(t, m.kneo(t.Context(), "spec", "init", file, "--template", name), 0, "Wrote "+file)
		expect(t, m.kneo(t.Context(), "spec", "init", file, "--template", name), 1, "--force")
		expect(t, m.kneo(t.Context(), "spec", "lint", file), 0, "No lint issues found.")
		expect(t, m.kneo(t.Context(), "run", file, "-i", "An urgent question"), 0)
		expect(t, m.kneo(t.Context(), "spec", "graph", file, "--format", "dot"), 0, "digraph")
	}
	expect(t, m.kneo(t.Context(), "spec", "lint", "new"), 0)
	expect(t, m.kneo(t.Context(), "spec", "init", "--template", "soup"), 2, "'soup' is not one of agent, ")
	expect(t, m.kneo(t.Context(), "spec", "init", "-"), 0, "version: v1")
}

func TestFilesOfSpecs(t *testing.T) {
	m := newMachine(t)
	m.env["KNEO_SERV_SPEC_SIGNING_KEY"] = "abc"
	m.write(t, "old.yaml", "agent: { name: a }\n")
	expect(t, m.kneo(t.Context(), "spec", "migrate", "old.yaml", "--check"), 1)
	expect(t, m.kneo(t.Context(), "spec", "migrate", "old.yaml"), 0, "version: v1")
	expect(t, m.kneo(t.Context(), "spec", "migrate", "old.yaml", "--json"), 0, `"source_version": null`, `"changed": true`)
	expect(t, m.kneo(t.Context(), "spec", "migrate", "old.yaml", "-o", "new.yaml"), 0, "✓ Wrote migrated spec: new.yaml")
	expect(t, m.kneo(t.Context(), "spec", "migrate", "new.yaml", "--check", "--json"), 0, `"changed": false`)
	expect(t, m.kneo(t.Context(), "spec", "bundle", "sign", "new.yaml", "-o", "b.json"), 2, "'--approved-by'")
	expect(t, m.kneo(t.Context(), "spec", "bundle", "sign", "new.yaml", "-o", "b.json", "--approved-by", "ada", "--json"), 0, `"algorithm": "HMAC-SHA256"`)
	expect(t, m.kneo(t.Context(), "spec", "bundle", "verify", "b.json"), 0, "✓ Spec bundle verified.")
	expect(t, m.kneo(t.Context(), "spec", "bundle", "inspect", "b.json"), 0, "approved by  ada")
	expect(t, m.kneo(t.Context(), "spec", "bundle", "inspect", "b.json", "--json"), 0, `"key_id": "KNEO_SERV_SPEC_SIGNING_KEY"`)
	expect(t, m.kneo(t.Context(), "spec", "bundle", "inspect", "b.json", "--spec"), 0, "version: v1")
	expect(t, m.kneo(t.Context(), "spec", "bundle", "inspect", "b.json", "--spec", "--json"), 0, `"version":"v1"`)
	expect(t, m.kneo(t.Context(), "spec", "bundle", "inspect", "new.yaml"), 1, "")
	m.env["OTHER"] = "abd"
	expect(t, m.kneo(t.Context(), "spec", "bundle", "verify", "b.json", "--key-env", "OTHER"), 1, "Bundle signature is invalid.")
	expect(t, m.kneo(t.Context(), "spec", "bundle", "verify", "b.json", "--key-env", "NONE"), 1, "Signing key environment variable is not set: NONE")
	expect(t, m.kneo(t.Context(), "spec", "resolve", "hello.yaml"), 2, "'--output' / '-o'")
	expect(t, m.kneo(t.Context(), "spec", "resolve", "hello.yaml", "-o", "r/out.json"), 0, "✓ Wrote resolved spec: r/out.json")
	expect(t, m.kneo(t.Context(), "spec", "validate", "r/out.json"), 0)
	expect(t, m.kneo(t.Context(), "spec", "schema", "-o", "schema.json"), 0)
	expect(t, m.kneo(t.Context(), "spec", "graph", "triage.yaml", "--format", "svg", "-o", "g.svg"), 0, "Wrote graph: g.svg")
	for _, f := range []string{"schema.json", "g.svg", "b.json"} {
		if _, err := os.Stat(filepath.Join(m.dir, f)); err != nil {
			t.Error(err)
		}
	}
	m.write(t, "tab.yaml", "version: v1\nagent: { name: a\n")
	expect(t, m.kneo(t.Context(), "spec", "validate", "tab.yaml"), 1, "✗ ")
	expect(t, m.kneo(t.Context(), "spec", "validate", "tab.yaml", "hello.yaml"), 1, "E_SYNTAX", "✓ No diagnostics.")
}

func TestConfigCommands(t *testing.T) {
	m := newMachine(t)
	expect(t, m.kneo(t.Context(), "config", "show"), 0, "⚠ No Kneo project config found.")
	expect(t, m.kneo(t.Context(), "config", "show", "--json"), 0, "⚠ No Kneo project config found.")
	expect(t, m.kneo(t.Context(), "config", "secrets", "--json"), 0, `"openai-agents"`, `"google-adk"`)
	expect(t, m.kneo(t.Context(), "config", "init", "--name", "shop"), 0, "✓ Created .kneo/config.yaml")
	expect(t, m.kneo(t.Context(), "config", "init"), 1, "already exists. Use --force to overwrite.")
	expect(t, m.kneo(t.Context(), "config", "init", "--force", "--name", `odd "name`), 0)
	expect(t, m.kneo(t.Context(), "config", "show", "--json"), 0, `"name": "odd \"name"`, `"default_url": "http://localhost:8000"`)
	m.env["OPENAI_API_KEY"] = "sk-very-secret"
	r := m.kneo(t.Context(), "config", "secrets", "--json")
	expect(t, r, 0, `"present": true`, `"value": "[REDACTED]"`)
	if strings.Contains(r.out, "very-secret") {
		t.Error("a secret is shown")
	}
	expect(t, m.kneo(t.Context(), "config", "resolve", "--json", "--env", "prod"), 0, `"environment": "prod"`, `"secrets": "[REDACTED]"`, "research_agent.prod.yaml")
	expect(t, m.kneo(t.Context(), "config", "render-spec", "--spec", "hello.yaml", "-o", "out.yaml"), 0, "✓ Wrote resolved spec: "+filepath.Join(m.dir, "out.yaml"))
	m.write(t, "kneo_serv.yaml", "project: 1\n")
	if err := os.RemoveAll(filepath.Join(m.dir, ".kneo")); err != nil {
		t.Fatal(err)
	}
	expect(t, m.kneo(t.Context(), "config", "show"), 1, "Invalid project config ", "project must be a mapping")
}

func TestProfiles(t *testing.T) {
	m := newMachine(t)
	expect(t, m.kneo(t.Context(), "config", "profile", "show"), 1, "No service profile selected.")
	expect(t, m.kneo(t.Context(), "config", "profile", "set", "a"), 2, "'--service-url'")
	expect(t, m.kneo(t.Context(), "config", "profile", "set", "a", "--service-url", "http://a/", "--api-key", "k", "--json"), 0, `"service_url": "http://a"`)
	expect(t, m.kneo(t.Context(), "config", "profile", "show", "--name", "a"), 0, "✓ Service profile: a")
	expect(t, m.kneo(t.Context(), "config", "profile", "use", "b"), 1, "Unknown service profile: b")
	expect(t, m.kneo(t.Context(), "config", "profile", "delete", "a"), 0, "✓ Deleted service profile: a")
	expect(t, m.kneo(t.Context(), "config", "profile", "delete", "never"), 0)
	expect(t, m.kneo(t.Context(), "config", "profile", "list", "--json"), 0, `"active": null`, `"profiles": []`)
}

func TestCompletionKnowsLiveIDs(t *testing.T) {
	m := newMachine(t)
	expect(t, m.kneo(t.Context(), "run", "approval.yaml", "-i", "x"), 0)
	var list struct{ Runs []struct{ ID string } }
	r := m.kneo(t.Context(), "runs", "list", "--json")
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatal(err)
	}
	expect(t, m.kneo(t.Context(), "__complete", "runs", "get", ""), 0, list.Runs[0].ID, "blocked")
	expect(t, m.kneo(t.Context(), "__complete", "human", "get", ""), 0, "reply-with-approval")
	expect(t, m.kneo(t.Context(), "__complete", "spec", "init", "--template", ""), 0, "group-chat")
	expect(t, m.kneo(t.Context(), "completion", "bash"), 0, "__kneo")
}

func TestServiceConfig(t *testing.T) {
	m := newMachine(t)
	m.env["KNEO_SERV_ADMIN_API_KEY"], m.env["KNEO_SERV_WORKER_CONCURRENCY"] = "hidden-word", "3"
	for _, args := range [][]string{{"service", "config"}, {"service", "config", "--json"}, {"service", "config", "--all"}} {
		r := m.kneo(t.Context(), args...)
		expect(t, r, 0, "KNEO_SERV_WORKER_CONCURRENCY", "[REDACTED]")
		if strings.Contains(r.out, "hidden-word") {
			t.Error("a key is shown")
		}
	}
	m.env["KNEO_SERV_WORKER_CONCURRENCY"] = "many"
	expect(t, m.kneo(t.Context(), "service", "config"), 1, "KNEO_SERV_WORKER_CONCURRENCY must be an integer.")
	expect(t, m.kneo(t.Context(), "service", "serve"), 1, "KNEO_SERV_WORKER_CONCURRENCY must be an integer.")
}

func TestAsyncNeedsAService(t *testing.T) {
	m := newMachine(t)
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--async"), 2, "--async needs a service")
	url := service(t, nil)
	r := m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--async", "--json", "--service-url", url)
	expect(t, r, 0)
	var out struct {
		RunID string `json:"run_id"`
	}
	if err := json.Unmarshal([]byte(r.out), &out); err != nil {
		t.Fatal(err)
	}
	expect(t, m.kneo(t.Context(), "runs", "wait", out.RunID, "--service-url", url, "--timeout", "30"), 0, "Status: completed")
	r = m.kneo(t.Context(), "runs", "watch", out.RunID, "--service-url", url, "--json")
	expect(t, r, 0, `"kind":"completed"`)
}

package operations

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/replica"
)

// refused starts a service that must not start and returns what it says.
func refused(t *testing.T, env map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	_, stderr := kneo(t, dir, env, 1, "service", "serve", "--port", "0")
	return stderr
}

// TestStartIsRefused holds every reason of the runbook for a service that does not start.
func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"auth without keys":    {map[string]string{"KNEO_SERV_AUTH_ENABLED": "true"}, "no API keys are configured"},
		"invalid key entry":    {map[string]string{"KNEO_SERV_API_KEYS": "a:b"}, "Invalid KNEO_SERV_API_KEYS entry"},
		"dead PostgreSQL":      {map[string]string{"KNEO_SERV_DATABASE_URL": "postgres://kneo:hidden-word@127.0.0.1:1/kneo"}, "127.0.0.1"},
		"malformed DSN":        {map[string]string{"KNEO_SERV_DATABASE_URL": "postgres://kneo:hidden-word@:no-port/kneo"}, ""},
		"unwritable SQLite":    {map[string]string{"KNEO_SERV_SQLITE_PATH": "/proc/none/kneo.db"}, "/proc/none"},
		"missing secret":       {map[string]string{"KNEO_SERV_REQUIRE_PROVIDER_SECRETS": "true", "KNEO_SERV_HEALTH_PROVIDERS": "openai"}, "OPENAI_API_KEY"},
		"bad log level":        {map[string]string{"KNEO_SERV_LOG_LEVEL": "LOUD"}, "KNEO_SERV_LOG_LEVEL"},
		"bad size limit":       {map[string]string{"KNEO_SERV_MAX_INPUT_CHARS": "0"}, "KNEO_SERV_MAX_INPUT_CHARS"},
		"live rows in pruning": {map[string]string{"KNEO_SERV_RETENTION_RUN_STATUSES": "running"}, "KNEO_SERV_RETENTION_RUN_STATUSES"},
	} {
		stderr := refused(t, c.env)
		if !strings.Contains(stderr, c.want) || strings.Contains(stderr, "hidden-word") {
			t.Errorf("%s: %s", name, stderr)
		}
	}
}

// TestReadinessNamesTheCheck: 503 with the check that failed, while liveness stays.
func TestReadinessNamesTheCheck(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), map[string]string{"KNEO_SERV_HEALTH_PROVIDERS": "openai", "KNEO_SERV_HEALTH_MCP_SECRETS": "SOME_TOKEN", "KNEO_SERV_ADMIN_API_KEY": "k"})
	answer := p.OK(t, http.StatusServiceUnavailable, "GET", "/readyz", nil)
	text, err := json.Marshal(answer)
	if err != nil || answer["error"] != "not_ready" || !strings.Contains(string(text), "OPENAI_API_KEY") || !strings.Contains(string(text), "SOME_TOKEN") {
		t.Errorf("readiness: %s, %v", text, err)
	}
	p.OK(t, http.StatusOK, "GET", "/livez", nil)
	// Health is open while the rest is closed.
	p.OK(t, http.StatusUnauthorized, "GET", "/v1/runs", nil)
}

// TestDatabaseGoesAwayAndComesBack: readiness says so, requests get 503, and everything goes on afterwards without a restart.
func TestDatabaseGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	db, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	p := replica.Serve(t, t.TempDir(), map[string]string{"KNEO_SERV_DATABASE_URL": db.DSN("postgres")})
	p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": greeter()})
	resume, err := db.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	replica.Eventually(t, "readiness notices", func() bool {
		status, answer, err := p.Call(t.Context(), "GET", "/readyz", nil)
		text, marshal := json.Marshal(answer)
		return err == nil && marshal == nil && status == http.StatusServiceUnavailable && strings.Contains(string(text), "run_state_store")
	})
	if answer := p.OK(t, http.StatusServiceUnavailable, "GET", "/v1/runs", nil); !strings.Contains(answer["detail"].(object)["error"].(string), "unavailable") {
		t.Errorf("answer: %v", answer)
	}
	if err := resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica.Eventually(t, "readiness recovers", func() bool {
		status, _, err := p.Call(t.Context(), "GET", "/readyz", nil)
		return err == nil && status == http.StatusOK
	})
	p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": greeter()})
}

// TestSecondProcessOnOneFile: the second writer is refused and told the way out; a reader is not.
func TestSecondProcessOnOneFile(t *testing.T) {
	t.Parallel()
	dir, env := t.TempDir(), map[string]string{"KNEO_SERV_SQLITE_PATH": "kneo.db"}
	p := replica.Serve(t, dir, env)
	_, stderr := kneo(t, dir, env, 1, "service", "serve", "--port", "0")
	if !strings.Contains(stderr, "kneo.db") || !strings.Contains(stderr, "KNEO_SERV_DATABASE_URL") {
		t.Errorf("refusal: %s", stderr)
	}
	kneo(t, dir, env, 0, "service", "sweep", "--dry-run", "--json")
	p.Kill()
	replica.Serve(t, dir, env) // a dead owner does not stand in the way
}

// TestRunsWaitWithoutAWorker: the run stays queued, says so, and doctor and metrics show it.
func TestRunsWaitWithoutAWorker(t *testing.T) {
	t.Parallel()
	dir, env := t.TempDir(), map[string]string{"KNEO_SERV_SQLITE_PATH": "kneo.db"}
	p := replica.Serve(t, dir, env, "--no-worker")
	run := p.OK(t, http.StatusAccepted, "POST", "/v1/runs", object{"input": "x", "spec": greeter(), "async_mode": true})["run_id"].(string)
	if list := p.OK(t, http.StatusOK, "GET", "/v1/runs?status=queued", nil); list["total"] != 1.0 {
		t.Errorf("queued runs: %v", list)
	}
	metrics, _ := p.OK(t, http.StatusOK, "GET", "/metrics", nil)["text"].(string)
	if !strings.Contains(metrics, "kneo_runs_queued 1\n") || !strings.Contains(metrics, "kneo_worker_count 0\n") {
		t.Error("the metrics do not show the run")
	}
	if out, _ := kneo(t, dir, env, 0, "service", "doctor"); !strings.Contains(out, "1 runs are waiting") {
		t.Errorf("doctor: %s", out)
	}
	p.Stop(t)
	p = replica.Serve(t, dir, env)
	done := p.OK(t, http.StatusOK, "GET", "/v1/runs/"+run+"/wait?timeout_seconds=20", nil)
	if state, _ := done["run"].(object); state["status"] != "completed" {
		t.Errorf("run: %v", done)
	}
}

// TestWorkersApart: one process answers, another one executes; the worker answers probes and scrapes only.
func TestWorkersApart(t *testing.T) {
	t.Parallel()
	db, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	env := map[string]string{"KNEO_SERV_DATABASE_URL": db.DSN("postgres")}
	api := replica.Serve(t, t.TempDir(), env, "--no-worker")
	worker := replica.Work(t, t.TempDir(), env)
	run := api.OK(t, http.StatusAccepted, "POST", "/v1/runs", object{"input": "x", "spec": greeter(), "async_mode": true})["run_id"].(string)
	done := api.OK(t, http.StatusOK, "GET", "/v1/runs/"+run+"/wait?timeout_seconds=20", nil)
	if state, _ := done["run"].(object); state["status"] != "completed" {
		t.Errorf("run: %v", done)
	}
	worker.OK(t, http.StatusOK, "GET", "/readyz", nil)
	worker.OK(t, http.StatusNotFound, "GET", "/v1/runs", nil)
	if text, _ := worker.OK(t, http.StatusOK, "GET", "/metrics", nil)["text"].(string); !strings.Contains(text, "kneo_runs_completed_total 1\n") {
		t.Error("the worker did not execute the run")
	}
	if code := worker.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestCancelIsNeverOverwritten cancels a run whose step hangs: the step's late answer changes nothing. It also shows the deadline of a run.
func TestCancelIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	model := replica.NewModel(t)
	release := make(chan struct{})
	model.Answer = func(replica.ModelCall) (string, int) {
		<-release
		return "too late", http.StatusOK
	}
	p := replica.Serve(t, t.TempDir(), map[string]string{"HOUSE_KEY": "k", "KNEO_SERV_SWEEP_SECONDS": "0.2", "KNEO_SERV_WORKER_CONCURRENCY": "2"})
	spec := object{"version": "v1", "agent": model.Agent("writer")}
	start := func(more object) string {
		body := object{"input": "x", "spec": spec, "async_mode": true}
		for k, v := range more {
			body[k] = v
		}
		return p.OK(t, http.StatusAccepted, "POST", "/v1/runs", body)["run_id"].(string)
	}
	cancelled := start(nil)
	replica.Eventually(t, "the step runs", func() bool { return len(model.Calls()) > 0 })
	p.OK(t, http.StatusOK, "POST", "/v1/runs/"+cancelled+"/cancel", nil)
	overdue := start(object{"timeout_seconds": 0.5})
	replica.Eventually(t, "the deadline passes", func() bool {
		return p.OK(t, http.StatusOK, "GET", "/v1/runs/"+overdue, nil)["status"] == "timed_out"
	})
	close(release)
	after := start(nil)
	p.OK(t, http.StatusOK, "GET", "/v1/runs/"+after+"/wait?timeout_seconds=20", nil)
	for id, want := range map[string]string{cancelled: "cancelled", overdue: "timed_out"} {
		if run := p.OK(t, http.StatusOK, "GET", "/v1/runs/"+id, nil); run["status"] != want || run["output_text"] == "too late" {
			t.Errorf("run: %v", run)
		}
	}
}

// TestLimitsAndKeys holds 401, 403, 400, 409, 413 and 422 of the runbook.
func TestLimitsAndKeys(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), map[string]string{
		"KNEO_SERV_API_KEYS": "eve:k1:viewer;ann:k2:operator;rob:k3:reviewer", "KNEO_SERV_MAX_INPUT_CHARS": "10", "KNEO_SERV_MAX_BODY_BYTES": "4000", "KNEO_SERV_MAX_INLINE_SPEC_BYTES": "300",
		"KNEO_SERV_MAX_METADATA_BYTES": "50", "KNEO_SERV_MAX_PATH_CHARS": "30", "KNEO_SERV_MAX_OVERRIDES_BYTES": "50", "KNEO_SERV_MAX_LIST_ITEMS": "3",
		"KNEO_SERV_MAX_HUMAN_CONTENT_CHARS": "10",
	})
	as := func(key string, more ...string) []string {
		return append([]string{"Authorization", "Bearer " + key}, more...)
	}
	body := func(more object) object {
		b := object{"input": "x", "spec": greeter()}
		for k, v := range more {
			b[k] = v
		}
		return b
	}
	p.OK(t, http.StatusUnauthorized, "GET", "/v1/runs", nil)
	p.OK(t, http.StatusUnauthorized, "GET", "/v1/runs", nil, as("no")...)
	p.OK(t, http.StatusForbidden, "POST", "/v1/runs", body(nil), as("k1")...)
	p.OK(t, http.StatusOK, "POST", "/v1/runs", body(nil), as("k2", "Idempotency-Key", "one")...)
	p.OK(t, http.StatusConflict, "POST", "/v1/runs", body(object{"input": "y"}), as("k2", "Idempotency-Key", "one")...)
	p.OK(t, http.StatusBadRequest, "POST", "/v1/runs", body(nil), as("k2", "Idempotency-Key", " ")...)
	p.OK(t, http.StatusBadRequest, "POST", "/v1/runs", body(nil), as("k2", "Idempotency-Key", strings.Repeat("k", 257))...)
	for name, more := range map[string]object{
		"input": {"input": strings.Repeat("x", 11)}, "metadata": {"metadata": object{"a": strings.Repeat("x", 100)}},
		"overrides": {"overrides": object{"a": strings.Repeat("x", 100)}}, "list": {"overlays": []string{"a", "b", "c", "d"}},
		"inline spec": {"spec": object{"version": "v1", "agent": object{"name": strings.Repeat("n", 400)}}}, "path": {"spec": nil, "spec_path": strings.Repeat("p", 31)},
	} {
		status, answer, err := p.Call(t.Context(), "POST", "/v1/runs", body(more), as("k2")...)
		if err != nil || status != http.StatusUnprocessableEntity && status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %v %v", name, status, answer, err)
		}
	}
	p.OK(t, http.StatusUnprocessableEntity, "POST", "/v1/human-tasks/none/resume", object{"request_id": "q", "decision": "provided", "content": strings.Repeat("c", 11)}, as("k3")...)
	p.OK(t, http.StatusRequestEntityTooLarge, "POST", "/v1/runs", body(object{"session_id": strings.Repeat("s", 5000)}), as("k2")...)
}

// TestHumanTasksThatAreGone: an unknown or answered task is 404, one whose time has passed is 409.
func TestHumanTasksThatAreGone(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), map[string]string{"KNEO_SERV_SWEEP_SECONDS": "0.1"})
	answer := object{"request_id": "q", "decision": "approved"}
	p.OK(t, http.StatusNotFound, "POST", "/v1/human-tasks/none/resume", answer)
	paused := p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": gated(object{"request_type": "approval", "timeout_seconds": 1}, object{"name": "publish"})})
	replica.Eventually(t, "the run expires", func() bool {
		return p.OK(t, http.StatusOK, "GET", "/v1/runs/"+paused["run_id"].(string), nil)["status"] == "expired"
	})
	task := paused["continuation_id"].(string)
	p.OK(t, http.StatusNotFound, "GET", "/v1/human-tasks/"+task, nil)
	if refusal := p.OK(t, http.StatusConflict, "POST", "/v1/human-tasks/"+task+"/resume", answer); refusal["detail"].(object)["error"] != "human_task_expired" {
		t.Errorf("answer: %v", refusal)
	}
}

// TestTaskIsAnsweredOnce answers a task while the answer of somebody else is being carried out: 409, and the first one counts.
func TestTaskIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	model := replica.NewModel(t)
	release := make(chan struct{})
	model.Answer = func(c replica.ModelCall) (string, int) {
		<-release
		return c.Input, http.StatusOK
	}
	p := replica.Serve(t, t.TempDir(), map[string]string{"HOUSE_KEY": "k"})
	paused := p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": gated(object{"request_type": "freeform"}, model.Agent("publish"))})
	path := "/v1/human-tasks/" + paused["continuation_id"].(string) + "/resume"
	answer := func(text string) object {
		return object{"request_id": "q", "decision": "provided", "content": text}
	}
	first := make(chan object, 1)
	go func() {
		_, out, err := p.Call(t.Context(), "POST", path, answer("first"))
		if err != nil {
			t.Error(err)
		}
		first <- out
	}()
	replica.Eventually(t, "the first answer is carried out", func() bool { return len(model.Calls()) > 0 })
	status, refusal, err := p.Call(t.Context(), "POST", path, answer("second"))
	if err != nil || status != http.StatusConflict && status != http.StatusNotFound {
		t.Errorf("second answer: %d %v %v", status, refusal, err)
	}
	close(release)
	if out := <-first; out["status"] != "completed" || out["output_text"] != "first" {
		t.Errorf("first answer: %v", out)
	}
}

// TestMissingSecretAtTheCall: the run is answered with 424 and the name of the variable.
func TestMissingSecretAtTheCall(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), nil)
	model := &replica.Model{URL: "http://127.0.0.1:1/v1"}
	status, answer, err := p.Call(t.Context(), "POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1", "agent": model.Agent("a")}})
	text, marshal := json.Marshal(answer)
	if err != nil || marshal != nil || status != http.StatusFailedDependency || !strings.Contains(string(text), "HOUSE_KEY") {
		t.Errorf("%d %s %v", status, text, err)
	}
}

// TestToolWithoutImplementation: the spec is refused with a diagnostic that names the tool.
func TestToolWithoutImplementation(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), nil)
	spec := object{"version": "v1", "agent": object{"name": "a"}, "components": object{"functions": object{"f": object{"implementation": "shop.none"}}}, "workflow": object{
		"name": "w", "type": "sequential", "steps": []object{{"id": "f", "kind": "function", "ref": "f"}},
	}}
	answer := p.OK(t, http.StatusBadRequest, "POST", "/v1/runs", object{"input": "x", "spec": spec})
	text, err := json.Marshal(answer)
	if err != nil || !strings.Contains(string(text), "spec_invalid") || !strings.Contains(string(text), "shop.none") {
		t.Errorf("answer: %s", text)
	}
}

// TestFilesOfRetention: artifact and log files go with their age, and a dry run only counts.
func TestFilesOfRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, "artifacts", "old.txt")
	if err := os.MkdirAll(filepath.Dir(old), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-72 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KNEO_SERV_SQLITE_PATH": "kneo.db", "KNEO_SERV_ARTIFACT_PATH": "artifacts", "KNEO_SERV_RETENTION_ARTIFACTS_DAYS": "1", "KNEO_SERV_RETENTION_RUNS_DAYS": "0"}
	kneo(t, dir, env, 0, "service", "migrate")
	for _, step := range []struct {
		args []string
		left bool
	}{{[]string{"--dry-run"}, true}, {nil, false}} {
		out, _ := kneo(t, dir, env, 0, append([]string{"service", "prune", "--json"}, step.args...)...)
		if !strings.Contains(out, `"artifacts": 1`) {
			t.Errorf("report: %s", out)
		}
		if _, err := os.Stat(old); (err == nil) != step.left {
			t.Errorf("after %v: %v", step.args, err)
		}
	}
}

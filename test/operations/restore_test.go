package operations

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/replica"
)

// seeded are the ids of what a drill must find again.
type seeded struct{ done, blocked, task, key string }

// seed fills every surface that is stored: a finished and a blocked run, a task, an idempotency key, audit events, a policy.
func seed(t *testing.T, p *replica.Process) seeded {
	t.Helper()
	var s seeded
	s.key = "drill"
	s.done, _ = p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "kept", "spec": greeter()}, "Idempotency-Key", s.key)["run_id"].(string)
	paused := p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "kept", "spec": gated(object{"request_type": "approval"}, object{"name": "publish"})})
	s.blocked, _ = paused["run_id"].(string)
	s.task, _ = paused["continuation_id"].(string)
	p.OK(t, http.StatusOK, "PUT", "/v1/policies/environment/prod", object{"require_guardrails": true})
	return s
}

// found looks for everything that was seeded and goes on with it.
func (s seeded) found(t *testing.T, p *replica.Process) {
	t.Helper()
	p.OK(t, http.StatusOK, "GET", "/readyz", nil)
	if run := p.OK(t, http.StatusOK, "GET", "/v1/runs/"+s.done, nil); run["output_text"] != "Final answer: kept" {
		t.Errorf("run: %v", run)
	}
	if again := p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "kept", "spec": greeter()}, "Idempotency-Key", s.key); again["run_id"] != s.done {
		t.Errorf("the key started another run: %v", again)
	}
	if events := p.OK(t, http.StatusOK, "GET", "/v1/audit-events?run_id="+s.done, nil); events["total"] != 1.0 {
		t.Errorf("audit: %v", events)
	}
	if policy := p.OK(t, http.StatusOK, "GET", "/v1/policies/environment/prod", nil); policy["policy"] == nil {
		t.Errorf("policy: %v", policy)
	}
	checkpoints := p.OK(t, http.StatusOK, "GET", "/v1/runs/"+s.done+"/checkpoints", nil)
	if text, err := json.Marshal(checkpoints); err != nil || !strings.Contains(string(text), "run_completed") {
		t.Errorf("checkpoints: %v", checkpoints)
	}
	p.OK(t, http.StatusOK, "GET", "/v1/human-tasks/"+s.task, nil)
}

// resumed answers the task: the journal is whole.
func (s seeded) resumed(t *testing.T, p *replica.Process) {
	t.Helper()
	if run := p.OK(t, http.StatusOK, "POST", "/v1/human-tasks/"+s.task+"/resume", object{"request_id": "q", "decision": "approved"}); run["status"] != "completed" {
		t.Errorf("resumed: %v", run)
	}
}

func kneo(t *testing.T, dir string, env map[string]string, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := replica.Command(t, dir, env, args...)
	if code != want {
		t.Fatalf("kneo %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout, stderr
}

// TestRestoreSQLite copies a database while the service runs, loses it, and brings it back.
func TestRestoreSQLite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := map[string]string{"KNEO_SERV_SQLITE_PATH": "data/kneo.db"}
	p := replica.Serve(t, dir, env)
	s := seed(t, p)
	kneo(t, dir, env, 0, "service", "backup", "copy.db")
	if _, stderr := kneo(t, dir, env, 1, "service", "backup", "copy.db"); !strings.Contains(stderr, "exists already") {
		t.Errorf("a backup writes over another: %s", stderr)
	}
	if _, stderr := kneo(t, dir, env, 1, "service", "restore", "copy.db", "--force"); !strings.Contains(stderr, "stop the service first") {
		t.Errorf("restored under a running service: %s", stderr)
	}
	s.resumed(t, p) // after the backup: the restored database must not know of it
	p.Kill()
	if err := os.WriteFile(filepath.Join(dir, "data", "kneo.db"), []byte("ruined"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr := kneo(t, dir, env, 1, "service", "restore", "copy.db"); !strings.Contains(stderr, "exists already") {
		t.Errorf("restored over something: %s", stderr)
	}
	kneo(t, dir, env, 0, "service", "restore", "copy.db", "--force")
	p = replica.Serve(t, dir, env)
	s.found(t, p)
	s.resumed(t, p)
}

// TestRestoreRefusals brings back what must not be brought back.
func TestRestoreRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := map[string]string{"KNEO_SERV_SQLITE_PATH": "kneo.db"}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("text.db", "not a database")
	write("broken.db", "SQLite format 3\x00"+strings.Repeat("x", 8192))
	for file, want := range map[string]string{"text.db": "Not a SQLite database file", "broken.db": "", "missing.db": "Backup source does not exist"} {
		if _, stderr := kneo(t, dir, env, 1, "service", "restore", file); !strings.Contains(stderr, want) {
			t.Errorf("%s: %s", file, stderr)
		}
	}
	if _, stderr := kneo(t, dir, env, 1, "service", "backup", "copy.db"); !strings.Contains(stderr, "Backup source does not exist") {
		t.Errorf("backup of nothing: %s", stderr)
	}
	kneo(t, dir, env, 0, "service", "migrate")
	newer := filepath.Join(dir, "newer.db")
	kneo(t, dir, env, 0, "service", "backup", newer)
	age(t, newer)
	if _, stderr := kneo(t, dir, env, 1, "service", "restore", newer, "--force"); !strings.Contains(stderr, "newer") {
		t.Errorf("a newer schema is brought back: %s", stderr)
	}
	// The same file as the database of a service: it refuses to start and says why.
	age(t, filepath.Join(dir, "kneo.db"))
	if _, stderr := kneo(t, dir, env, 1, "service", "serve", "--port", "0"); !strings.Contains(stderr, "newer") {
		t.Errorf("the service starts on a newer schema: %s", stderr)
	}
	if stdout, _ := kneo(t, dir, env, 1, "service", "doctor"); !strings.Contains(stdout, "schema version 99") {
		t.Errorf("doctor: %s", stdout)
	}
}

// TestRestorePostgres does the drill with pg_dump and pg_restore, into another database.
func TestRestorePostgres(t *testing.T) {
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
	dir := t.TempDir()
	source := map[string]string{"KNEO_SERV_DATABASE_URL": db.DSN("postgres")}
	p := replica.Serve(t, dir, source)
	s := seed(t, p)
	kneo(t, dir, source, 0, "service", "backup", "copy.dump")
	if _, stderr := kneo(t, dir, source, 1, "service", "restore", "copy.dump", "--force"); !strings.Contains(stderr, "stop the service first") {
		t.Errorf("restored under a running service: %s", stderr)
	}
	p.Kill()
	if err := db.Exec(t.Context(), "CREATE DATABASE other"); err != nil {
		t.Fatal(err)
	}
	target := map[string]string{"KNEO_SERV_DATABASE_URL": db.DSN("other")}
	kneo(t, dir, target, 0, "service", "restore", "copy.dump")
	if _, stderr := kneo(t, dir, target, 1, "service", "restore", "copy.dump"); !strings.Contains(stderr, "exists already") {
		t.Errorf("restored over something: %s", stderr)
	}
	kneo(t, dir, target, 0, "service", "restore", "copy.dump", "--force")
	p = replica.Serve(t, dir, target)
	s.found(t, p)
	s.resumed(t, p)
	out, _ := kneo(t, dir, target, 0, "service", "doctor", "--json")
	if !strings.Contains(out, "PostgreSQL") || !strings.Contains(out, `"check": "notifications"`) {
		t.Errorf("doctor: %s", out)
	}
}

// TestRollingRestart replaces one replica after another while requests arrive: none is lost, and older and newer processes share the database. With
// KNEO_UPGRADE_FROM the first replicas are another build.
func TestRollingRestart(t *testing.T) {
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
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := program
	if other := os.Getenv("KNEO_UPGRADE_FROM"); other != "" {
		before = other
	}
	dir, env := t.TempDir(), map[string]string{"KNEO_SERV_DATABASE_URL": db.DSN("postgres"), "KNEO_SERV_WORKER_CONCURRENCY": "2"}
	start := func(program string) *replica.Process {
		t.Helper()
		p, err := replica.TryServe(program, dir, maps.Clone(env))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	members := []*replica.Process{start(before), start(before)}
	s := seed(t, members[0])
	var runs []string
	order := func(p *replica.Process, n int) {
		t.Helper()
		for range n {
			run := p.OK(t, http.StatusAccepted, "POST", "/v1/runs", object{"input": "x", "spec": greeter(), "async_mode": true})
			runs = append(runs, run["run_id"].(string))
		}
	}
	for i := range members {
		order(members[1-i], 15)
		if code := members[i].Stop(t); code != 0 {
			t.Errorf("exit code %d\n%s", code, members[i].Log())
		}
		members[i] = start(program)
		order(members[i], 15)
	}
	for _, id := range runs {
		done := members[0].OK(t, http.StatusOK, "GET", "/v1/runs/"+id+"/wait?timeout_seconds=20", nil)
		if run, _ := done["run"].(object); run["status"] != "completed" {
			t.Errorf("%s: %v", id, done)
		}
	}
	s.found(t, members[1])
	s.resumed(t, members[1])
}

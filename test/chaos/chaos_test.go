// Package chaos runs several processes of the service on one PostgreSQL and disturbs them: processes are killed, stopped for longer than their
// leases, and the database restarts. Every accepted run must end exactly once, as if nothing had happened.
//
// KNEO_CHAOS_RUNS and KNEO_CHAOS_SECONDS make it longer; `make chaos` does.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/replica"
)

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

const replicas = 3

func number(t *testing.T, name string, otherwise int) int {
	raw, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(raw)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// fleet is a number of processes on one database that may be replaced at any time.
type fleet struct {
	t   *testing.T
	dir string
	env map[string]string

	mu      sync.Mutex
	members []*replica.Process
	// woken are the times at which stopped processes went on.
	woken []time.Time
	next  atomic.Int64
}

func (f *fleet) start() *replica.Process {
	program, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	for {
		p, err := replica.TryServe(program, f.dir, f.env)
		if err == nil {
			f.t.Cleanup(p.Kill)
			return p
		}
		// A process that starts while the database is away ends at once; whoever runs it starts it again.
		if !strings.Contains(err.Error(), "did not start") {
			f.t.Fatal(err)
		}
	}
}

// any is a process to talk to, another one each time.
func (f *fleet) any() *replica.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[int(f.next.Add(1))%len(f.members)]
}

func (f *fleet) replace(i int) {
	p := f.start()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[i] = p
}

// patience bounds one request; a stopped process answers nothing.
const patience = 4 * time.Second

// insist repeats a request, on other processes too, until it gets an answer that is not an outage.
func (f *fleet) insist(ctx context.Context, method, path string, body any, header ...string) (int, map[string]any, error) {
	for {
		short, cancel := context.WithTimeout(ctx, patience)
		status, answer, err := f.any().Call(short, method, path, body, header...)
		cancel()
		busy := status == http.StatusConflict && strings.Contains(fmt.Sprint(answer), "in_progress")
		if err == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests && status < 500 && !busy {
			return status, answer, nil
		}
		select {
		case <-ctx.Done():
			return status, answer, errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// order is one run of the load and what the test was told about it.
type order struct {
	key       string
	id        string
	gate      bool
	cancel    bool
	answered  bool
	cancelled bool
}

func spec(m *replica.Model, gate bool) map[string]any {
	step := func(id, kind string) map[string]any { return map[string]any{"id": id, "kind": kind, "ref": id} }
	steps := []any{step("draft", "agent"), step("enrich", "agent"), step("polish", "agent")}
	if gate {
		steps = []any{step("draft", "agent"), step("review", "human"), step("polish", "agent")}
	}
	return map[string]any{
		"version": "v1", "agent": map[string]any{"name": "root"},
		"components": map[string]any{
			"agents": map[string]any{"draft": m.Agent("draft"), "enrich": m.Agent("enrich"), "polish": m.Agent("polish")},
			"humans": map[string]any{"review": map[string]any{"request_type": "freeform"}},
		},
		"workflow": map[string]any{"name": "line", "type": "sequential", "steps": steps},
	}
}

// place creates a run, answers its task and cancels it, as its order says.
func (f *fleet) place(ctx context.Context, m *replica.Model, o *order) error {
	status, answer, err := f.insist(ctx, http.MethodPost, "/v1/runs", map[string]any{"input": o.key, "spec": spec(m, o.gate), "async_mode": true}, "Idempotency-Key", o.key)
	if err != nil || status != http.StatusAccepted {
		return fmt.Errorf("create %s: %d %v %w", o.key, status, answer, err)
	}
	o.id, _ = answer["run_id"].(string)
	if o.cancel {
		status, answer, err = f.insist(ctx, http.MethodPost, "/v1/runs/"+o.id+"/cancel", nil)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("cancel %s: %d %v %w", o.key, status, answer, err)
		}
		o.cancelled = answer["status"] == "cancelled"
		return nil
	}
	if o.gate {
		return f.decide(ctx, o)
	}
	return nil
}

func (f *fleet) decide(ctx context.Context, o *order) error {
	task := ""
	for task == "" {
		status, answer, err := f.insist(ctx, http.MethodGet, "/v1/runs/"+o.id+"/wait?timeout_seconds=1", nil)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("wait for %s: %d %v %w", o.key, status, answer, err)
		}
		state, _ := answer["run"].(map[string]any)
		task, _ = state["continuation_id"].(string)
	}
	decision := map[string]any{"request_id": "r-" + o.key, "decision": "edited", "content": "decided " + o.key}
	status, answer, err := f.insist(ctx, http.MethodPost, "/v1/human-tasks/"+task+"/resume", decision, "Idempotency-Key", "decide-"+o.key)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("decide %s: %d %v %w", o.key, status, answer, err)
	}
	o.answered = true
	return nil
}

// disturb does one thing after another to the fleet and its database until the context ends.
func (f *fleet) disturb(ctx context.Context, db *pgtest.Server, counts map[string]int) {
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // a test
	kinds := []string{"kill", "stop", "kill", "database", "stop", "crash of the database"}
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(300+random.IntN(700)) * time.Millisecond):
		}
		kind, i := kinds[n%len(kinds)], random.IntN(replicas)
		f.mu.Lock()
		p := f.members[i]
		f.mu.Unlock()
		counts[kind]++
		switch kind {
		case "kill":
			p.Kill()
			f.replace(i)
		case "stop":
			if err := p.Signal(syscall.SIGSTOP); err != nil {
				f.t.Error(err)
			}
			select { // longer than the lease
			case <-ctx.Done():
			case <-time.After(2500 * time.Millisecond):
			}
			f.mu.Lock()
			f.woken = append(f.woken, time.Now())
			f.mu.Unlock()
			if err := p.Signal(syscall.SIGCONT); err != nil {
				f.t.Error(err)
			}
		default:
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			if err := db.Restart(limit, kind != "database"); err != nil {
				f.t.Error(err)
			}
			cancel()
		}
	}
}

func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	runs := number(t, "KNEO_CHAOS_RUNS", 150)
	length := time.Duration(number(t, "KNEO_CHAOS_SECONDS", 12)) * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), length+4*time.Minute)
	defer cancel()
	db, err := pgtest.Start(ctx, "synchronous_commit=on", "full_page_writes=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	model := replica.NewModel(t)
	model.Answer = func(c replica.ModelCall) (string, int) {
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond) //nolint:gosec // a test
		return c.Model + "(" + c.Input + ")", http.StatusOK
	}
	f := &fleet{t: t, dir: t.TempDir(), env: map[string]string{
		"KNEO_SERV_DATABASE_URL": db.DSN("postgres"), "KNEO_SERV_WORKER_LEASE_SECONDS": "1", "KNEO_SERV_WORKER_CONCURRENCY": "4", "KNEO_SERV_QUEUE_MAX_ATTEMPTS": "0",
		"KNEO_SERV_WORKER_IDLE_POLL_SECONDS": "0.2", "KNEO_SERV_SWEEP_SECONDS": "0.5", "KNEO_SERV_REQUEST_LOGS": "false", "HOUSE_KEY": "k", "KNEO_SERV_PROVIDER_RETRIES": "2",
	}}
	for range replicas {
		f.members = append(f.members, f.start())
	}
	orders := make([]*order, runs)
	for i := range orders {
		orders[i] = &order{key: fmt.Sprintf("run-%04d", i), gate: i%3 == 1, cancel: i%10 == 9}
	}
	chaos, calm := context.WithTimeout(ctx, length)
	defer calm()
	counts := map[string]int{}
	var disturbing sync.WaitGroup
	disturbing.Go(func() { f.disturb(chaos, db, counts) })
	f.load(ctx, model, orders, length)
	calm()
	disturbing.Wait()
	f.settle(ctx, orders)
	judge(t, db.DSN("postgres"), model, orders, f.woken)
	t.Logf("disturbances: %v; %d model calls", counts, len(model.Calls()))
}

// load places the orders evenly over the time.
func (f *fleet) load(ctx context.Context, m *replica.Model, orders []*order, length time.Duration) {
	var open sync.WaitGroup
	pace := time.NewTicker(max(length/time.Duration(len(orders)), time.Millisecond))
	defer pace.Stop()
	for _, o := range orders {
		<-pace.C
		open.Go(func() {
			if err := f.place(ctx, m, o); err != nil {
				f.t.Error(err)
			}
		})
	}
	open.Wait()
}

// settle waits until every run has ended.
func (f *fleet) settle(ctx context.Context, orders []*order) {
	for _, o := range orders {
		for o.id != "" {
			status, answer, err := f.insist(ctx, http.MethodGet, "/v1/runs/"+o.id+"/wait?timeout_seconds=1", nil)
			if err != nil || status != http.StatusOK {
				f.t.Fatalf("wait for %s: %d %v %v", o.key, status, answer, err)
			}
			state, _ := answer["run"].(map[string]any)
			if text, _ := state["status"].(string); slices.Contains([]string{"completed", "failed", "cancelled", "timed_out", "expired"}, text) {
				break
			}
		}
	}
}

// judge reads the database and holds every promise against it.
func judge(t *testing.T, dsn string, m *replica.Model, orders []*order, woken []time.Time) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	count := func(query string) int {
		var n int
		if err := conn.QueryRow(ctx, query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return n
	}
	if n := count("SELECT count(*) FROM runs"); n != len(orders) {
		t.Errorf("%d runs for %d orders", n, len(orders))
	}
	for what, query := range map[string]string{
		"runs with several ends":              "SELECT count(*) FROM (SELECT run_id FROM checkpoints WHERE type IN ('run_completed', 'run_failed', 'run_cancelled') GROUP BY run_id HAVING count(*) <> 1) x",
		"runs with several end events":        "SELECT count(*) FROM (SELECT run_id FROM run_events WHERE kind IN ('completed', 'failed', 'cancelled') GROUP BY run_id HAVING count(*) <> 1) x",
		"steps that ended several times":      "SELECT count(*) FROM (SELECT run_id FROM checkpoints WHERE type = 'step_completed' GROUP BY run_id, step_id HAVING count(*) > 1) x",
		"runs without creation in the audit":  "SELECT count(*) FROM runs r WHERE (SELECT count(*) FROM audit_events a WHERE a.run_id = r.id AND a.type = 'run.created') <> 1",
		"decisions without audit":             "SELECT count(*) FROM human_tasks h WHERE h.state = 'decided' AND (SELECT count(*) FROM audit_events a WHERE a.continuation_id = h.id AND a.type = 'human.decision') <> 1",
		"cancelled runs without audit":        "SELECT count(*) FROM runs r WHERE r.status = 'cancelled' AND NOT EXISTS (SELECT 1 FROM audit_events a WHERE a.run_id = r.id AND a.type = 'run.cancelled')",
		"runs whose queue row is still open":  "SELECT count(*) FROM run_queue WHERE is_open",
		"tasks that are pending":              "SELECT count(*) FROM human_tasks WHERE state = 'pending'",
		"keys that are still open":            "SELECT count(*) FROM idempotency_keys WHERE NOT done",
		"checkpoints out of their sequence":   "SELECT count(*) FROM (SELECT run_id FROM checkpoints GROUP BY run_id HAVING count(*) <> max(sequence)) x",
		"snapshots that nobody can read back": "SELECT count(*) FROM runs r WHERE NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.digest = r.snapshot_digest)",
	} {
		if n := count(query); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
	statuses := map[string]int{}
	for _, o := range orders {
		statuses[o.check(t, conn)]++
	}
	repeated(t, conn, m, woken)
	t.Logf("runs: %v", statuses)
}

// check compares a run with what its caller was told.
func (o *order) check(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var status string
	var output *string
	var attempt int
	if err := conn.QueryRow(t.Context(), "SELECT r.status, r.output, q.attempt FROM runs r JOIN run_queue q ON q.run_id = r.id WHERE r.id = $1", o.id).Scan(&status, &output, &attempt); err != nil {
		t.Errorf("%s: %v", o.key, err)
		return "lost"
	}
	want := "polish(enrich(draft(" + o.key + ")))"
	if o.gate {
		want = "polish(decided " + o.key + ")"
	}
	switch {
	case o.cancelled && status != "cancelled":
		t.Errorf("%s was cancelled and is %s", o.key, status)
	case !o.cancelled && status != "completed":
		t.Errorf("%s is %s", o.key, status)
	case status == "completed" && (output == nil || *output != want):
		t.Errorf("%s ended with %v", o.key, output)
	}
	if attempt > 1 {
		return status + ", claimed again"
	}
	return status
}

// grace is how long after its stop a process may still send what it was about to send: it looked at its lease just before.
const grace = time.Second

// repeated finds questions to the model that were asked although the step they belong to was finished.
func repeated(t *testing.T, conn *pgx.Conn, m *replica.Model, woken []time.Time) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT r.input, c.step_id, c.created_at FROM checkpoints c JOIN runs r ON r.id = c.run_id WHERE c.type = 'step_completed'")
	if err != nil {
		t.Fatal(err)
	}
	done := map[[2]string]time.Time{}
	var input, step string
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&input, &step, &at}, func() error {
		done[[2]string{input, step}] = at
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	asked, late := map[[2]string]int{}, 0
	excused := func(at time.Time) bool {
		return slices.ContainsFunc(woken, func(w time.Time) bool { return at.After(w) && at.Before(w.Add(grace)) })
	}
	for _, c := range m.Calls() {
		key := [2]string{c.Input[strings.Index(c.Input, "run-"):][:8], c.Model}
		asked[key]++
		if end, ok := done[key]; ok && c.At.After(end) {
			if late++; excused(c.At) && late <= len(woken) {
				continue
			}
			t.Errorf("%v was asked at %s, %s after it was done", key, c.At, c.At.Sub(end))
		}
	}
	again := 0
	for n := range maps.Values(asked) {
		again += n - 1
	}
	t.Logf("%d questions were asked again because their answer was lost with a process, %d of them late by a process that had been stopped", again, late)
}

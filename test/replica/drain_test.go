package replica_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/live"
	"github.com/kneo-go/kneo/test/replica"
)

var database *pgtest.Server

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(pgtest.Main(m, func(s *pgtest.Server) error {
		database = s
		return nil
	}))
}

const (
	queuedRuns  = 200
	kills       = 5
	concurrency = 4
	together    = 3
	drainLimit  = 3 * time.Minute
)

// TestKilledWhileDraining kills a process five times with kill -9 while two hundred queued runs are worked off, by one process on SQLite and by three on
// PostgreSQL, directly and through a pooler in transaction mode: every run completes once, and no finished step is done again.
func TestKilledWhileDraining(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, kind := range []string{"sqlite", "postgres", "pooler"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			env := map[string]string{
				"KNEO_SERV_SQLITE_PATH": dir + "/kneo.db", "KNEO_SERV_WORKER_LEASE_SECONDS": "1", "KNEO_SERV_WORKER_CONCURRENCY": fmt.Sprint(concurrency),
				"KNEO_SERV_QUEUE_MAX_ATTEMPTS": "0", "KNEO_SERV_WORKER_IDLE_POLL_SECONDS": "0.2", "KNEO_SERV_SWEEP_SECONDS": "0.5",
				"KNEO_SERV_REQUEST_LOGS": "false",
			}
			replicas := together
			switch kind {
			case "sqlite":
				replicas = 1
			case "postgres":
				env["KNEO_SERV_DATABASE_URL"] = database.Empty(t)
			case "pooler":
				maps.Copy(env, pooled(t))
			}
			drain(t, dir, env, replicas)
		})
	}
}

// pooled is an empty database behind a pooler; notifications have a connection of their own.
func pooled(t *testing.T) map[string]string {
	t.Helper()
	pooler := database.Pooler(t)
	direct := database.Empty(t)
	dsn, err := pooler.Through(direct)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"KNEO_SERV_DATABASE_URL": dsn, "KNEO_SERV_DATABASE_LISTEN_URL": direct}
}

func drain(t *testing.T, dir string, env map[string]string, replicas int) {
	ctx, cancel := context.WithTimeout(t.Context(), drainLimit)
	defer cancel()
	model := replica.NewModel(t)
	var asked atomic.Int64
	// From every hundredth question on there are no answers until a process has died, so it dies with questions in flight.
	var pause atomic.Pointer[context.Context]
	due := make(chan context.CancelFunc, kills)
	model.Answer = func(c replica.ModelCall) (string, int) {
		if n := asked.Add(1); n%100 == 0 && n <= 100*kills {
			until, end := context.WithCancel(ctx)
			pause.Store(&until)
			due <- end
		}
		if until := pause.Load(); until != nil {
			<-(*until).Done()
		}
		return c.Model + "(" + c.Input + ")", http.StatusOK
	}
	started := 0
	start := func() *replica.Process {
		mine := maps.Clone(env)
		mine["HOUSE_KEY"] = fmt.Sprint("process-", started)
		started++
		return replica.Serve(t, dir, mine)
	}
	var processes []*replica.Process
	for range replicas {
		processes = append(processes, start())
	}
	ids := map[string]string{}
	for i := range queuedRuns {
		input := fmt.Sprintf("run-%04d", i)
		body := map[string]any{"input": input, "spec": line(model), "async_mode": true}
		ids[input], _ = processes[i%replicas].OK(t, http.StatusAccepted, http.MethodPost, "/v1/runs", body)["run_id"].(string)
	}
	for i := range kills {
		p := processes[i%replicas]
		select {
		case end := <-due:
			p.Kill()
			end()
		case <-ctx.Done():
			t.Fatalf("%d model calls:\n%s", asked.Load(), p.Log())
		}
		processes[i%replicas] = start()
	}
	for input, id := range ids {
		ended(ctx, t, processes[0], input, id)
	}
	audit(t, processes[0], model, ids)
	took := map[string]int{}
	for _, c := range model.Calls() {
		took[c.Header.Get("Authorization")]++
	}
	for i := range replicas {
		if took[fmt.Sprint("Bearer process-", i)] == 0 {
			t.Errorf("process %d took no part: %v", i, took)
		}
	}
}

// line is a workflow of three agents.
func line(m *replica.Model) map[string]any {
	agents, steps := map[string]any{}, []any{}
	for _, name := range []string{"draft", "enrich", "polish"} {
		agents[name] = m.Agent(name)
		steps = append(steps, map[string]any{"id": name, "kind": "agent", "ref": name})
	}
	return map[string]any{
		"version": "v1", "agent": map[string]any{"name": "root"}, "components": map[string]any{"agents": agents},
		"workflow": map[string]any{"name": "line", "type": "sequential", "steps": steps},
	}
}

func ended(ctx context.Context, t *testing.T, p *replica.Process, input, id string) {
	t.Helper()
	for ctx.Err() == nil {
		answer := p.OK(t, http.StatusOK, http.MethodGet, "/v1/runs/"+id+"/wait?timeout_seconds=5", nil)
		if answer["settled"] != true {
			continue
		}
		r := live.Sub(answer, "run")
		if r["status"] != "completed" || r["output_text"] != "polish(enrich(draft("+input+")))" {
			t.Errorf("%s: %v %v %v", input, r["status"], r["output_text"], r["error"])
		}
		return
	}
	t.Fatalf("%s does not end", input)
}

// audit reads the history of every run and compares it with what the model was asked.
func audit(t *testing.T, p *replica.Process, m *replica.Model, ids map[string]string) {
	t.Helper()
	questions := map[[2]string][]time.Time{}
	for _, c := range m.Calls() {
		key := [2]string{c.Input[strings.Index(c.Input, "run-"):][:8], c.Model}
		questions[key] = append(questions[key], c.At)
	}
	again := 0
	for input, id := range ids {
		rows := map[string]int{}
		for _, c := range live.Objects(p.OK(t, http.StatusOK, http.MethodGet, "/v1/runs/"+id+"/checkpoints", nil)["checkpoints"]) {
			step := live.Text(c, "step_id")
			rows[live.Text(c, "type")+step]++
			if step == "" {
				continue
			}
			done, err := time.Parse(time.RFC3339Nano, live.Text(c, "created_at"))
			if err != nil {
				t.Fatal(err)
			}
			asked := questions[[2]string{input, step}]
			again += len(asked) - 1
			if len(asked) == 0 || asked[len(asked)-1].After(done) {
				t.Errorf("%s of %s was done at %s and asked at %v", step, input, done, asked)
			}
		}
		for _, row := range []string{"run_started", "step_completeddraft", "step_completedenrich", "step_completedpolish", "run_completed"} {
			if rows[row] != 1 || len(rows) != 5 {
				t.Errorf("%s: %v", input, rows)
				break
			}
		}
	}
	// A slot takes its next run while the last write of the one before is on its way.
	if again > 2*kills*concurrency {
		t.Errorf("%d questions were asked again", again)
	}
	t.Logf("%d of %d questions were in flight when a process died and were asked again", again, len(m.Calls()))
}

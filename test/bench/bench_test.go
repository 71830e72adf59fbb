// Package bench measures whole runs through the service on both stores: how many there are in a second, and how long one takes.
package bench

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/live"
)

var server *pgtest.Server

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, func(s *pgtest.Server) error {
		server = s
		return nil
	}))
}

var stores = []string{"sqlite", "postgres"}

// clients is how many callers there are for each processor.
const clients = 4

// workflow is a spec of that many agents.
func workflow(kind, list string, agents int) live.Object {
	steps := make([]any, agents)
	for i := range steps {
		steps[i] = live.Object{"id": fmt.Sprintf("s%d", i), "kind": "agent", "ref": "a"}
	}
	w := live.Object{"name": "w", "type": kind, list: steps}
	if kind == "graph" {
		nodes, edges := live.Object{}, []any{}
		for i, s := range steps {
			nodes[fmt.Sprintf("s%d", i)] = s
			if i > 0 {
				edges = append(edges, live.Object{"from": fmt.Sprintf("s%d", i-1), "to": fmt.Sprintf("s%d", i)})
			}
		}
		w = live.Object{"name": "w", "type": kind, "start": "s0", "nodes": nodes, "edges": edges}
	}
	return live.Object{
		"version": "v1", "agent": live.Object{"name": "root"},
		"components": live.Object{"agents": live.Object{"a": live.Object{"name": "a", "defaults": live.Object{"append_mode": "never"}}}}, "workflow": w,
	}
}

// BenchmarkRuns measures runs of every shape with some callers at once.
func BenchmarkRuns(b *testing.B) {
	agent := live.Object{"version": "v1", "agent": live.Object{"name": "solo"}}
	for _, shape := range []struct {
		name   string
		spec   live.Object
		queued bool
	}{
		{"agent", agent, false},
		{"agent queued", agent, true},
		{"sequential of 3", workflow("sequential", "steps", 3), false},
		{"graph of 5", workflow("graph", "nodes", 5), false},
		{"concurrent of 8", workflow("concurrent", "participants", 8), false},
	} {
		for _, kind := range stores {
			b.Run(shape.name+"/"+kind, func(b *testing.B) { measure(b, kind, shape.spec, shape.queued) })
		}
	}
}

func measure(b *testing.B, kind string, spec live.Object, queued bool) {
	settings := map[string]string{"KNEO_SERV_WORKER_CONCURRENCY": "8"}
	if kind == "postgres" {
		settings["KNEO_SERV_DATABASE_URL"] = server.Empty(b)
	}
	s := live.Start(b, settings)
	body := live.Object{"input": "hello", "spec": spec, "async_mode": queued}
	one := func() {
		code, made := s.Call(http.MethodPost, "/v1/runs", body)
		status := live.Text(made, "status")
		if queued && code == http.StatusAccepted {
			status = live.Text(s.Settle(live.Text(made, "run_id")), "status")
		}
		if status != "completed" {
			b.Errorf("%d %v", code, made)
		}
	}
	one()
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(clients)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			begun := time.Now()
			one()
			d := time.Since(begun)
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		}
	})
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "runs/s")
	b.ReportMetric(milliseconds(took[len(took)/2]), "p50-ms")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
	if err := s.Stop(); err != nil {
		b.Error(err)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkLoop measures what a step costs in loops of different length; the cost must not grow with them.
func BenchmarkLoop(b *testing.B) {
	for _, kind := range stores {
		for _, steps := range []int{100, 500, 2000} {
			b.Run(fmt.Sprintf("%s/%d", kind, steps), func(b *testing.B) {
				s, err := open(b, kind)
				if err != nil {
					b.Fatal(err)
				}
				loop(b, testkit.NewBenchOn(b, s), steps)
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

func open(b *testing.B, kind string) (store.Store, error) {
	if kind == "postgres" {
		return postgres.New(b.Context(), postgres.Options{DSN: server.Empty(b)})
	}
	return sqlite.New(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "runs.sqlite"), Normal: true})
}

func loop(b *testing.B, bench *testkit.Bench, steps int) {
	e := bench.Executor(0)
	snapshot := bench.Compile(fmt.Sprintf(`{"version":"v1","agent":{"name":"root"},"components":{"functions":{"f":{"implementation":"kit.functions.identity"}}},
 "workflow":{"type":"graph","name":"w","start":"n","max_steps":%d,"nodes":{"n":{"id":"n","kind":"function","ref":"f"}},"edges":[{"from":"n","to":"n"}]}}`, steps))
	var spent time.Duration
	n := 0
	for b.Loop() {
		c, err := e.Create(snapshot, "workflow", "hello", run.ModeInline)
		if err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		if out := e.Execute(b.Context(), c, nil); out.Err != nil {
			b.Fatal(out.Err)
		}
		spent += time.Since(begun)
		n += steps
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(n), "µs/step")
}

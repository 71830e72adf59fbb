package workers

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/test/live"
	"github.com/kneo-go/kneo/worker"
)

// BenchmarkWorkerRoundTrip is one call of a Go function behind the worker service, over a real connection.
func BenchmarkWorkerRoundTrip(b *testing.B) {
	s := live.Start(b, nil)
	ctx, cancel := context.WithCancel(context.Background())
	w := worker.New(worker.Options{Name: "bench", MaxConcurrency: 64})
	w.Function("bench.echo", func(_ context.Context, text string) (string, error) { return text, nil })
	conn, ended := s.Dial(), make(chan error, 1)
	go func() { ended <- w.Run(ctx, conn) }()
	call := func() {
		if out, err := s.Handlers().Call(ctx, handler.Function, "bench.echo", json.RawMessage(`"a"`), handler.Meta{}); err != nil || string(out) != `"a"` {
			b.Fatalf("%s %v", out, err)
		}
	}
	call()
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkWaitingRuns starts 1,000 runs that all wait on one slow model, and then lets the model answer. It reports the memory that a waiting run
// holds, how long after its creation a run reached the model, and how long after the answer all have ended.
func BenchmarkWaitingRuns(b *testing.B) {
	const runs = 1000
	for b.Loop() {
		s := live.Start(b, map[string]string{"KNEO_SERV_WORKER_CONCURRENCY": "1000"})
		hold := make(chan struct{})
		turns := make([]llmtest.Turn, runs)
		arrivals := make([]chan struct{}, runs)
		for i := range turns {
			arrivals[i] = make(chan struct{})
			turns[i] = llmtest.Turn{Text: "at last", Hold: hold, Arrived: arrivals[i]}
		}
		model := llmtest.New(b, turns...)
		spec := live.Object{"version": "v1", "agent": live.Object{
			"name": "slow", "model": live.Object{"provider": "ollama", "name": "m", "extra": live.Object{"base_url": model.URL}},
		}}
		before := heap()
		var created, reached []time.Time
		var seen sync.WaitGroup
		seen.Go(func() {
			for _, a := range arrivals {
				<-a
				reached = append(reached, time.Now())
			}
		})
		ids := make([]string, runs)
		for i := range ids {
			created = append(created, time.Now())
			_, answer := s.Call(http.MethodPost, "/v1/runs", live.Object{"spec": spec, "input": "hi", "async_mode": true})
			ids[i] = live.Text(answer, "run_id")
		}
		seen.Wait()
		waits := make([]time.Duration, runs)
		for i := range waits {
			waits[i] = reached[i].Sub(created[i])
		}
		slices.Sort(waits)
		b.ReportMetric(float64(heap()-before)/runs, "heap-B/run")
		b.ReportMetric(float64(waits[runs/2].Microseconds())/1000, "p50-ms-to-model")
		b.ReportMetric(float64(waits[runs*99/100].Microseconds())/1000, "p99-ms-to-model")
		answered := time.Now()
		close(hold)
		for _, id := range ids {
			if run := s.Settle(id); run["status"] != "completed" {
				b.Fatalf("run %v", run)
			}
		}
		b.ReportMetric(float64(time.Since(answered).Milliseconds()), "ms-to-end-all")
		if err := s.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below the limit
}

package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/replica"
)

// sample is what a process uses at a moment.
type sample struct{ at, memory, goroutines, files, done, queued float64 }

var gauges = map[string]*regexp.Regexp{
	"memory": regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)`), "goroutines": regexp.MustCompile(`(?m)^go_goroutines (\S+)`),
	"files": regexp.MustCompile(`(?m)^process_open_fds (\S+)`), "done": regexp.MustCompile(`(?m)^kneo_runs_completed_total (\S+)`),
	"queued": regexp.MustCompile(`(?m)^kneo_runs_queued (\S+)`),
}

func scrape(t *testing.T, p *replica.Process, begun time.Time) sample {
	t.Helper()
	text, _ := p.OK(t, http.StatusOK, "GET", "/metrics", nil)["text"].(string)
	read := func(name string) float64 {
		found := gauges[name].FindStringSubmatch(text)
		if found == nil {
			return 0
		}
		value, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Error(err)
		}
		return value
	}
	return sample{time.Since(begun).Seconds(), read("memory"), read("goroutines"), read("files"), read("done"), read("queued")}
}

// TestSoak loads one process at a part of its measured capacity for KNEO_SOAK_SECONDS and holds memory, goroutines and file handles flat. It writes its figures
// to KNEO_SOAK_OUT.
func TestSoak(t *testing.T) {
	seconds := number(t, "KNEO_SOAK_SECONDS", 0)
	if seconds == 0 {
		t.Skip("make soak")
	}
	db, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	p := replica.Serve(t, t.TempDir(), map[string]string{
		"KNEO_SERV_DATABASE_URL": db.DSN("postgres"), "KNEO_SERV_WORKER_CONCURRENCY": "16", "KNEO_SERV_REQUEST_LOGS": "false", "KNEO_SERV_RETENTION_RUNS_DAYS": "0",
	})
	var errors, created atomic.Int64
	create := func(ctx context.Context) {
		status, _, err := p.Call(ctx, "POST", "/v1/runs", map[string]any{
			"input": "soak", "spec": map[string]any{"version": "v1", "agent": map[string]any{"name": "a"}}, "async_mode": true,
		})
		if err != nil || status != http.StatusAccepted {
			errors.Add(1)
			return
		}
		created.Add(1)
	}
	rate := 0.7 * capacity(t, create, &created)
	before := rest(t, p, sample{})
	begun := time.Now()
	warm := time.Duration(seconds) * time.Second / 10
	var samples []sample
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	pace := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer pace.Stop()
	look := time.NewTicker(max(time.Duration(seconds)*time.Second/60, time.Second))
	defer look.Stop()
	slots := make(chan struct{}, 64)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-look.C:
			if time.Since(begun) > warm {
				samples = append(samples, scrape(t, p, begun))
			}
		case <-pace.C:
			slots <- struct{}{}
			go func() {
				defer func() { <-slots }()
				create(t.Context())
			}()
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	figures(t, rate, samples, created.Load(), errors.Load())
	after := rest(t, p, before)
	t.Logf("at rest: goroutines %.0f before and %.0f after, files %.0f and %.0f", before.goroutines, after.goroutines, before.files, after.files)
	if after.goroutines > before.goroutines+spare || after.files > before.files+spare {
		t.Errorf("goroutines or files are left: %+v before, %+v after", before, after)
	}
}

// spare is how many goroutines and files more a process may have at rest, for connections of its pools.
const spare = 20

// rest waits until nothing is queued and the connections of callers are closed, at most until the process uses no more than it did before.
func rest(t *testing.T, p *replica.Process, before sample) sample {
	t.Helper()
	var s sample
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); <-time.After(500 * time.Millisecond) {
		http.DefaultClient.CloseIdleConnections()
		s = scrape(t, p, limit)
		if s.queued == 0 && (before.goroutines == 0 || s.goroutines <= before.goroutines+spare && s.files <= before.files+spare) {
			break
		}
	}
	return s
}

// capacity is how many runs per second callers can create.
func capacity(t *testing.T, create func(context.Context), created *atomic.Int64) float64 {
	t.Helper()
	const length = 5 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	before := created.Load()
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for ctx.Err() == nil {
				create(t.Context())
			}
		})
	}
	callers.Wait()
	return max(float64(created.Load()-before)/length.Seconds(), 1)
}

func figures(t *testing.T, rate float64, samples []sample, created, errors int64) {
	t.Helper()
	if len(samples) < 4 {
		t.Fatalf("%d samples", len(samples))
	}
	mean := func(list []sample, of func(sample) float64) float64 {
		sum := 0.0
		for _, s := range list {
			sum += of(s)
		}
		return sum / float64(len(list))
	}
	quarter := len(samples) / 4
	early, late := samples[:quarter], samples[len(samples)-quarter:]
	text := fmt.Sprintf("offered %.0f runs/s, created %d, errors %d, completed %.0f\n", rate, created, errors, samples[len(samples)-1].done)
	for _, of := range []struct {
		name  string
		value func(sample) float64
	}{
		{"memory (MiB)", func(s sample) float64 { return s.memory / (1 << 20) }},
		{"goroutines", func(s sample) float64 { return s.goroutines }},
		{"files", func(s sample) float64 { return s.files }},
	} {
		a, b := mean(early, of.value), mean(late, of.value)
		text += fmt.Sprintf("%s: first quarter %.1f, last quarter %.1f\n", of.name, a, b)
		if of.name == "memory (MiB)" && b > a*1.25+10 {
			t.Errorf("%s grows from %.1f to %.1f", of.name, a, b)
		}
	}
	if errors > 0 {
		t.Errorf("%d requests failed", errors)
	}
	t.Log("\n" + text)
	if out := os.Getenv("KNEO_SOAK_OUT"); out != "" {
		if err := os.WriteFile(out, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// Package guard has benchmarks of whole requests, from the socket to the store and back. test/guard/run compares what they allocate with another
// commit, because allocations do not depend on how busy a machine is.
package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/config"
)

const (
	solo     = `{"version":"v1","agent":{"name":"solo"}}`
	sequence = `{"version":"v1","agent":{"name":"root"},"components":{"agents":{"a":{"name":"a"},"b":{"name":"b"}}},"workflow":{"type":"sequential",` +
		`"name":"line","steps":[{"id":"one","kind":"agent","ref":"a"},{"id":"two","kind":"agent","ref":"b"},{"id":"three","kind":"agent","ref":"a"}]}}`
)

// serve starts the service on a fresh database and returns its address.
func serve(b *testing.B) string {
	b.Helper()
	values := map[string]string{
		"KNEO_SERV_SQLITE_PATH": filepath.Join(b.TempDir(), "kneo.db"), "KNEO_SERV_REQUEST_LOGS": "false", "KNEO_SERV_SQLITE_SYNCHRONOUS": "NORMAL",
		"KNEO_SERV_SPEC_ROOT": b.TempDir(),
	}
	cfg, err := config.Load(config.FromMap(values))
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	a, err := app.New(ctx, cfg, app.Options{Host: "127.0.0.1", Version: "test", Log: io.Discard, Ready: func(rest, _ net.Addr) { ready <- rest.String() }})
	if err != nil {
		stop()
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	select {
	case address := <-ready:
		return "http://" + address
	case <-time.After(30 * time.Second):
		b.Fatal("the service did not start")
		return ""
	}
}

// send is one request; it returns the body.
func send(b *testing.B, method, url, body string, want int) []byte {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		b.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if closing := resp.Body.Close(); err != nil || closing != nil {
		b.Fatal(err, closing)
	}
	if resp.StatusCode != want {
		b.Fatalf("%s %s: status %d: %s", method, url, resp.StatusCode, answer)
	}
	return answer
}

func creation(spec string, async bool) string {
	body, err := json.Marshal(map[string]any{"input": "hello", "spec": json.RawMessage(spec), "async_mode": async})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func BenchmarkRequest(b *testing.B) {
	url := serve(b)
	var first struct {
		RunID string `json:"run_id"`
	}
	if err := json.Unmarshal(send(b, "POST", url+"/v1/runs", creation(sequence, false), 200), &first); err != nil {
		b.Fatal(err)
	}
	for range 100 {
		send(b, "POST", url+"/v1/runs", creation(solo, false), 200)
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"run one agent", "POST", "/v1/runs", creation(solo, false), 200},
		{"run three steps", "POST", "/v1/runs", creation(sequence, false), 200},
		{"queue one agent", "POST", "/v1/runs", creation(solo, true), 202},
		{"get", "GET", "/v1/runs/" + first.RunID, "", 200},
		{"checkpoints", "GET", "/v1/runs/" + first.RunID + "/checkpoints", "", 200},
		{"list 100", "GET", "/v1/runs?limit=100", "", 200},
		{"validate", "POST", "/v1/specs/validate", `{"spec":` + sequence + `}`, 200},
		{"health", "GET", "/livez", "", 200},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				send(b, c.method, url+c.path, c.body, c.status)
			}
		})
	}
}

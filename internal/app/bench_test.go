package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kneo-go/kneo/internal/config"
)

// benchApp is a service without a listener.
func benchApp(b *testing.B) http.Handler {
	b.Helper()
	settings := map[string]string{"KNEO_SERV_SQLITE_PATH": filepath.Join(b.TempDir(), "kneo.db"), "KNEO_SERV_REQUEST_LOGS": "false"}
	cfg, err := config.Load(config.FromMap(settings))
	if err != nil {
		b.Fatal(err)
	}
	a, err := New(b.Context(), cfg, Options{Host: "127.0.0.1", Log: io.Discard, Env: config.FromMap(settings)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(a.Close)
	return a.handler
}

func request(b *testing.B, h http.Handler, method, path, body string) string {
	r := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code >= http.StatusMultipleChoices {
		b.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

const greeterRun = `{"input":"hello","spec":{"version":"v1","agent":{"name":"greeter"}}}`

func BenchmarkSynchronousRun(b *testing.B) {
	h := benchApp(b)
	b.ReportAllocs()
	for b.Loop() {
		request(b, h, http.MethodPost, "/v1/runs", greeterRun)
	}
}

func BenchmarkSynchronousRunParallel(b *testing.B) {
	h := benchApp(b)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			request(b, h, http.MethodPost, "/v1/runs", greeterRun)
		}
	})
}

func BenchmarkGetRun(b *testing.B) {
	h := benchApp(b)
	_, rest, _ := strings.Cut(request(b, h, http.MethodPost, "/v1/runs", greeterRun), `"run_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	b.ReportAllocs()
	for b.Loop() {
		request(b, h, http.MethodGet, "/v1/runs/"+id, "")
	}
}

func BenchmarkListRuns(b *testing.B) {
	h := benchApp(b)
	for range 200 {
		request(b, h, http.MethodPost, "/v1/runs", greeterRun)
	}
	b.ReportAllocs()
	for b.Loop() {
		request(b, h, http.MethodGet, "/v1/runs?limit=100", "")
	}
}

func BenchmarkValidateSpec(b *testing.B) {
	h := benchApp(b)
	var n atomic.Int64
	b.ReportAllocs()
	for b.Loop() {
		n.Add(1)
		request(b, h, http.MethodPost, "/v1/specs/validate", `{"spec":{"version":"v1","agent":{"name":"greeter"}}}`)
	}
}

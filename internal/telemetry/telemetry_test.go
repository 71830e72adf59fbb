package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLogHidesSecrets(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, Level("INFO"), false)
	log.With("password", "hunter2").WithGroup("g").Info("mail joe@example.org", "token", 12, "error", errors.New("Bearer abc.def-123"),
		slog.Group("inner", "api_key", "k", "text", "password: hunter2"))
	log.Debug("not shown")
	text := out.String()
	for _, secret := range []string{"hunter2", "joe@", "abc.def", `"token":12`, `"api_key":"k"`, "not shown"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log: %s", secret, text)
		}
	}
	if !strings.Contains(text, `"msg":"mail [REDACTED_EMAIL]"`) {
		t.Errorf("log: %s", text)
	}
}

func TestLevels(t *testing.T) {
	for name, want := range map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "NOTSET": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "WARNING": slog.LevelWarn,
		"ERROR": slog.LevelError, "CRITICAL": slog.LevelError + 4, "FATAL": slog.LevelError + 4,
	} {
		if got := Level(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics("1")
	m.RunStarted()
	m.RunCompleted()
	m.RunFailed()
	m.RunRejected()
	m.RunDeadLettered()
	m.Tokens(3, 4, 7)
	m.Workers(2)
	m.Leg("inline", "completed", time.Millisecond)
	m.Request("/kneo.v1.RunService/GetRun", "OK", time.Millisecond)
	m.Idempotency("replay")
	var failed error
	read := func(context.Context) (QueueNumbers, error) {
		return QueueNumbers{Queued: 5, Running: 6, OldestQueued: time.Second}, failed
	}
	h := m.Handler(read, func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	})
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return w
	}
	w := get()
	if w.Header().Get("Content-Type") != ContentType {
		t.Errorf("content type: %s", w.Header().Get("Content-Type"))
	}
	for _, line := range []string{
		"kneo_runs_started_total 1", "kneo_runs_completed_total 1", "kneo_runs_failed_total 1", "kneo_runs_dead_lettered_total 1", "kneo_runs_rejected_total 1",
		"kneo_tokens_input_total 3", "kneo_tokens_output_total 4", "kneo_tokens_total 7", "kneo_runs_queued 5", "kneo_runs_running 6", "kneo_worker_count 2",
		"# HELP kneo_runs_started_total Runs that began execution.", "# TYPE kneo_runs_queued gauge",
		`kneo_requests_total{code="OK",method="/kneo.v1.RunService/GetRun"} 1`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	failed = errors.New("store down")
	if w := get(); w.Code != http.StatusServiceUnavailable {
		t.Errorf("with a broken store: %d", w.Code)
	}
}

func TestTracingOffRecordsNothing(t *testing.T) {
	tr, err := NewTracing(t.Context(), false, "1")
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.Provider.Tracer(TracerName).Start(t.Context(), "x")
	if span.IsRecording() {
		t.Error("a span records although tracing is off")
	}
	span.End()
	if err := tr.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

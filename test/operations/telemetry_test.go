package operations

import (
	"encoding/hex"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/test/replica"
)

// TestTelemetryReachesTheCollector follows one trace from the caller through the queue to the model's provider.
func TestTelemetryReachesTheCollector(t *testing.T) {
	t.Parallel()
	collector, model := replica.NewCollector(t), replica.NewModel(t)
	env := collector.Env()
	maps.Copy(env, map[string]string{"HOUSE_KEY": "k", "KNEO_SERV_SWEEP_SECONDS": "1"})
	p := replica.Serve(t, t.TempDir(), env)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	spec := object{"version": "v1", "agent": model.Agent("writer")}
	run := p.OK(t, http.StatusAccepted, "POST", "/v1/runs", object{"input": "private words", "spec": spec, "async_mode": true},
		"traceparent", "00-"+trace+"-b7ad6b7169203331-01", "X-Request-ID", "request-77")
	p.OK(t, http.StatusOK, "GET", "/v1/runs/"+run["run_id"].(string)+"/wait?timeout_seconds=20", nil)
	names := func() map[string]int {
		found := map[string]int{}
		for _, s := range collector.Spans() {
			if hex.EncodeToString(s.GetTraceId()) == trace {
				found[s.GetName()]++
			}
		}
		return found
	}
	want := []string{"kneo.v1.RunService/CreateRun", "kneo.queue.dispatch", "chat writer", "chat iter=1"}
	replica.Eventually(t, "the spans of the trace", func() bool {
		found := names()
		for _, name := range want {
			if found[name] == 0 {
				return false
			}
		}
		return true
	})
	if got := model.Calls()[0].Header.Get("traceparent"); !strings.Contains(got, trace) {
		t.Errorf("the provider got traceparent %q", got)
	}
	replica.Eventually(t, "metrics", func() bool {
		return collector.Metric("kneo_runs_completed_total") && collector.Metric("kneo_call_duration_seconds")
	})
	replica.Eventually(t, "logs", func() bool { return collector.Logs() > 0 })
	replica.Eventually(t, "the id of the request", func() bool { return strings.Contains(collector.Text(), "request-77") })
	if strings.Contains(collector.Text(), "private words") {
		t.Error("the input of a run is in the telemetry")
	}
	if !strings.Contains(p.Log(), `"trace_id":"`+trace+`"`) {
		t.Error("no line of the log has the trace id")
	}
}

// TestWithoutTelemetryNothingIsSent is the default.
func TestWithoutTelemetryNothingIsSent(t *testing.T) {
	t.Parallel()
	collector := replica.NewCollector(t)
	p := replica.Serve(t, t.TempDir(), map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + collector.Addr})
	p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": greeter()})
	if code := p.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if collector.Text() != "" {
		t.Errorf("sent: %s", collector.Text())
	}
}

// TestAbsentCollectorDelaysNothing: the service works, stops in time, and says in its own log that nothing is received.
func TestAbsentCollectorDelaysNothing(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), map[string]string{
		"KNEO_SERV_OTEL_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRIC_EXPORT_INTERVAL": "100", "OTEL_METRIC_EXPORT_TIMEOUT": "200",
	})
	p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": greeter()})
	replica.Eventually(t, "a line about telemetry", func() bool { return strings.Contains(p.Log(), "telemetry could not be sent") })
	if code := p.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(p.Log()) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("not a record: %s", line)
		}
	}
}

// TestMetrics looks for every name that dashboards use.
func TestMetrics(t *testing.T) {
	t.Parallel()
	model := replica.NewModel(t)
	p := replica.Serve(t, t.TempDir(), map[string]string{"HOUSE_KEY": "k"})
	p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1", "agent": model.Agent("writer")}})
	queued := p.OK(t, http.StatusAccepted, "POST", "/v1/runs", object{"input": "x", "spec": greeter(), "async_mode": true}, "Idempotency-Key", "k")
	p.OK(t, http.StatusOK, "GET", "/v1/runs/"+queued["run_id"].(string)+"/wait?timeout_seconds=20", nil)
	text, _ := p.OK(t, http.StatusOK, "GET", "/metrics", nil)["text"].(string)
	for _, name := range []string{
		"kneo_runs_started_total", "kneo_runs_completed_total", "kneo_runs_failed_total", "kneo_runs_dead_lettered_total", "kneo_runs_rejected_total",
		"kneo_tokens_input_total", "kneo_tokens_output_total", "kneo_tokens_total", "kneo_runs_queued", "kneo_runs_running", "kneo_worker_count",
		"kneo_queue_oldest_seconds", "kneo_queue_wait_seconds_count", "kneo_lease_losses_total", "kneo_leg_duration_seconds_bucket",
		"kneo_request_duration_seconds_bucket", "kneo_requests_total", "kneo_calls_total", "kneo_call_duration_seconds_count", "kneo_idempotent_requests_total",
		"kneo_build_info", "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	for _, line := range []string{"kneo_runs_started_total 2\n", "kneo_runs_completed_total 2\n", "kneo_tokens_total 7\n", "kneo_worker_count 1\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q", line)
		}
	}
}

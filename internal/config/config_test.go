package config

import (
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	c, err := Load(FromMap(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.BodyBytes != 1048576 || c.Worker.Lease != 300*time.Second || c.Worker.IdlePoll != time.Second || !c.Observe.RequestLogs ||
		c.Observe.LogLevel != "INFO" || c.Auth.Enabled != "" || c.Provider.Timeout != 0 || len(c.Retention.RunStatuses) != 5 || c.Retention.Runs != nil {
		t.Fatalf("defaults: %+v", c)
	}
}

func TestMessages(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"KNEO_SERV_MAX_BODY_BYTES", "x", "KNEO_SERV_MAX_BODY_BYTES must be an integer."},
		{"KNEO_SERV_MAX_BODY_BYTES", "0", "KNEO_SERV_MAX_BODY_BYTES must be greater than zero."},
		{"KNEO_SERV_LOG_LEVEL", "loud", "Invalid KNEO_SERV_LOG_LEVEL: loud"},
		{"KNEO_SERV_LOG_LEVEL", "", "Invalid KNEO_SERV_LOG_LEVEL: "},
		{"KNEO_SERV_WORKER_CONCURRENCY", "0", "worker_concurrency must be >= 1"},
		{"KNEO_SERV_WORKER_LEASE_SECONDS", "-1", "worker_lease_seconds must be >= 1"},
		{"KNEO_SERV_WORKER_IDLE_POLL_SECONDS", "0", "worker_idle_poll_seconds must be a finite number > 0"},
		{"KNEO_SERV_WORKER_IDLE_POLL_SECONDS", "inf", "KNEO_SERV_WORKER_IDLE_POLL_SECONDS must be a finite number."},
		{"KNEO_SERV_WORKER_IDLE_POLL_SECONDS", "soon", "KNEO_SERV_WORKER_IDLE_POLL_SECONDS must be a number."},
		{"KNEO_SERV_QUEUE_MAX_ATTEMPTS", "-1", "queue_max_attempts must be >= 0 (0 disables the cap)"},
		{"KNEO_SERV_MAX_QUEUE_DEPTH", "-1", "max_queue_depth must be >= 0 (0 disables backpressure)"},
		{"KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS", "-1", "shutdown_timeout_seconds must be >= 0"},
		{"KNEO_SERV_IDEMPOTENCY_LOCK_TTL_SECONDS", "0", "KNEO_SERV_IDEMPOTENCY_LOCK_TTL_SECONDS must be greater than zero."},
		{"KNEO_SERV_PROVIDER_RETRIES", "-1", "KNEO_SERV_PROVIDER_RETRIES must be zero or greater."},
		{"KNEO_SERV_PROVIDER_TIMEOUT_SECONDS", "0", "KNEO_SERV_PROVIDER_TIMEOUT_SECONDS must be greater than zero."},
		{"KNEO_SERV_MCP_RETRY_ON_TIMEOUT", "maybe", "KNEO_SERV_MCP_RETRY_ON_TIMEOUT must be a boolean (true/false)."},
		{"KNEO_SERV_RETENTION_RUN_STATUSES", ",", "KNEO_SERV_RETENTION_RUN_STATUSES must list at least one status."},
		{"KNEO_SERV_RETENTION_RUN_STATUSES", "running", "run_statuses may only contain terminal statuses ['cancelled', 'completed', 'expired', 'failed', 'timed_out']; got non-terminal ['running'] " +
			"(check KNEO_SERV_RETENTION_RUN_STATUSES). Pruning a non-terminal status would delete live in-flight records."},
	} {
		_, err := Load(FromMap(map[string]string{test.name: test.value}))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s=%q: %v, want %q", test.name, test.value, err, test.want)
		}
	}
}

func TestValues(t *testing.T) {
	c, err := Load(FromMap(map[string]string{
		"KNEO_SERV_AUTH_ENABLED": "false", "KNEO_SERV_WORKER_IDLE_POLL_SECONDS": " 0.05 ", "KNEO_SERV_RETENTION_RUNS_DAYS": "0",
		"KNEO_SERV_HEALTH_PROVIDERS": "openai, ,google", "KNEO_SERV_REQUEST_LOGS": "nope", "KNEO_SERV_MAX_LIST_ITEMS": "",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Auth.Enabled != "false" || c.Worker.IdlePoll != 50*time.Millisecond || *c.Retention.Runs != 0 ||
		len(c.Observe.HealthProviders) != 2 || c.Observe.RequestLogs || c.Limits.ListItems != 100 {
		t.Fatalf("values: %+v", c)
	}
}

func TestDumpHidesSecrets(t *testing.T) {
	c, err := Load(FromMap(map[string]string{"KNEO_SERV_ADMIN_API_KEY": "topsecret", "KNEO_SERV_DATABASE_URL": "postgres://u:topsecret@h/d"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Dump() {
		if strings.Contains(v.Value, "topsecret") {
			t.Errorf("%s shows its value", v.Name)
		}
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings() {
		if seen[s.Name] || s.Help == "" || s.Group == "" || s.Type == "" || s.apply == nil {
			t.Errorf("setting %s is declared twice or incompletely", s.Name)
		}
		seen[s.Name] = true
	}
}

// Package secrets plants secrets wherever the service meets them and then looks for them in every row, log line, span, metric and answer.
package secrets

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/replica"
)

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

type object = map[string]any

// Secrets that may be nowhere at all: they belong to the deployment and its callers.
var nowhere = map[string]string{
	"key of the caller":        "caller-9f8e7d6c5b4a",
	"key of the administrator": "admin-1a2b3c4d5e6f",
	"key of the provider":      "provider-q1w2e3r4t5y6",
	"refused key":              "guessed-0p9o8i7u6y5t",
	"password of the database": "dbpass-z1x2c3v4b5n6",
}

// Secrets that callers put into their own data: they stay in the exact rows that a run is resumed from and are hidden everywhere else.
var exactOnly = map[string]string{
	"password in the metadata": "hunter-5t4r3e2w1q0p",
	"key in the input":         "sk-abcdefghijklmnop0123456789",
	"key in the spec":          "inline-m1n2b3v4c5x6",
	"token in the decision":    "decided-l1k2j3h4g5f6",
}

// exactTables are where runs are resumed from; nothing of them is shown or logged as it is.
var exactTables = []string{"runs", "snapshots", "journal", "human_tasks"}

func TestPlantedSecretsAreNowhere(t *testing.T) {
	db, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	collector, model := replica.NewCollector(t), replica.NewModel(t)
	model.Answer = func(c replica.ModelCall) (string, int) {
		if strings.Contains(c.Input, "break") {
			return "no access for " + c.Header.Get("Authorization"), http.StatusUnauthorized
		}
		return "done", http.StatusOK
	}
	env := collector.Env()
	maps.Copy(env, map[string]string{
		"KNEO_SERV_API_KEYS": "ann:" + nowhere["key of the caller"] + ":service", "KNEO_SERV_ADMIN_API_KEY": nowhere["key of the administrator"],
		"KNEO_SERV_DATABASE_URL": db.DSN("postgres") + "&password=" + nowhere["password of the database"], "HOUSE_KEY": nowhere["key of the provider"],
		"KNEO_SERV_LOG_LEVEL": "DEBUG", "KNEO_SERV_AUDIT_EXPORT_ENABLED": "true", "KNEO_SERV_OTEL_RECORD_ARGUMENTS": "true", "KNEO_SERV_OTEL_RECORD_RESULTS": "true",
		"KNEO_SERV_HEALTH_PROVIDERS": "house",
	})
	env["HOUSE_API_KEY"] = nowhere["key of the provider"]
	p := replica.Serve(t, t.TempDir(), env)
	answers := exercise(t, p, model)
	replica.Eventually(t, "telemetry", func() bool {
		return len(collector.Spans()) > 5 && collector.Metric("kneo_runs_started_total") && collector.Logs() > 5
	})
	rows := dump(t, db.DSN("postgres"))
	if code := p.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	places := map[string]string{"answers": answers, "the log": p.Log(), "the telemetry": collector.Text()}
	for table, text := range rows {
		places["table "+table] = text
	}
	if !strings.Contains(rows["runs"], exactOnly["key in the input"]) {
		t.Error("the rows that runs are resumed from are not exact, or the test looks at the wrong rows")
	}
	for where, text := range places {
		for what, secret := range nowhere {
			report(t, where, text, what, secret)
		}
		if table, ok := strings.CutPrefix(where, "table "); ok && slices.Contains(exactTables, table) {
			continue
		}
		for what, secret := range exactOnly {
			report(t, where, text, what, secret)
		}
	}
}

func report(t *testing.T, where, text, what, secret string) {
	t.Helper()
	if i := strings.Index(text, secret); i >= 0 {
		t.Errorf("%s: the %s: …%s…", where, what, text[max(0, i-200):min(len(text), i+len(secret)+20)])
	}
}

// exercise uses the service in every way that touches a secret and returns all that it answered.
func exercise(t *testing.T, p *replica.Process, model *replica.Model) string {
	t.Helper()
	var all strings.Builder
	call := func(key, method, path string, body any) object {
		t.Helper()
		status, answer, err := p.Call(t.Context(), method, path, body, "Authorization", "Bearer "+key, "Idempotency-Key", fmt.Sprint(path, all.Len()))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		// A run's own output and input are shown to whoever may read the run; nothing else is as it was sent.
		fmt.Fprintf(&all, "%s %s %d %s\n", method, path, status, text)
		return answer
	}
	ann, admin := nowhere["key of the caller"], nowhere["key of the administrator"]
	agent := model.Agent("writer")
	inline := object{"name": "inline", "model": object{"provider": "house", "name": "m", "extra": object{"base_url": model.URL, "api_key": exactOnly["key in the spec"]}}}
	step := func(id, kind string) object { return object{"id": id, "kind": kind, "ref": id} }
	spec := object{
		"version": "v1", "agent": object{"name": "root"},
		"components": object{"agents": object{"draft": agent, "publish": inline}, "humans": object{"review": object{"request_type": "freeform"}}},
		"workflow":   object{"name": "line", "type": "sequential", "steps": []object{step("draft", "agent"), step("review", "human"), step("publish", "agent")}},
	}
	secretive := object{"password": exactOnly["password in the metadata"], "nested": object{"api_key": exactOnly["password in the metadata"]}}
	run := func(input string) object {
		return call(ann, "POST", "/v1/runs", object{"input": input, "spec": spec, "metadata": secretive})
	}
	paused := run("the key is " + exactOnly["key in the input"])
	task, _ := paused["continuation_id"].(string)
	id, _ := paused["run_id"].(string)
	call(ann, "GET", "/v1/human-tasks", nil)
	call(ann, "GET", "/v1/human-tasks/"+task, nil)
	call(ann, "POST", "/v1/human-tasks/"+task+"/resume", object{
		"request_id": "q", "decision": "edited", "content": "fine", "metadata": object{"token": exactOnly["token in the decision"]},
	})
	run("break")
	for _, path := range []string{"", "/trace", "/checkpoints", "/checkpoints/diff", "/replay", "/recovery", "/graph", "/policy-report"} {
		call(ann, "GET", "/v1/runs/"+id+path, nil)
	}
	for _, path := range []string{"/v1/runs", "/v1/audit-events", "/v1/security/credentials?providers=house&extras=HOUSE_KEY", "/readyz", "/metrics"} {
		call(ann, "GET", path, nil)
	}
	for _, path := range []string{"validate", "compile", "explain", "graph", "policy-report"} {
		call(ann, "POST", "/v1/specs/"+path, object{"spec": spec})
	}
	call(nowhere["refused key"], "GET", "/v1/runs", nil)
	call(admin, "PUT", "/v1/policies/environment/prod", object{"require_guardrails": true})
	call(ann, "POST", "/v1/runs", object{"input": "x", "spec": spec, "environment": "prod"})
	call(ann, "POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1", "agent": object{"name": "a", "model": "sk-abcdefghijklmnop0123456789"}}})
	return all.String()
}

// dump returns all rows of all tables as text.
func dump(t *testing.T, dsn string) map[string]string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	list, err := conn.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(list, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, table := range tables {
		rows, err := conn.Query(ctx, "SELECT row_to_json(t)::text FROM "+pgx.Identifier{table}.Sanitize()+" t")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		out[table] = strings.Join(lines, "\n")
	}
	return out
}

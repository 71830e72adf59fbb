package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/handler"
)

// refused is a call that must fail with a code; it returns the detail.
func (p *process) refused(status int, code, method, path string, body any, header ...string) object {
	p.t.Helper()
	got, out := p.call(method, path, body, header...)
	detail, ok := out["detail"].(object)
	if got != status || !ok || detail["error"] != code {
		p.t.Fatalf("%s %s: %d %v", method, path, got, out)
	}
	return detail
}

// guardedLine is two steps, the second of which refuses the word "forbidden".
func guardedLine() object {
	guard := object{"input": []object{{"id": "kw", "type": "keyword", "config": object{"keywords": []string{"forbidden"}}}}}
	step := func(id, ref string) object { return object{"id": id, "kind": "agent", "ref": ref} }
	return object{
		"version": "v1", "agent": object{"name": "root"},
		"components": object{"agents": object{"a": object{"name": "a"}, "g": object{"name": "g", "guardrails": guard}}},
		"workflow":   object{"name": "line", "type": "sequential", "steps": []object{step("one", "a"), step("two", "g")}},
	}
}

func TestContinueAFailedRun(t *testing.T) {
	p := start(t, nil)
	detail := p.refused(422, "guardrail_violation", "POST", "/v1/runs", object{"input": "forbidden", "spec": guardedLine()})
	id := detail["run_id"].(string)
	recovery := p.ok(200, "GET", "/v1/runs/"+id+"/recovery", nil)["replay_context"].(object)
	if recovery["can_continue"] != true || recovery["failed_step"] != "two" {
		t.Fatalf("recovery: %v", recovery)
	}
	p.refused(422, "guardrail_violation", "POST", "/v1/runs/"+id+"/continue", nil)
	p.ok(200, "POST", "/v1/runs/"+id+"/cancel", nil)
	done := p.ok(200, "POST", "/v1/runs", object{"input": "fine", "spec": guardedLine()})
	conflict := p.refused(409, "run_state_conflict", "POST", "/v1/runs/"+done["run_id"].(string)+"/continue", nil)
	if conflict["status"] != "completed" {
		t.Fatalf("conflict: %v", conflict)
	}
	p.refused(404, "not_found", "POST", "/v1/runs/none/continue", nil)
	p.refused(400, "invalid_request", "GET", "/v1/runs/"+id+"/checkpoints/diff?from_sequence=99", nil)
	p.refused(400, "invalid_request", "GET", "/v1/runs/"+id+"/checkpoints/diff?from_sequence=2&to_sequence=2", nil)
	diff := p.ok(200, "GET", "/v1/runs/"+id+"/checkpoints/diff?from_sequence=1&to_sequence=2", nil)
	if diff["change_count"].(float64) == 0 {
		t.Fatalf("diff: %v", diff)
	}
	for _, query := range []string{"sort_by=sequence&sort_order=desc", "sort_by=type", "type=run_failed"} {
		p.ok(200, "GET", "/v1/runs/"+id+"/checkpoints?"+query, nil)
	}
}

func TestSpecRoutes(t *testing.T) {
	root := t.TempDir()
	p := start(t, map[string]string{"KNEO_SERV_SPEC_ROOT": root})
	file := filepath.Join(root, "agent.yaml")
	if err := os.WriteFile(file, []byte("version: v1\nagent:\n  name: filed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "over.yaml"), []byte("agent:\n  name: over\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if valid := p.ok(200, "POST", "/v1/specs/validate", object{"spec": object{"version": "v1"}}); valid["valid"] != false {
		t.Fatalf("validate: %v", valid)
	}
	compiled := p.ok(200, "POST", "/v1/specs/compile", object{"spec": review()})
	if compiled["ok"] != true || compiled["summary"].(object)["has_root_workflow"] != true {
		t.Fatalf("compile: %v", compiled)
	}
	layered := object{"spec_path": "agent.yaml", "overlays": []string{"over.yaml"}, "overrides": object{"metadata": object{"k": 1}}}
	if explained := p.ok(200, "POST", "/v1/specs/explain", layered)["summary"].(object); explained["root_agent"] != "over" {
		t.Fatalf("explain: %v", explained)
	}
	graph := p.ok(200, "POST", "/v1/specs/graph", object{"spec": review()})
	if len(graph["nodes"].([]any)) != 3 || len(graph["edges"].([]any)) != 2 {
		t.Fatalf("graph: %v", graph)
	}
	if report := p.ok(200, "POST", "/v1/specs/policy-report", object{"spec": review()}); report["valid"] != true {
		t.Fatalf("report: %v", report)
	}
	for _, path := range []string{"validate", "policy-report", "compile", "explain", "graph"} {
		p.refused(400, "invalid_request", "POST", "/v1/specs/"+path, object{})
	}
	ghost := guardedLine()
	ghost["workflow"].(object)["steps"] = []object{{"id": "s", "kind": "agent", "ref": "ghost"}}
	if detail := p.refused(400, "spec_invalid", "POST", "/v1/specs/compile", object{"spec": ghost}); len(detail["diagnostics"].([]any)) != 1 {
		t.Fatalf("compile: %v", detail)
	}
	p.refused(422, "spec_path_confined", "POST", "/v1/specs/compile", object{"spec_path": "/etc/hostname"})
	layered["input"], layered["target"], layered["async_mode"] = "x", "agent", false
	run := p.ok(200, "POST", "/v1/specs/run", layered)
	state := p.ok(200, "GET", "/v1/runs/"+run["run_id"].(string), nil)
	metadata := state["metadata"].(object)
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	if state["agent_name"] != "over" || metadata["spec_path"] != real || len(metadata["frozen_spec"].(object)["overlays"].([]any)) != 1 {
		t.Fatalf("run: %v", state)
	}
	audit := p.ok(200, "GET", "/v1/audit-events?sort_by=event_type&sort_order=asc&limit=3", nil)
	if audit["count"] != 3.0 || audit["events"].([]any)[0].(object)["event_type"] != "spec.compiled" {
		t.Fatalf("audit: %v", audit)
	}
}

func TestHumanTaskRoutes(t *testing.T) {
	p := start(t, nil)
	var ids []string
	for range 3 {
		ids = append(ids, p.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": review()})["continuation_id"].(string))
	}
	list := p.ok(200, "GET", "/v1/human-tasks?sort_by=pending_human_request.title&limit=2", nil)
	if list["total"] != 3.0 || list["count"] != 2.0 {
		t.Fatalf("list: %v", list)
	}
	for query, total := range map[string]float64{"workflow_kind=graph": 0, "workflow_kind=sequential": 3, "status=escalated": 0, "status=pending": 3, "run_id=": 0} {
		if list := p.ok(200, "GET", "/v1/human-tasks?"+query, nil); list["total"] != total {
			t.Errorf("%s: %v", query, list["total"])
		}
	}
	task := p.ok(200, "GET", "/v1/human-tasks/"+ids[0], nil)
	request := task["request"].(object)
	other := p.ok(200, "GET", "/v1/human-tasks/"+ids[1], nil)["request"].(object)
	answer := object{"request_id": other["id"], "decision": "approved"}
	p.refused(400, "invalid_request", "POST", "/v1/human-tasks/"+ids[0]+"/resume", answer)
	answer["request_id"] = request["id"]
	p.ok(200, "POST", "/v1/human-tasks/"+ids[0]+"/resume", answer)
	p.refused(404, "not_found", "GET", "/v1/human-tasks/"+ids[0], nil)
	p.refused(404, "not_found", "GET", "/v1/human-tasks/none", nil)
}

func TestAnswerAfterTheDeadline(t *testing.T) {
	p := start(t, map[string]string{"KNEO_SERV_SWEEP_SECONDS": "0.05"})
	spec := review()
	spec["components"].(object)["humans"].(object)["h"].(object)["timeout_seconds"] = 1
	paused := p.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": spec})
	events := "/v1/runs/" + paused["run_id"].(string)
	for p.ok(200, "GET", events, nil)["status"] == "blocked" {
		p.ok(200, "GET", events+"/wait?timeout_seconds=0.1", nil)
	}
	detail := p.refused(409, "human_task_expired", "POST", "/v1/human-tasks/"+paused["continuation_id"].(string)+"/resume", object{"request_id": "r", "decision": "approved"})
	if detail["continuation_id"] != paused["continuation_id"] {
		t.Fatalf("expired: %v", detail)
	}
}

func TestPolicyRoutes(t *testing.T) {
	p := start(t, nil)
	first := p.ok(200, "PUT", "/v1/policies/environment/a", object{"blocked_diagnostic_codes": []string{"W_X"}})
	if first["previous_policy"] != nil {
		t.Fatalf("put: %v", first)
	}
	if second := p.ok(200, "PUT", "/v1/policies/environment/a", object{}); second["previous_policy"] == nil {
		t.Fatalf("put: %v", second)
	}
	if list := p.ok(200, "GET", "/v1/policies/environment", nil); list["count"] != 1.0 {
		t.Fatalf("list: %v", list)
	}
	if none := p.ok(200, "GET", "/v1/policies/environment/b", nil); none["policy"] != nil {
		t.Fatalf("get: %v", none)
	}
}

func TestProbes(t *testing.T) {
	p := start(t, nil)
	for path, word := range map[string]string{"/healthz": "healthy", "/v1/livez": "alive"} {
		if body := p.ok(200, "GET", path, nil); body["metadata"].(object)["status"] != word {
			t.Errorf("%s: %v", path, body)
		}
	}
	if document := p.ok(200, "GET", "/openapi.json", nil); document["paths"] == nil {
		t.Errorf("openapi: %v", document)
	}
	p.ok(200, "GET", "/docs", nil)
	tools := p.ok(200, "GET", "/readyz", nil)["metadata"].(object)["checks"].(object)["tool_registry"].(object)
	if tools["count"].(float64) == 0 {
		t.Errorf("tools: %v", tools)
	}
}

func TestForcedDummyAndMissingSecrets(t *testing.T) {
	spec := object{"version": "v1", "agent": object{"name": "g", "model": object{"provider": "no-such", "name": "m", "extra": object{"base_url": "http://127.0.0.1:1", "api_key_ref": "KNEO_TEST_NO_SUCH_KEY"}}}}
	forced := start(t, map[string]string{"KNEO_SERV_FORCE_DUMMY_PROVIDER": "true"})
	run := forced.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": spec})
	if run["output_text"] != "Final answer: x" {
		t.Fatalf("forced: %v", run)
	}
	forced.ok(200, "GET", "/v1/runs/"+run["run_id"].(string)+"/graph", nil)
	strict := start(t, map[string]string{"KNEO_SERV_REQUIRE_PROVIDER_SECRETS": "true"})
	detail := strict.refused(424, "missing_secret", "POST", "/v1/runs", object{"input": "x", "spec": spec})
	if !strings.Contains(detail["message"].(string), "KNEO_TEST_NO_SUCH_KEY") {
		t.Fatalf("strict: %v", detail)
	}
	if list := strict.ok(200, "GET", "/v1/runs", nil); list["total"] != 0.0 {
		t.Fatalf("strict: %v", list)
	}
}

func TestLocalCallsWithAFunction(t *testing.T) {
	settings := config.FromMap(map[string]string{"KNEO_SERV_SQLITE_PATH": ":memory:"})
	cfg, err := config.Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), cfg, Options{Log: io.Discard, Env: settings})
	if err != nil {
		t.Fatal(err)
	}
	stop := a.Work(t.Context(), 1)
	defer stop()
	upper := func(_ context.Context, text string) (string, error) { return strings.ToUpper(text), nil }
	if err := a.Handlers().Register(handler.Definition{Name: "app.upper", Kind: handler.Function, Idempotent: true}, handler.TextFunc(upper)); err != nil {
		t.Fatal(err)
	}
	broken := func(context.Context, string) (string, error) {
		return "", handler.NewError(handler.CodeTimeout, "too slow")
	}
	if err := a.Handlers().Register(handler.Definition{Name: "app.broken", Kind: handler.Function, Idempotent: true}, handler.TextFunc(broken)); err != nil {
		t.Fatal(err)
	}
	runs := kneov1.NewRunServiceClient(a.Conn())
	for name, want := range map[string]string{"app.upper": "completed", "app:broken": "failed"} {
		spec, err := json.Marshal(object{
			"version": "v1", "agent": object{"name": "root"},
			"components": object{"functions": object{"f": object{"implementation": name}}},
			"workflow":   object{"name": "line", "type": "sequential", "steps": []object{{"id": "s", "kind": "function", "ref": "f"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := runs.CreateRun(t.Context(), &kneov1.RunCreateRequest{Input: "hello", Spec: &kneov1.JsonObject{Raw: spec}})
		if err != nil {
			t.Fatal(err)
		}
		if out.GetStatus() != want || want == "completed" && out.GetOutputText() != "HELLO" {
			t.Errorf("%s: %v", name, out)
		}
		if want == "failed" && !strings.Contains(string(out.GetMetadata().GetRaw()), `"type":"timeout"`) {
			t.Errorf("%s: %s", name, out.GetMetadata().GetRaw())
		}
	}
}

func TestKeyInUse(t *testing.T) {
	p := start(t, nil)
	body := object{"input": "x", "spec": greeter()}
	first := p.ok(http.StatusOK, "POST", "/v1/runs", body, "Idempotency-Key", "k")
	again := p.ok(http.StatusOK, "POST", "/v1/runs", body, "Idempotency-Key", "k")
	if first["run_id"] != again["run_id"] {
		t.Fatalf("replay: %v", again)
	}
	body["input"] = "other"
	p.refused(409, "idempotency_key_conflict", "POST", "/v1/runs", body, "Idempotency-Key", "k")
}

// TestRunsByStatus: runs of one status are newest first in both directions, and a page may begin among the runs of any status.
func TestRunsByStatus(t *testing.T) {
	p := start(t, nil)
	person := object{"version": "v1", "agent": object{"name": "root"}, "components": object{"humans": object{"h": object{"description": "d"}}}, "workflow": object{
		"type": "sequential", "steps": []object{{"id": "s", "kind": "human", "ref": "h"}},
	}}
	for _, text := range []string{"a", "b", "c"} {
		p.ok(200, "POST", "/v1/runs", object{"input": text, "session_id": "s", "spec": object{"version": "v1", "agent": object{"name": "root"}}})
	}
	p.ok(200, "POST", "/v1/runs", object{"input": "d", "session_id": "s", "spec": person})
	p.ok(200, "POST", "/v1/runs", object{"input": "e", "spec": person})
	for query, want := range map[string]string{
		"": "cbad", "&sort_order=asc": "dcba", "&limit=2": "cb", "&limit=2&offset=2": "ad", "&limit=2&offset=3": "d", "&offset=4": "", "&status=completed": "cba", "&status=failed": "",
	} {
		list := p.ok(200, "GET", "/v1/runs?session_id=s&sort_by=status"+query, nil)
		got := ""
		for _, r := range list["runs"].([]any) {
			got += r.(object)["input_text"].(string)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
		if total := list["total"].(float64); !strings.Contains(query, "status=") && total != 4 {
			t.Errorf("%q: total %v", query, total)
		}
	}
}

// TestRefusedNode: a run that a guardrail stopped in a node stands at that node, although no row tells of it.
func TestRefusedNode(t *testing.T) {
	p := start(t, nil)
	s := guardedLine()
	node := func(id, ref string) object { return object{"id": id, "kind": "agent", "ref": ref} }
	s["workflow"] = object{"type": "graph", "start": "one", "nodes": object{"one": node("one", "a"), "two": node("two", "g")}, "edges": []object{{"from": "one", "to": "two"}}}
	detail := p.refused(422, "guardrail_violation", "POST", "/v1/runs", object{"input": "forbidden", "spec": s})
	recovery := p.ok(200, "GET", "/v1/runs/"+detail["run_id"].(string)+"/recovery", nil)
	if recovery["current_node_id"] != "two" || recovery["replay_context"].(object)["failed_node"] != nil {
		t.Fatalf("recovery: %v", recovery)
	}
}

// TestRecoveryAtTheCap: a run that ended at its cap has no row for its end, and recovery tells of it all the same.
func TestRecoveryAtTheCap(t *testing.T) {
	p := start(t, nil)
	s := guardedLine()
	node := func(id string) object { return object{"id": id, "kind": "agent", "ref": "a"} }
	s["workflow"] = object{"type": "graph", "start": "one", "max_steps": 1, "nodes": object{"one": node("one"), "two": node("two")}, "edges": []object{{"from": "one", "to": "two"}}}
	run := p.ok(200, "POST", "/v1/runs", object{"input": "x", "spec": s})
	recovery := p.ok(200, "GET", "/v1/runs/"+run["run_id"].(string)+"/recovery", nil)
	if failure, ok := recovery["error"].(object); !ok || recovery["status"] != "failed" || failure["type"] != "max_iterations" || recovery["current_node_id"] != "one" {
		t.Fatalf("recovery: %v", recovery)
	}
}

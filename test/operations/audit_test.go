package operations

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/test/replica"
)

// auditKeys are all kinds of audit events with the names in their metadata (service-api §14); a question mark marks those that may be absent.
var auditKeys = map[string]string{
	"run.created":                   "async_mode environment inline_spec metadata session_id skills_overlay? spec_path target usage?",
	"spec.run":                      "async_mode? environment inline_spec spec_path status target",
	"run.cancelled":                 "",
	"run.continued":                 "status",
	"run.timed_out":                 "deadline_at status_at_timeout timed_out_at timeout_seconds",
	"run.dead_lettered":             "attempts limit",
	"human.decision":                "decision has_content request_id selected_option status",
	"human.expired":                 "expired_at expires_at on_timeout timeout_seconds",
	"human.continued":               "expired_at expires_at on_timeout timeout_seconds",
	"human.escalated":               "assignee expired_at expires_at on_timeout timeout_seconds",
	"human.continue_failed":         "error_message error_type on_timeout",
	"spec.validated":                "environment inline_spec overlays spec_path valid",
	"spec.compiled":                 "environment inline_spec overlays spec_path valid",
	"spec.policy_reported":          "environment? inline_spec? overlays? source? spec_path? valid",
	"spec.explained":                "inline_spec spec_path",
	"spec.graph":                    "inline_spec spec_path workflow_kind",
	"policy.changed":                "changed_fields current environment previous? surface",
	"credential.inventory_accessed": "extra_count extras_present extras_requested include_service_references provider_count providers_present providers_requested service_reference_count service_references_present",
}

// platform are the kinds that nobody asked for: their actor is null.
var platform = []string{"run.timed_out", "run.dead_lettered", "human.expired", "human.continued", "human.escalated", "human.continue_failed"}

// TestEveryAuditEvent causes an event of every kind and compares actor and metadata.
func TestEveryAuditEvent(t *testing.T) {
	t.Parallel()
	model := replica.NewModel(t)
	hold := make(chan struct{})
	model.Answer = func(c replica.ModelCall) (string, int) {
		if strings.Contains(c.Input, "hold") {
			<-hold
		}
		if strings.Contains(c.Input, "fail") {
			return "no", http.StatusBadRequest
		}
		return "ok", http.StatusOK
	}
	t.Cleanup(func() { close(hold) })
	env := map[string]string{
		"KNEO_SERV_ADMIN_API_KEY": "audit-key", "KNEO_SERV_SWEEP_SECONDS": "0.1", "KNEO_SERV_QUEUE_MAX_ATTEMPTS": "1", "HOUSE_KEY": "k", "KNEO_SERV_SQLITE_PATH": "kneo.db",
	}
	dir := t.TempDir()
	p := replica.Serve(t, dir, env)
	as := []string{"Authorization", "Bearer audit-key"}
	call := func(status int, method, path string, body any) object {
		t.Helper()
		return p.OK(t, status, method, path, body, as...)
	}
	run := func(body object) string {
		t.Helper()
		body["input"] = body["input"].(string) + " text"
		id, _ := call(http.StatusOK, "POST", "/v1/runs", body)["run_id"].(string)
		return id
	}
	house := object{"version": "v1", "agent": object{"name": "root"}, "components": object{"agents": object{"a": model.Agent("a")}}, "workflow": object{
		"name": "w", "type": "sequential", "steps": []object{{"id": "a", "kind": "agent", "ref": "a"}},
	}}
	// The run that a dying process leaves behind is claimed once too often.
	lost := call(http.StatusAccepted, "POST", "/v1/runs", object{"input": "hold", "spec": house, "async_mode": true})["run_id"].(string)
	for deadline := time.Now().Add(20 * time.Second); len(model.Calls()) == 0; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the run does not begin: %v\n%s", call(http.StatusOK, "GET", "/v1/runs/"+lost, nil), p.Log())
		}
	}
	p.Kill()
	p = replica.Serve(t, dir, env)

	source := object{"spec": greeter()}
	call(http.StatusOK, "POST", "/v1/specs/run", object{"input": "x", "spec": greeter()})
	for _, path := range []string{"validate", "compile", "explain", "graph", "policy-report"} {
		call(http.StatusOK, "POST", "/v1/specs/"+path, source)
	}
	human := func(more object) object {
		fields := object{"request_type": "approval", "assignee": "ann"}
		maps.Copy(fields, more)
		return fields
	}
	plain := object{"name": "publish"}
	blocked := run(object{"input": "x", "spec": gated(human(nil), plain), "session_id": "s", "metadata": object{"ticket": 7}})
	task, _ := call(http.StatusOK, "GET", "/v1/runs/"+blocked, nil)["continuation_id"].(string)
	call(http.StatusOK, "POST", "/v1/human-tasks/"+task+"/resume", object{"request_id": "q", "decision": "approved", "content": "fine"})
	call(http.StatusOK, "POST", "/v1/runs/"+run(object{"input": "x", "spec": gated(human(nil), plain)})+"/cancel", nil)
	failed := run(object{"input": "fail", "spec": house})
	call(http.StatusOK, "POST", "/v1/runs/"+failed+"/continue", nil)
	call(http.StatusOK, "GET", "/v1/runs/"+failed+"/policy-report", nil)
	call(http.StatusOK, "PUT", "/v1/policies/environment/prod", object{"require_guardrails": true})
	call(http.StatusOK, "GET", "/v1/security/credentials?providers=openai&extras=X", nil)
	run(object{"input": "x", "spec": gated(human(nil), plain), "timeout_seconds": 0.2})
	guarded := object{"name": "publish", "guardrails": object{"input": []object{{"id": "kw", "type": "keyword", "config": object{"keywords": []string{"text"}}}}}}
	for policy, after := range map[string]object{"fail": plain, "continue": guarded, "escalate": plain} {
		run(object{"input": "x", "spec": gated(human(object{"timeout_seconds": 1, "on_timeout": policy}), after)})
	}

	seen := map[string][]object{}
	for deadline := time.Now().Add(30 * time.Second); len(seen) < len(auditKeys) && time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		seen = map[string][]object{}
		for _, e := range call(http.StatusOK, "GET", "/v1/audit-events?limit=500", nil)["events"].([]any) {
			event := e.(object)
			kind := event["event_type"].(string)
			seen[kind] = append(seen[kind], event)
		}
	}
	for kind, keys := range auditKeys {
		if len(seen[kind]) == 0 {
			t.Errorf("%s: no event", kind)
		}
		for _, event := range seen[kind] {
			checkAudit(t, event, keys, slices.Contains(platform, kind))
		}
		delete(seen, kind)
	}
	for kind := range seen {
		t.Errorf("%s is not in the list", kind)
	}
}

func checkAudit(t *testing.T, event object, keys string, nobody bool) {
	t.Helper()
	kind, metadata := event["event_type"], event["metadata"].(object)
	known := map[string]bool{}
	for name := range strings.FieldsSeq(keys) {
		name, optional := strings.CutSuffix(name, "?")
		known[name] = true
		if _, ok := metadata[name]; !ok && !optional {
			t.Errorf("%s: no %s in %v", kind, name, metadata)
		}
	}
	for name := range metadata {
		if !known[name] {
			t.Errorf("%s: unexpected %s", kind, name)
		}
	}
	switch {
	case nobody && event["actor"] != nil:
		t.Errorf("%s: the actor is %v", kind, event["actor"])
	case !nobody && event["actor"] != "admin":
		t.Errorf("%s: the actor is %v", kind, event["actor"])
	}
	if text, _ := event["created_at"].(string); !strings.HasSuffix(text, "+00:00") {
		t.Errorf("%s: created_at %v", kind, event["created_at"])
	}
}

// Package contract_test holds the published surface of the REST API against the protobuf contract: routes, scopes,
// idempotency names, audit events and the order of fields that clients see.
package contract_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/contract"
)

// surface lists every route as "VERB path | scope | idempotency scope | audit event".
const surface = `
GET /v1/audit-events | audit:read | - | -
GET /v1/healthz | public | - | -
GET /v1/human-tasks | human:read | - | -
GET /v1/human-tasks/{continuation_id} | human:read | - | -
GET /v1/livez | public | - | -
GET /v1/policies/environment | policies:read | - | -
GET /v1/policies/environment/{environment} | policies:read | - | -
GET /v1/readyz | public | - | -
GET /v1/runs | runs:read | - | -
GET /v1/runs/{run_id} | runs:read | - | -
GET /v1/runs/{run_id}/checkpoints | runs:read | - | -
GET /v1/runs/{run_id}/checkpoints/diff | runs:read | - | -
GET /v1/runs/{run_id}/graph | runs:read | - | -
GET /v1/runs/{run_id}/policy-report | runs:read | - | spec.policy_reported
GET /v1/runs/{run_id}/recovery | runs:read | - | -
GET /v1/runs/{run_id}/replay | runs:read | - | -
GET /v1/runs/{run_id}/trace | runs:read | - | -
GET /v1/runs/{run_id}/wait | runs:read | - | -
GET /v1/security/credentials | credentials:read | - | credential.inventory_accessed
GET /v1/skills | specs:read | - | -
POST /v1/human-tasks/{continuation_id}/resume | human:write | human:resume | human.decision
POST /v1/policies/environment/{environment}/preview | policies:read | - | -
POST /v1/runs | runs:write | runs:create | run.created
POST /v1/runs/{run_id}/cancel | runs:write | - | run.cancelled
POST /v1/runs/{run_id}/continue | runs:write | runs:continue | run.continued
POST /v1/specs/compile | specs:read | - | spec.compiled
POST /v1/specs/explain | specs:read | - | spec.explained
POST /v1/specs/graph | specs:read | - | spec.graph
POST /v1/specs/policy-report | specs:read | - | spec.policy_reported
POST /v1/specs/run | runs:write | specs:run | spec.run
POST /v1/specs/validate | specs:read | - | spec.validated
PUT /v1/policies/environment/{environment} | policies:write | - | policy.changed
`

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func TestSurface(t *testing.T) {
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range c.Routes() {
		scope := r.Method.RequiredScope
		if r.Method.Public {
			scope = "public"
		}
		got = append(got, fmt.Sprintf("%s %s | %s | %s | %s", r.Verb, r.Template, scope, dash(r.Method.IdempotencyScope), dash(r.Method.AuditEvent)))
	}
	slices.Sort(got)
	want := strings.Split(strings.TrimSpace(surface), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("surface (-want +got):\n%s", diff)
	}
}

// TestFieldOrder pins the order in which REST writes the fields of the messages that published clients read.
func TestFieldOrder(t *testing.T) {
	tests := []struct {
		message proto.Message
		fields  string
	}{
		{&kneov1.RunCreateRequest{}, "input spec_path spec target environment overlays overrides skills async_mode session_id metadata timeout_seconds"},
		{&kneov1.RunCreateResponse{}, "run_id status output_text human_intervention_required continuation_id metadata"},
		{&kneov1.ListRunsResponse{}, "runs count total window limit offset sort_by sort_order"},
		{&kneov1.RunStatusResponse{}, "run_id status agent_name workflow_name workflow_kind session_id input_text output_text current_step_index " +
			"current_node_id visited_steps visited_nodes pending_human_request continuation_id trace_event_count usage metadata error"},
		{&kneov1.ReplayResponse{}, "run_id status workflow_name workflow_kind agent_name checkpoint_count timeline replay_context"},
		{&kneov1.ReplayTimelineItem{}, "id sequence type created_at workflow_name step_id node_id status current_step_index current_step_id " +
			"current_node_id continuation_id pending_human_request_id error"},
		{&kneov1.ReplayContext{}, "run_id status workflow_type completed_steps completed_nodes failed_step failed_node next_step_index " +
			"resume_input checkpoint_count can_continue can_replay"},
		{&kneov1.RecoveryResponse{}, "run_id status workflow_name workflow_kind current_step_index current_node_id visited_steps visited_nodes " +
			"checkpoint_count pending_human_request continuation_id error replay_context"},
		{&kneov1.RunTraceResponse{}, "run_id events count total window limit offset sort_by sort_order dropped complete"},
		{&kneov1.ListCheckpointsResponse{}, "run_id checkpoints count total window limit offset sort_by sort_order"},
		{&kneov1.CheckpointDiffResponse{}, "run_id from_checkpoint to_checkpoint change_count added removed changed truncated"},
		{&kneov1.RunGraphResponse{}, "run_id status workflow_name workflow_kind start max_steps nodes edges current visited"},
		{&kneov1.SpecGraphResponse{}, "workflow_name workflow_kind start max_steps nodes edges"},
		{&kneov1.GraphNode{}, "id kind name on_error fallback_node max_retries timeout_seconds"},
		{&kneov1.GraphEdge{}, "source target label conditional priority"},
		{&kneov1.Diagnostic{}, "code severity message path suggestion line column"},
		{&kneov1.HumanTaskResponse{}, "continuation_id request messages"},
		{&kneov1.HumanResumeRequest{}, "request_id decision content selected_option metadata"},
		{&kneov1.HumanResumeResponse{}, "run_id status output_text metadata"},
		{&kneov1.AuditEvent{}, "id event_type run_id continuation_id actor metadata created_at"},
		{&kneov1.CredentialEntry{}, "name env_var present value status expires_at last_checked"},
		{&kneov1.EnvironmentPolicy{}, "enabled fail_on_warnings blocked_diagnostic_codes require_human_review require_tool_permissions " +
			"deny_unrestricted_tools require_guardrails"},
		{&kneov1.PolicyPreviewResponse{}, "environment diff affected_run_ids newly_blocking runs_evaluated"},
		{&kneov1.HealthResponse{}, "ok service version metadata"},
	}
	for _, tt := range tests {
		d := tt.message.ProtoReflect().Descriptor()
		t.Run(string(d.Name()), func(t *testing.T) {
			var names []string
			for i := range d.Fields().Len() {
				names = append(names, string(d.Fields().Get(i).Name()))
			}
			if diff := cmp.Diff(tt.fields, strings.Join(names, " ")); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

package record

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
)

var at = time.Date(2026, 11, 23, 10, 26, 11, 162357000, time.UTC)

func text(s string) *string { return &s }

func sample() run.Run {
	index := int64(1)
	return run.Run{
		ID: "r1", Status: run.Completed, AgentName: text("root"), WorkflowName: text("seq"), WorkflowKind: text("workflow"), Input: "mail a@example.com",
		Output: text("done"), CurrentStepIndex: &index, CurrentStepID: text("s2"), VisitedSteps: []string{"s1", "s2"},
		Messages: json.RawMessage(`[{"role":"user","content":"mail a@example.com","name":null,"tool_call_id":null,"metadata":{}}]`),
		Creation: json.RawMessage(`{"spec_path":null,"spec":{"version":"v1"},"target":"workflow","caller_metadata":{"password":"p"}}`),
		Progress: json.RawMessage(`{"step_iteration_counts":{"s1|":1}}`), SessionID: text("s-77"), TraceCount: 3, CreatedAt: at, UpdatedAt: at, CompletedAt: &at,
	}
}

func TestRunItem(t *testing.T) {
	r := sample()
	want := `{"id":"r1","status":"completed","agent_name":"root","workflow_name":"seq","workflow_kind":"workflow","input_text":"mail [REDACTED_EMAIL]",` +
		`"output_text":"done","current_step_index":1,"current_step_id":"s2","current_node_id":null,"visited_steps":["s1","s2"],"visited_nodes":[],` +
		`"messages":[{"role":"user","content":"mail [REDACTED_EMAIL]","name":null,"tool_call_id":null,"metadata":{}}],"pending_human_request":null,` +
		`"continuation_id":null,"trace_dropped":0,"metadata":{"spec_path":null,"spec":{"version":"v1"},"target":"workflow","frozen_spec":{"base":{}},` +
		`"caller_metadata":{"password":"[REDACTED]"},"step_iteration_counts":{"s1|":1}},"error":null,"parent_run_id":null,"session_id":"s-77","tags":[],` +
		`"created_at":"2026-11-23T10:26:11.162357+00:00","updated_at":"2026-11-23T10:26:11.162357+00:00","started_at":"2026-11-23T10:26:11.162357+00:00",` +
		`"completed_at":"2026-11-23T10:26:11.162357+00:00","deadline_at":null,"trace_event_count":3}`
	if got := string(RunItem(&r, json.RawMessage(`{"base":{}}`))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCheckpointGetsItsPartsBack(t *testing.T) {
	r := sample()
	c := run.Checkpoint{ID: "c1", RunID: "r1", Type: "step_completed", StepID: text("s1"), Sequence: 2, Iteration: 1, State: State(&r), CreatedAt: at}
	got := Checkpoint(&r, json.RawMessage(`{"base":{}}`), &c, json.RawMessage(`[{"event_id":"e"}]`))
	var v struct {
		State map[string]json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(got, &v); err != nil {
		t.Fatal(err)
	}
	if string(v.State["trace_events"]) != `[{"event_id":"e"}]` || !strings.Contains(string(v.State["metadata"]), `"frozen_spec":{"base":{}},"caller_metadata"`) {
		t.Errorf("state %s", got)
	}
	keys := `"id":.*"continuation_id":null,"trace_events":`
	if !strings.Contains(string(got), strings.TrimPrefix(keys, `"id":.*`)) {
		t.Errorf("order of keys: %s", got)
	}
	limited := run.Checkpoint{State: json.RawMessage(`{"_limited":true,"status":"running"}`)}
	if got := FullState(&r, nil, &limited, nil); string(got) != string(limited.State) {
		t.Errorf("limited state %s", got)
	}
}

func row(kind, step, node, meta string) run.Checkpoint {
	c := run.Checkpoint{Type: kind, Metadata: json.RawMessage(meta), CreatedAt: at}
	if step != "" {
		c.StepID = &step
	}
	if node != "" {
		c.NodeID = &node
	}
	return c
}

func TestReplayContext(t *testing.T) {
	r := sample()
	r.Status, r.Error = run.Failed, &run.Failure{Message: "m", Type: run.FailStep}
	list := []run.Checkpoint{
		row("run_started", "", "", `{}`),
		row("step_completed", "a", "", `{"workflow_type":"sequential","input_text":"x","output_text":"HELLO"}`),
		row("step_completed", "a", "", `{"workflow_type":"sequential"}`),
		row("step_failed", "b", "", `{"workflow_type":"sequential","input_text":"HELLO","output_text":null}`),
		row("run_failed", "", "", `{}`),
	}
	want := `{"run_id":"r1","status":"failed","workflow_type":"sequential","completed_steps":["a"],"completed_nodes":[],"failed_step":"b","failed_node":null,` +
		`"next_step_index":1,"resume_input":"HELLO","checkpoint_count":5,"can_continue":true,"can_replay":true}`
	if got := string(ReplayContextOf(&r, list).JSON()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCanContinue(t *testing.T) {
	for _, tt := range []struct {
		status run.Status
		kind   string
		want   bool
	}{
		{run.Failed, run.FailStep, true},
		{run.Failed, run.FailGuardrail, true},
		{run.Failed, run.FailDeadLetter, true},
		{run.Failed, run.FailMaxIterations, false},
		{run.Failed, run.FailHumanRejected, false},
		{run.Completed, "", false},
		{run.Blocked, "", false},
		{run.Cancelled, run.FailCancelled, false},
	} {
		r := sample()
		r.Status = tt.status
		if tt.kind != "" {
			r.Error = &run.Failure{Type: tt.kind}
		}
		if got := CanContinue(&r); got != tt.want {
			t.Errorf("%s %s: %v", tt.status, tt.kind, got)
		}
	}
}

func TestDiff(t *testing.T) {
	a := row("run_started", "", "", `{"gone":null,"secret_token":1}`)
	b := row("step_completed", "u", "", `{"output_text":"HELLO","secret_token":2}`)
	d := DiffOf(json.RawMessage(`{"visited_steps":[],"current_step_id":null,"same":"\u00e9","session_id":null}`), &a,
		json.RawMessage(`{"visited_steps":["u"],"current_step_id":"u","same":"é","session_id":"s"}`), &b)
	show := func(list []Change) string {
		var out []string
		for _, c := range list {
			out = append(out, c.Path+" "+string(c.Before)+">"+string(c.After))
		}
		return strings.Join(out, "; ")
	}
	if got := show(d.Added); got != `metadata.output_text >"HELLO"; state.visited_steps[0] >"u"` {
		t.Errorf("added %s", got)
	}
	if got := show(d.Removed); got != `metadata.gone null>; state.visited_steps []>` {
		t.Errorf("removed %s", got)
	}
	if got := show(d.Changed); got != `metadata.secret_token "[REDACTED]">"[REDACTED]"; state.current_step_id null>"u"; state.session_id null>"s"` {
		t.Errorf("changed %s", got)
	}
	if d.Count != 7 || d.Truncated {
		t.Errorf("count %d", d.Count)
	}
	long := `{"l":[` + strings.TrimSuffix(strings.Repeat("1,", 300), ",") + `]}`
	if d = DiffOf(json.RawMessage(`{}`), &a, json.RawMessage(long), &a); !d.Truncated || len(d.Added)+len(d.Removed) != 200 || d.Count != 301 {
		t.Errorf("%d listed of %d", len(d.Added), d.Count)
	}
}

func TestTraceEvent(t *testing.T) {
	in := strings.Repeat("é", 501)
	e := TraceEvent{Type: "run_failed", RunID: "r1", ID: "e1", At: at, AgentName: "A", Input: &in, Error: text("cannot read /etc/app/secret.txt")}
	got := string(AppendTrace(nil, &e))
	for _, part := range []string{
		`{"type":"run_failed","run_id":"r1","event_id":"e1","timestamp":"2026-11-23T10:26:11.162357+00:00","parent_event_id":null,"span_id":null,`,
		strings.Repeat("é", 500) + `...[truncated]"`, `"metadata":{},"error":"cannot read [PATH]"}`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(got), &all); err != nil || len(all) != 20 {
		t.Errorf("%d members, %v", len(all), err)
	}
}

func TestTraceIsUnitedOnce(t *testing.T) {
	r := sample()
	r.Progress = json.RawMessage(`{"trace":{"run_id":"r1","events":[{"event_id":"c","type":"z"}]}}`)
	list := []run.Checkpoint{{TraceEvents: json.RawMessage(`[{"event_id":"a","type":"x"}, {"event_id":"b","type":"y"}]`)}, {TraceEvents: json.RawMessage(`[{"event_id":"b","type":"y"}]`)}}
	if got := Trace(&r, list, ""); len(got) != 3 {
		t.Errorf("%d events", len(got))
	}
	if got := Trace(&r, list, "y"); len(got) != 1 {
		t.Errorf("%d events of one type", len(got))
	}
	if got := TraceUpTo(list); string(got[0]) != `[{"event_id":"a","type":"x"},{"event_id":"b","type":"y"}]` {
		t.Errorf("up to the first: %s", got[0])
	}
}

func TestTask(t *testing.T) {
	expires := at.Add(time.Minute)
	task := run.HumanTask{
		ID: "t1", RunID: "r1", WorkflowName: text("seq"), WorkflowKind: "sequential", CurrentInput: "HELLO", VisitedSteps: []string{"u"},
		Messages: json.RawMessage(`[]`), RequestID: "q1", Request: json.RawMessage(`{"id":"q1","type":"approval"}`), Metadata: json.RawMessage(`{"step_id":"h"}`), ExpiresAt: &expires,
	}
	want := `{"id":"t1","run_id":"r1","workflow_name":"seq","workflow_kind":"sequential","current_step_index":null,"current_node_id":null,"current_input":"HELLO",` +
		`"visited_steps":["u"],"visited_nodes":[],"messages":[],"variables":{},"pending_human_request_id":"q1","pending_human_request":{"id":"q1","type":"approval"},` +
		`"expires_at":1795429631.162357,"trace_events":[],"metadata":{"step_id":"h"}}`
	if got := string(Task(&task, nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if TaskMessages(&task) != nil {
		t.Error("an empty thread is not null")
	}
	if got := string(EscalatedRequest(&task, 5)); got != `{"id":"q1","type":"approval","escalated_at":5,"original_expires_at":1795429631.162357}` {
		t.Errorf("escalated %s", got)
	}
}

func TestReplies(t *testing.T) {
	r := Reply{RunID: "r1", Status: run.Blocked, Output: text("wait"), ContinuationID: text("t1"), Metadata: json.RawMessage(`{"a":1}`)}
	if got := string(CreateResponse(r)); got != `{"run_id":"r1","status":"blocked","output_text":"wait","human_intervention_required":true,"continuation_id":"t1","metadata":{"a":1}}` {
		t.Error(got)
	}
	if got := string(ResumeResponse(r)); got != `{"run_id":"r1","status":"blocked","output_text":"wait","metadata":{"a":1}}` {
		t.Error(got)
	}
	p := problem.New(problem.GuardrailViolation, "no").With("violation_type", "GuardrailViolation")
	p.RunID = "r1"
	if got := string(Problem(p)); got != `{"detail":{"error":"guardrail_violation","message":"no","violation_type":"GuardrailViolation","run_id":"r1"}}` {
		t.Error(got)
	}
}

func BenchmarkRunItem(b *testing.B) {
	r := sample()
	b.ReportAllocs()
	for range b.N {
		RunItem(&r, json.RawMessage(`{"base":{}}`))
	}
}

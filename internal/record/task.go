package record

import (
	"encoding/json"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
)

// Task renders one item of GET /human-tasks, redacted. trace is the JSON array of the run's trace events so far, or nil.
func Task(t *run.HumanTask, trace json.RawMessage) json.RawMessage {
	o := open(make([]byte, 0, 512+len(t.Messages)+len(t.Request)+len(trace)))
	o.str("id", t.ID)
	o.str("run_id", t.RunID)
	o.opt("workflow_name", t.WorkflowName)
	o.str("workflow_kind", t.WorkflowKind)
	o.optInt("current_step_index", t.CurrentStepIndex)
	o.opt("current_node_id", t.CurrentNodeID)
	o.text("current_input", t.CurrentInput)
	o.list("visited_steps", t.VisitedSteps)
	o.list("visited_nodes", t.VisitedNodes)
	o.raw("messages", redact.JSON(t.Messages), "[]")
	o.raw("variables", nil, "{}")
	o.str("pending_human_request_id", t.RequestID)
	o.raw("pending_human_request", redact.JSON(t.Request), "null")
	o.key("expires_at")
	o.buf = run.AppendEpoch(o.buf, t.ExpiresAt)
	o.raw("trace_events", trace, "[]")
	o.raw("metadata", redact.JSON(t.Metadata), "{}")
	return o.close()
}

// TaskRequest renders the request of GET /human-tasks/{id}, redacted.
func TaskRequest(t *run.HumanTask) json.RawMessage { return redact.JSON(t.Request) }

// TaskMessages renders the thread of GET /human-tasks/{id}, redacted; nil when it is empty.
func TaskMessages(t *run.HumanTask) json.RawMessage {
	if m := string(trim(t.Messages)); m == "" || m == "[]" || m == "null" {
		return nil
	}
	return redact.JSON(t.Messages)
}

// EscalatedRequest returns the request of a task with escalated_at and original_expires_at added.
func EscalatedRequest(t *run.HumanTask, now float64) json.RawMessage {
	o := open(make([]byte, 0, len(t.Request)+96))
	o.members(t.Request)
	o.raw("escalated_at", appendFloat(now), "null")
	o.key("original_expires_at")
	o.buf = run.AppendEpoch(o.buf, t.ExpiresAt)
	return o.close()
}

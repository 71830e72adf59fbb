package record

import (
	"bytes"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
)

// RunItem renders one item of GET /runs: the run record without trace_events, with trace_event_count last. frozen is the snapshot's
// frozen_spec object; nil leaves it out.
func RunItem(r *run.Run, frozen json.RawMessage) json.RawMessage {
	o := open(make([]byte, 0, 2048+len(frozen)))
	head(o, r, redact.JSON(r.PendingRequest))
	o.int("trace_dropped", r.TraceDropped)
	o.raw("metadata", RunMetadata(r, frozen, nil), "{}")
	tail(o, r)
	o.int("trace_event_count", r.TraceCount)
	return o.close()
}

// Whole renders the run record with everything: the frozen spec and all trace events, both where they stand in a record and in its metadata.
func Whole(r *run.Run, frozen json.RawMessage, events []json.RawMessage) json.RawMessage {
	trace := append([]byte{'['}, bytes.Join(raws(events), []byte{','})...)
	trace = append(trace, ']')
	o := open(make([]byte, 0, 1024+len(r.Progress)+len(r.Messages)+len(frozen)+2*len(trace)))
	head(o, r, redact.JSON(r.PendingRequest))
	o.raw("trace_events", trace, "[]")
	o.int("trace_dropped", r.TraceDropped)
	o.raw("metadata", RunMetadata(r, frozen, trace), "{}")
	tail(o, r)
	return o.close()
}

func raws(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, m := range list {
		out[i] = m
	}
	return out
}

// State renders the run record as a checkpoint stores it: redacted, without trace_events, frozen spec and creation metadata, which Checkpoint
// splices in when it is read.
func State(r *run.Run) json.RawMessage { return StateAfter(r, nil, nil) }

// StateAfter is State for a checkpoint whose predecessor had these visited lists; long ones are stored as what has changed (run.AppendVisited).
func StateAfter(r *run.Run, steps, nodes []string) json.RawMessage {
	o := open(make([]byte, 0, 1024+len(r.Progress)+len(r.Messages)))
	headAfter(o, r, redact.JSON(r.PendingRequest), steps, nodes)
	o.int("trace_dropped", r.TraceDropped)
	o.raw("metadata", redact.JSON(r.Progress), "{}")
	tail(o, r)
	return o.close()
}

// head appends the members before trace_events.
func head(o *object, r *run.Run, pending []byte) { headAfter(o, r, pending, nil, nil) }

func headAfter(o *object, r *run.Run, pending []byte, steps, nodes []string) {
	o.str("id", r.ID)
	o.str("status", string(r.Status))
	o.opt("agent_name", r.AgentName)
	o.opt("workflow_name", r.WorkflowName)
	o.opt("workflow_kind", r.WorkflowKind)
	o.text("input_text", r.Input)
	o.optText("output_text", r.Output)
	o.optInt("current_step_index", r.CurrentStepIndex)
	o.opt("current_step_id", r.CurrentStepID)
	o.opt("current_node_id", r.CurrentNodeID)
	o.key("visited_steps")
	o.buf = run.AppendVisited(o.buf, r.VisitedSteps, steps)
	o.key("visited_nodes")
	o.buf = run.AppendVisited(o.buf, r.VisitedNodes, nodes)
	o.raw("messages", redact.JSON(r.Messages), "[]")
	o.raw("pending_human_request", pending, "null")
	o.opt("continuation_id", r.ContinuationID)
}

// tail appends the members after metadata.
func tail(o *object, r *run.Run) {
	o.raw("error", Error(r), "null")
	o.raw("parent_run_id", nil, "null")
	o.opt("session_id", r.SessionID)
	o.raw("tags", nil, "[]")
	o.key("created_at")
	o.buf = run.AppendTime(o.buf, r.CreatedAt)
	o.key("updated_at")
	o.buf = run.AppendTime(o.buf, r.UpdatedAt)
	o.key("started_at")
	started := r.CreatedAt
	if r.StartedAt != nil {
		started = *r.StartedAt
	}
	o.buf = run.AppendTime(o.buf, started)
	o.key("completed_at")
	if r.CompletedAt == nil {
		o.buf = append(o.buf, "null"...)
	} else {
		o.buf = run.AppendTime(o.buf, *r.CompletedAt)
	}
	o.key("deadline_at")
	o.buf = run.AppendEpoch(o.buf, r.DeadlineAt)
}

// Error renders the error object of a run, redacted, or nil.
func Error(r *run.Run) json.RawMessage {
	if r.Error == nil {
		return nil
	}
	return failure(r.Error)
}

func failure(f *run.Failure) json.RawMessage {
	o := open(nil)
	o.text("message", f.Message)
	o.str("type", f.Type)
	return o.close()
}

// Request renders the pending human request of a run, redacted, or nil.
func Request(r *run.Run) json.RawMessage {
	if len(r.PendingRequest) == 0 {
		return nil
	}
	return redact.JSON(r.PendingRequest)
}

// RunMetadata renders the metadata object of a run, redacted: the creation members with frozen_spec in its place, then what execution wrote.
// trace, when not nil, is the JSON array of the run's trace events and adds the trace member.
func RunMetadata(r *run.Run, frozen, trace json.RawMessage) json.RawMessage {
	o := open(make([]byte, 0, len(r.Creation)+len(frozen)+len(r.Progress)+len(trace)+64))
	creation(o, r.Creation, frozen)
	progress(o, redact.JSON(r.Progress), run.AppendStrings(nil, r.VisitedSteps), run.AppendStrings(nil, r.VisitedNodes))
	if trace != nil {
		o.key("trace")
		o.buf = traceObject(o.buf, r.ID, trace)
	}
	return o.close()
}

// progress appends the members written while running. execution_context repeats the visited lists of the record, which are not stored twice.
func progress(o *object, members, steps, nodes json.RawMessage) {
	context := field(members, "execution_context")
	if context == nil || field(context, "visited_steps") != nil {
		o.members(members)
		return
	}
	scan(members, func(m member) bool {
		if m.key != "execution_context" {
			o.raw(m.key, m.value, "null")
			return true
		}
		o.key(m.key)
		c := open(o.buf)
		scan(context, func(n member) bool {
			if n.key == "last_input_text" {
				c.raw("visited_steps", steps, "[]")
				c.raw("visited_nodes", nodes, "[]")
			}
			c.raw(n.key, n.value, "null")
			return true
		})
		o.buf = c.close()
		return true
	})
}

// CreationMetadata renders the metadata of a run that was only created: the answer to an asynchronous create.
func CreationMetadata(r *run.Run, frozen json.RawMessage) json.RawMessage {
	o := open(make([]byte, 0, len(r.Creation)+len(frozen)+32))
	creation(o, r.Creation, frozen)
	return o.close()
}

// creation appends the creation members with frozen_spec before caller_metadata.
func creation(o *object, members, frozen json.RawMessage) {
	masked := redact.JSON(members)
	if len(frozen) == 0 {
		o.members(masked)
		return
	}
	frozen = redact.JSON(frozen)
	at := -1
	scan(masked, func(m member) bool {
		if m.key == "caller_metadata" {
			at = m.start
			return false
		}
		return true
	})
	if at < 0 {
		o.members(masked)
		o.raw("frozen_spec", frozen, "{}")
		return
	}
	before := append(append([]byte{}, trimComma(masked[:at])...), '}')
	o.members(before)
	o.raw("frozen_spec", frozen, "{}")
	o.members(append([]byte{'{'}, masked[at:]...))
}

func trimComma(v []byte) []byte {
	v = trim(v)
	if len(v) > 0 && v[len(v)-1] == ',' {
		v = v[:len(v)-1]
	}
	return v
}

func traceObject(dst []byte, runID string, events json.RawMessage) []byte {
	o := open(dst)
	o.str("run_id", runID)
	o.raw("events", events, "[]")
	return o.close()
}

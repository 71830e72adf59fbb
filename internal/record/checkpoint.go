package record

import (
	"encoding/json"
	"strings"

	"github.com/kneo-go/kneo/internal/run"
)

// Checkpoint renders one item of GET /runs/{id}/checkpoints. r is the run that owns it and frozen its frozen_spec: creation metadata is
// spliced into the stored state. trace is the JSON array of all trace events up to and including this checkpoint (see TraceUpTo).
func Checkpoint(r *run.Run, frozen json.RawMessage, c *run.Checkpoint, trace json.RawMessage) json.RawMessage {
	o := open(make([]byte, 0, len(c.State)+len(frozen)+len(trace)+len(c.Metadata)+512))
	o.str("id", c.ID)
	o.str("run_id", c.RunID)
	o.str("type", c.Type)
	o.opt("workflow_name", c.WorkflowName)
	o.opt("step_id", c.StepID)
	o.opt("node_id", c.NodeID)
	o.int("sequence", c.Sequence)
	o.int("iteration", c.Iteration)
	o.raw("state", FullState(r, frozen, c, trace), "{}")
	o.raw("trace_events", c.TraceEvents, "[]")
	o.raw("metadata", c.Metadata, "{}")
	o.key("created_at")
	o.buf = run.AppendTime(o.buf, c.CreatedAt)
	return o.close()
}

// FullState renders the state of a checkpoint with the parts that are not stored with it. A size-limited state is returned as it is.
func FullState(r *run.Run, frozen json.RawMessage, c *run.Checkpoint, trace json.RawMessage) json.RawMessage {
	if len(c.State) == 0 || field(c.State, "_limited") != nil {
		return c.State
	}
	out := open(make([]byte, 0, len(c.State)+len(frozen)+len(trace)+len(r.Creation)+64))
	scan(c.State, func(m member) bool {
		switch m.key {
		case "trace_events":
			return true
		case "trace_dropped":
			out.raw("trace_events", trace, "[]")
		case "metadata":
			out.key("metadata")
			meta := open(out.buf)
			creation(meta, r.Creation, frozen)
			progress(meta, m.value, field(c.State, "visited_steps"), field(c.State, "visited_nodes"))
			out.buf = meta.close()
			return true
		}
		out.raw(m.key, m.value, "null")
		return true
	})
	return out.close()
}

// TraceUpTo returns, for every checkpoint in sequence order, the JSON array of all trace events up to it.
func TraceUpTo(list []run.Checkpoint) []json.RawMessage {
	out := make([]json.RawMessage, len(list))
	all := []byte{'['}
	for i := range list {
		elements(list[i].TraceEvents, func(e []byte) {
			if len(all) > 1 {
				all = append(all, ',')
			}
			all = append(all, e...)
		})
		out[i] = append(append(make(json.RawMessage, 0, len(all)+1), all...), ']')
	}
	return out
}

// Trace returns all trace events of a run in order, each event once, filtered by type when kind is not empty: those of its checkpoints, then
// those that only the row has (a leg that ended without a closing checkpoint).
func Trace(r *run.Run, list []run.Checkpoint, kind string) []json.RawMessage {
	var out []json.RawMessage
	seen := map[string]bool{}
	add := func(e []byte) {
		id := string(field(e, "event_id"))
		if id != "" && seen[id] {
			return
		}
		seen[id] = true
		if kind == "" || textOf(field(e, "type")) == kind {
			out = append(out, e)
		}
	}
	for i := range list {
		elements(list[i].TraceEvents, add)
	}
	elements(field(field(r.Progress, "trace"), "events"), add)
	return out
}

func textOf(v []byte) string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	return unquote(v)
}

// Reference renders the short form of a checkpoint in a diff.
type Reference struct {
	ID           string
	Sequence     int64
	Type         string
	CreatedAt    string
	WorkflowName *string
	StepID       *string
	NodeID       *string
}

// ReferenceOf returns the short form of a checkpoint.
func ReferenceOf(c *run.Checkpoint) Reference {
	return Reference{c.ID, c.Sequence, c.Type, run.FormatTime(c.CreatedAt), c.WorkflowName, c.StepID, c.NodeID}
}

// TimelineItem is one entry of GET /runs/{id}/replay.
type TimelineItem struct {
	Reference
	Status                *string
	CurrentStepIndex      *int64
	CurrentStepID         *string
	CurrentNodeID         *string
	ContinuationID        *string
	PendingHumanRequestID *string
	Error                 json.RawMessage
}

// stateView is what recovery and timeline read from a stored state.
type stateView struct {
	Status              *string         `json:"status"`
	WorkflowName        *string         `json:"workflow_name"`
	WorkflowKind        *string         `json:"workflow_kind"`
	CurrentStepIndex    *int64          `json:"current_step_index"`
	CurrentStepID       *string         `json:"current_step_id"`
	CurrentNodeID       *string         `json:"current_node_id"`
	VisitedSteps        []string        `json:"visited_steps"`
	VisitedNodes        []string        `json:"visited_nodes"`
	ContinuationID      *string         `json:"continuation_id"`
	PendingHumanRequest json.RawMessage `json:"pending_human_request"`
	Error               json.RawMessage `json:"error"`
	Limited             bool            `json:"_limited"`
}

func viewOf(c *run.Checkpoint) stateView {
	var v stateView
	if err := json.Unmarshal(c.State, &v); err != nil {
		return stateView{Limited: true}
	}
	if isNull(v.Error) {
		v.Error = nil
	}
	if isNull(v.PendingHumanRequest) {
		v.PendingHumanRequest = nil
	}
	return v
}

// Timeline lists the checkpoints of a run with what their states say.
func Timeline(list []run.Checkpoint) []TimelineItem {
	out := make([]TimelineItem, 0, len(list))
	for i := range list {
		v := viewOf(&list[i])
		item := TimelineItem{
			Reference: ReferenceOf(&list[i]), Status: v.Status, CurrentStepIndex: v.CurrentStepIndex, CurrentStepID: v.CurrentStepID,
			CurrentNodeID: v.CurrentNodeID, ContinuationID: v.ContinuationID, Error: v.Error,
		}
		if id := textOf(field(v.PendingHumanRequest, "id")); id != "" {
			item.PendingHumanRequestID = &id
		}
		out = append(out, item)
	}
	return out
}

// Recovery is the answer of GET /runs/{id}/recovery without the replay context.
type Recovery struct {
	Status           string
	WorkflowName     *string
	WorkflowKind     *string
	CurrentStepIndex *int64
	CurrentNodeID    *string
	VisitedSteps     []string
	VisitedNodes     []string
	CheckpointCount  int64
	PendingRequest   json.RawMessage
	ContinuationID   *string
	Error            json.RawMessage
}

// RecoveryOf reads the newest checkpoint's state, or the run when there is none, it was size-limited, or the run has ended since.
func RecoveryOf(r *run.Run, list []run.Checkpoint) Recovery {
	out := Recovery{
		Status: string(r.Status), WorkflowName: r.WorkflowName, WorkflowKind: r.WorkflowKind, CurrentStepIndex: r.CurrentStepIndex,
		CurrentNodeID: r.CurrentNodeID, VisitedSteps: r.VisitedSteps, VisitedNodes: r.VisitedNodes, CheckpointCount: int64(len(list)),
		PendingRequest: Request(r), ContinuationID: r.ContinuationID, Error: Error(r),
	}
	if len(list) == 0 {
		return out
	}
	v := viewOf(&list[len(list)-1])
	if v.Limited || v.Status == nil || r.Status.Terminal() && !run.Status(*v.Status).Terminal() { // an end at a cap has no row of its own
		return out
	}
	out.Status, out.WorkflowName, out.WorkflowKind = *v.Status, v.WorkflowName, v.WorkflowKind
	out.CurrentStepIndex, out.CurrentNodeID = v.CurrentStepIndex, v.CurrentNodeID
	out.VisitedSteps, out.VisitedNodes = v.VisitedSteps, v.VisitedNodes
	out.PendingRequest, out.ContinuationID, out.Error = v.PendingHumanRequest, v.ContinuationID, v.Error
	return out
}

// ReplayContext says what a run has done and whether it can go on (execution.md §6.5, decision W14).
type ReplayContext struct {
	RunID           string
	Status          string
	WorkflowType    *string
	CompletedSteps  []string
	CompletedNodes  []string
	FailedStep      *string
	FailedNode      *string
	NextStepIndex   int64
	ResumeInput     string
	CheckpointCount int64
	CanContinue     bool
	CanReplay       bool
}

// ReplayContextOf derives the replay context from the run and its checkpoints.
func ReplayContextOf(r *run.Run, list []run.Checkpoint) ReplayContext {
	c := ReplayContext{
		RunID: r.ID, Status: string(r.Status), CompletedSteps: []string{}, CompletedNodes: []string{}, ResumeInput: r.Input,
		CheckpointCount: int64(len(list)), CanContinue: CanContinue(r),
	}
	seen := map[string]bool{}
	for i := range list {
		c.add(&list[i], seen)
	}
	if c.WorkflowType == nil {
		switch {
		case len(c.CompletedNodes) > 0:
			c.WorkflowType = ptr("graph")
		case len(c.CompletedSteps) > 0:
			c.WorkflowType = ptr("sequential")
		}
	}
	c.NextStepIndex = int64(len(c.CompletedSteps))
	spec := field(r.Creation, "spec")
	c.CanReplay = !isNull(spec) && string(trim(spec)) != "{}" || textOf(field(r.Creation, "spec_path")) != ""
	return c
}

func (c *ReplayContext) add(row *run.Checkpoint, seen map[string]bool) {
	if c.WorkflowType == nil {
		if t := textOf(field(row.Metadata, "workflow_type")); t != "" {
			c.WorkflowType = &t
		}
	}
	switch row.Type {
	case run.CheckpointStepCompleted, run.CheckpointNodeCompleted:
		list, id, prefix := &c.CompletedSteps, row.StepID, "s:"
		if row.Type == run.CheckpointNodeCompleted {
			list, id, prefix = &c.CompletedNodes, row.NodeID, "n:"
		}
		if id != nil && !seen[prefix+*id] {
			seen[prefix+*id] = true
			*list = append(*list, *id)
		}
		if out := field(row.Metadata, "output_text"); !isNull(out) {
			c.ResumeInput = textOf(out)
		}
	case run.CheckpointStepFailed:
		if row.NodeID != nil {
			c.FailedNode = row.NodeID
		} else {
			c.FailedStep = row.StepID
		}
		if in := field(row.Metadata, "input_text"); !isNull(in) {
			c.ResumeInput = textOf(in)
		}
	}
}

// CanContinue reports whether POST /runs/{id}/continue may start a leg: the run has failed for a reason that another try can change.
func CanContinue(r *run.Run) bool {
	if r.Status != run.Failed || len(r.PendingRequest) > 0 || r.ContinuationID != nil {
		return false
	}
	if r.Error == nil {
		return true
	}
	switch r.Error.Type {
	case run.FailMaxIterations, run.FailHumanRejected, run.FailSpecInvalid, run.FailQueueFull:
		return false
	}
	return true
}

// JSON renders the context as the metadata of a replay_context checkpoint.
func (c ReplayContext) JSON() json.RawMessage {
	o := open(nil)
	o.str("run_id", c.RunID)
	o.str("status", c.Status)
	o.opt("workflow_type", c.WorkflowType)
	o.list("completed_steps", c.CompletedSteps)
	o.list("completed_nodes", c.CompletedNodes)
	o.opt("failed_step", c.FailedStep)
	o.opt("failed_node", c.FailedNode)
	o.int("next_step_index", c.NextStepIndex)
	o.text("resume_input", c.ResumeInput)
	o.int("checkpoint_count", c.CheckpointCount)
	o.bool("can_continue", c.CanContinue)
	o.bool("can_replay", c.CanReplay)
	return o.close()
}

func ptr(s string) *string {
	s = strings.Clone(s)
	return &s
}

package runner

import (
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// buffer is what waits for the next commit.
type buffer struct {
	entries     []run.Entry
	checkpoints []run.Checkpoint
	events      []run.Event
	// trace is the list of trace events since the last checkpoint, as JSON members without brackets; all is that of the whole leg.
	trace, all []byte
	// due tells that a step has ended and must be stored before the next one starts.
	due bool
	// context is the execution_context of the last step event.
	context json.RawMessage
	// steps and nodes are the visited lists of the last checkpoint of this leg.
	steps, nodes []string

	mu    sync.Mutex
	start *store.Progress
}

func (b *buffer) takeStart() *store.Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.start
	b.start = nil
	return s
}

// takeTrace returns the trace events since the last checkpoint as a JSON array.
func (b *buffer) takeTrace() json.RawMessage {
	if len(b.trace) == 0 {
		return json.RawMessage(`[]`)
	}
	out := make([]byte, 0, len(b.trace)+2)
	out = append(append(append(out, '['), b.trace...), ']')
	b.trace = b.trace[:0]
	return out
}

// take turns engine events into trace events, checkpoints, live events and changes of the row.
func (l *leg) take(events []engine.Event) {
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case engine.StepCompleted, engine.StepFailed:
			l.stepEvent(e)
		case engine.StepEntered:
			l.position(e)
		case engine.StepRetrying:
			l.live("retrying", object("step_id", e.Step, "error", redacted(e.Failure.Message)))
		case engine.HumanResumed:
			l.humanResumed(e)
		default:
			l.trace(e)
		}
	}
}

func redacted(s string) string { return redact.Text(s) }

func (l *leg) live(kind string, data json.RawMessage) {
	l.out.events = append(l.out.events, run.Event{Kind: kind, Data: data, CreatedAt: l.now()})
}

// object builds a small JSON object of strings; empty values are left out.
func object(pairs ...string) json.RawMessage {
	out := []byte{'{'}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = run.AppendString(out, pairs[i])
		out = run.AppendString(append(out, ':'), pairs[i+1])
	}
	return append(out, '}')
}

// checkpoint appends a row; the state is the row as it stands.
func (l *leg) checkpoint(kind string, step, node *string, iteration int64, at time.Time, metadata json.RawMessage) {
	l.out.checkpoints = append(l.out.checkpoints, run.Checkpoint{
		ID: id.New(), RunID: l.row.ID, Type: kind, WorkflowName: l.row.WorkflowName, StepID: step, NodeID: node, Iteration: iteration,
		State: record.StateAfter(&l.row, l.out.steps, l.out.nodes), TraceEvents: l.out.takeTrace(), Metadata: metadata, CreatedAt: at,
	})
	l.out.steps, l.out.nodes = l.row.VisitedSteps, l.row.VisitedNodes
}

func (l *leg) stepEvent(e *engine.Event) {
	at := l.now()
	r := &l.row
	r.UpdatedAt = at
	step, node := &e.Step, (*string)(nil)
	kind := run.CheckpointStepCompleted
	if e.Node {
		step, node, kind = nil, &e.Step, run.CheckpointNodeCompleted
	}
	if e.Kind == engine.StepFailed {
		kind = run.CheckpointStepFailed
	}
	l.position(e)
	switch {
	case e.Kind == engine.StepFailed:
	case e.Node:
		r.VisitedNodes = visited(r.VisitedNodes, e.Step)
	default:
		r.VisitedSteps = visited(r.VisitedSteps, e.Step)
	}
	if e.Index >= 0 {
		index := int64(e.Index)
		r.CurrentStepIndex = &index
	}
	if e.Failure != nil {
		r.Error = &run.Failure{Message: e.Failure.Message, Type: e.Failure.Type}
	} else {
		output := e.Output
		r.Output = &output
	}
	l.out.context = l.executionContext(e, kind)
	r.Progress = l.counters(nil)
	l.checkpoint(kind, step, node, e.Iteration, at, stepMetadata(e))
	l.live("step", liveStep(e, kind))
	if e.Kind == engine.StepFailed || !l.resumed || !l.isHuman(e.Step) {
		l.out.due = true
	}
}

// visited adds a completed step to the list of a run in progress, which has every id once, those of nested workflows too. The list of the workflow
// itself, in which a repeated step is repeated, replaces it when the run completes or pauses (execution.md 4).
func visited(list []string, step string) []string {
	if slices.Contains(list, step) {
		return list
	}
	return append(slices.Clip(list), step)
}

// position moves the run to a step or a node. Each has its own field, so that inside a nested workflow both tell where the run is.
func (l *leg) position(e *engine.Event) {
	if e.Node {
		l.row.CurrentNodeID = &e.Step
	} else {
		l.row.CurrentStepID = &e.Step
	}
}

// isHuman tells whether a step of the root workflow is a person's: its completion alone forces no commit, so that a refused answer leaves
// no trace (decision X19).
func (l *leg) isHuman(step string) bool {
	if l.plan.Workflow == nil {
		return false
	}
	return slices.ContainsFunc(l.plan.Workflow.Steps, func(s plan.Step) bool { return s.ID == step && s.Kind == plan.StepHuman })
}

func liveStep(e *engine.Event, kind string) json.RawMessage {
	out := []byte(`{"type":`)
	out = run.AppendString(out, kind)
	if e.Node {
		out = append(out, `,"step_id":null,"node_id":`...)
	} else {
		out = append(out, `,"node_id":null,"step_id":`...)
	}
	out = run.AppendString(out, e.Step)
	out = append(out, `,"iteration":`...)
	out = strconv.AppendInt(out, e.Iteration, 10)
	return append(out, '}')
}

func stepMetadata(e *engine.Event) json.RawMessage {
	kind := "sequential"
	if e.Node {
		kind = "graph"
	}
	out := append([]byte(`{"workflow_type":"`), kind...)
	out = append(out, `","input_text":`...)
	out = run.AppendString(out, redact.Text(e.Input))
	out = append(out, `,"output_text":`...)
	if e.Failure == nil {
		out = run.AppendString(out, redact.Text(e.Output))
		out = append(out, `,"error":null`...)
	} else {
		out = append(out, `null,"error":`...)
		out = run.AppendString(out, redact.Text(e.Failure.Message))
	}
	out = append(out, `,"iteration":`...)
	out = strconv.AppendInt(out, e.Iteration, 10)
	return append(out, '}')
}

// executionContext renders the execution_context object without its visited lists, which record adds from the row when it is read.
func (l *leg) executionContext(e *engine.Event, kind string) json.RawMessage {
	r := &l.row
	out := make([]byte, 0, 256)
	out = append(out, `{"last_event_type":"`...)
	out = append(out, kind...)
	out = append(out, `","current_step_id":`...)
	out = run.AppendOptional(out, r.CurrentStepID)
	out = append(out, `,"current_node_id":`...)
	out = run.AppendOptional(out, r.CurrentNodeID)
	out = append(out, `,"last_input_text":`...)
	out = run.AppendString(out, e.Input)
	out = append(out, `,"last_output_text":`...)
	if e.Failure == nil {
		out = run.AppendString(out, e.Output)
	} else {
		out = append(out, "null"...)
	}
	out = append(out, `,"current_iteration":`...)
	out = strconv.AppendInt(out, e.Iteration, 10)
	return append(out, '}')
}

// counters renders the progress object of the row: counters, execution context and the given result members.
func (l *leg) counters(result json.RawMessage) json.RawMessage {
	out := make([]byte, 0, 256+len(result))
	out = append(out, '{')
	context := l.out.context
	if context == nil {
		context = record.Field(l.c.Run.Progress, "execution_context")
	}
	if len(l.state.Counts) > 0 {
		out = append(out, `"step_iteration_counts":{`...)
		keys := make([]string, 0, len(l.state.Counts))
		for k := range l.state.Counts {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for i, k := range keys {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(run.AppendString(out, k), ':')
			out = strconv.AppendInt(out, l.state.Counts[k], 10)
		}
		out = append(out, '}')
	}
	if context != nil {
		out = comma(out)
		out = append(out, `"execution_context":`...)
		out = append(out, context...)
	}
	if len(result) > 2 {
		out = comma(out)
		out = append(out, result[1:len(result)-1]...)
	}
	return append(out, '}')
}

func comma(out []byte) []byte {
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return out
}

func (l *leg) humanResumed(e *engine.Event) {
	l.row.PendingRequest, l.row.ContinuationID = nil, nil
	task := e.TaskID
	if task == "" {
		task = l.c.ResumedFrom
	}
	l.row.Progress = l.counters(nil)
	l.checkpoint(run.CheckpointHumanResume, nil, nil, 1, l.now(), object("continuation_id", task))
}

// trace appends one trace event, up to the limit.
func (l *leg) trace(e *engine.Event) {
	t := record.TraceEvent{
		Type: string(e.Kind), RunID: l.row.ID, ID: l.eventID(e.Key), At: l.now(), AgentName: e.Agent, WorkflowName: e.Workflow,
		Metadata: traceMetadata(e),
	}
	if e.Parent != "" {
		t.Parent = l.eventID(e.Parent)
	}
	switch e.Kind {
	case engine.WorkflowStarted, engine.WorkflowResumed, engine.AgentStarted:
		t.Input = &e.Input
	case engine.WorkflowCompleted, engine.AgentCompleted:
		t.Output = &e.Output
	case engine.WorkflowFailed:
		if e.Failure != nil {
			text := "SDK graph workflow failed"
			t.Error = &text
		} else {
			t.Output = &e.Output
		}
	case engine.AgentFailed:
		t.Error = &e.Failure.Message
	}
	l.addTrace(&t)
}

// eventID is the id of the trace event with this key: equal when the event is told again after a crash.
func (l *leg) eventID(key string) string { return id.Derived(l.row.ID, "trace", key) }

func (l *leg) addTrace(t *record.TraceEvent) {
	if l.TraceLimit > 0 && l.row.TraceCount >= l.traceLimit() {
		l.row.TraceDropped++
		return
	}
	l.row.TraceCount++
	if len(l.out.trace) > 0 {
		l.out.trace = append(l.out.trace, ',')
	}
	from := len(l.out.trace)
	l.out.trace = record.AppendTrace(l.out.trace, t)
	if l.c.Mode == run.ModeInline {
		if len(l.out.all) > 0 {
			l.out.all = append(l.out.all, ',')
		}
		l.out.all = append(l.out.all, l.out.trace[from:]...)
	}
}

// traceLimit leaves room for a later leg when earlier ones have filled the buffer.
func (l *leg) traceLimit() int64 {
	return max(l.TraceLimit, l.c.Run.TraceCount+max(1, l.TraceLimit/4)*b2i(l.c.Run.TraceCount > 0))
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func traceMetadata(e *engine.Event) json.RawMessage {
	var out []byte
	switch e.Kind {
	case engine.AgentStarted, engine.AgentCompleted:
		out = strconv.AppendInt([]byte(`{"message_count":`), int64(e.MessageCount), 10)
		return append(out, '}')
	case engine.WorkflowStarted, engine.WorkflowResumed:
		return startMetadata(e)
	case engine.WorkflowCompleted, engine.WorkflowFailed:
		return endMetadata(e)
	}
	return nil
}

func startMetadata(e *engine.Event) json.RawMessage {
	switch e.WorkflowKind {
	case plan.Sequential:
		out := strconv.AppendInt([]byte(`{"start_index":`), int64(e.StartIndex), 10)
		out = append(out, `,"step_count":`...)
		return append(strconv.AppendInt(out, int64(e.StepCount), 10), '}')
	case plan.Graph:
		out := []byte(`{"workflow_type":"graph"`)
		if e.StartNode != "" {
			out = run.AppendString(append(out, `,"start":`...), e.StartNode)
		}
		out = append(out, `,"max_steps":`...)
		return append(strconv.AppendInt(out, e.MaxSteps, 10), '}')
	}
	out := run.AppendString([]byte(`{"workflow_type":`), string(e.WorkflowKind))
	out = append(out, `,"participant_count":`...)
	return append(strconv.AppendInt(out, int64(e.StepCount), 10), '}')
}

func endMetadata(e *engine.Event) json.RawMessage {
	if e.Kind == engine.WorkflowFailed && e.Failure != nil {
		return nil
	}
	switch e.WorkflowKind {
	case plan.Sequential:
		return append(run.AppendStrings([]byte(`{"visited_steps":`), e.Visited), '}')
	case plan.Graph:
		out := run.AppendStrings([]byte(`{"visited_nodes":`), e.Visited)
		out = run.AppendString(append(out, `,"termination":`...), e.Termination)
		return append(out, '}')
	}
	out := run.AppendStrings([]byte(`{"visited_steps":`), e.Visited)
	out = run.AppendString(append(out, `,"workflow_type":`...), string(e.WorkflowKind))
	return append(out, '}')
}

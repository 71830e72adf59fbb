package runner

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// pauseOutput is the output text of a paused run.
const pauseOutput = "Human intervention required."

// opening is a gate with the task that it gets.
type opening struct {
	action *engine.Action
	task   run.HumanTask
}

// block pauses the run: every gate that has no task yet gets one.
func (l *leg) block(ctx context.Context) Outcome {
	actions := engine.Next(l.plan, l.state)
	gates := map[string]string{}
	var opened []opening
	for i := range actions {
		if a := &actions[i]; a.Gate.TaskID == "" {
			o := opening{a, l.task(a)}
			opened = append(opened, o)
			gates[a.Key] = o.task.ID
		}
	}
	at := l.now()
	r := &l.row
	r.Status, r.UpdatedAt, r.Usage = run.Blocked, at, l.state.Usage
	text := pauseOutput
	r.Output = &text
	l.visited()
	result := l.pauseState(&actions[0], opened)
	end := store.EndLeg{}
	for i := range opened {
		l.pauseTrace(&opened[i].task, opened[i].action)
	}
	r.Progress = l.counters(result)
	for i := range opened {
		t := &opened[i].task
		end.Tasks = append(end.Tasks, *t)
		m := &members{}
		m.str("continuation_id", t.ID)
		m.raw("request", record.TaskRequest(t))
		l.checkpoint(run.CheckpointHumanPause, &opened[i].action.Step, nil, 1, at, m.bytes())
		l.live("blocked", object("continuation_id", t.ID, "step_id", opened[i].action.Step))
	}
	out := Outcome{Status: run.Blocked}
	end.Entries = []run.Entry{engine.PauseEntry(l.unique(), gates)}
	if l.c.Mode == run.ModeInline {
		l.reply(ctx, &out, result)
		end.Response, end.StatusCode = out.Body, out.Code
	}
	return l.end(ctx, out, end, l.Store.BlockRun)
}

// pauseState sets where the run stands and returns the metadata of the pause (execution.md §5.3).
func (l *leg) pauseState(first *engine.Action, opened []opening) json.RawMessage {
	r := &l.row
	taskID, request := first.Gate.TaskID, r.PendingRequest
	if len(opened) > 0 {
		first, taskID, request = opened[0].action, opened[0].task.ID, opened[0].task.Request
	}
	r.Messages = json.RawMessage("[]")
	if k := first.Gate.Kind; k != plan.Graph && k != plan.Concurrent {
		r.Messages = thread(first.Gate)
	}
	r.ContinuationID, r.PendingRequest = &taskID, request
	step := first.Step
	m := &members{}
	m.raw("human_intervention_required", []byte("true"))
	m.str("continuation_id", taskID)
	m.raw("request", request)
	graph := first.Gate.Kind == plan.Graph
	if graph {
		m.str("pending_node_id", step)
		r.CurrentNodeID = &step
	} else if first.Gate.Kind != plan.Sequential {
		r.CurrentStepID = &step
	}
	m.str("pending_step_id", step)
	w := &members{}
	w.str("name", first.Gate.Workflow)
	if first.Gate.Kind != plan.Sequential {
		w.str("type", string(first.Gate.Kind))
	}
	if graph {
		w.raw("visited_nodes", run.AppendStrings(nil, first.Gate.Visited))
		w.str("pending_node_id", step)
	} else {
		w.raw("visited_steps", run.AppendStrings(nil, first.Gate.Visited))
	}
	w.str("pending_step_id", step)
	switch first.Gate.Kind {
	case plan.GroupChat:
		if l.plan.Workflow != nil {
			w.raw("rounds", []byte(itoa(max(l.plan.Workflow.Rounds, 1))))
		}
	case plan.Concurrent, plan.Handoff:
		w.raw("rounds", nil)
	}
	m.raw("workflow", w.bytes())
	if l.c.ResumedFrom != "" {
		m.str("resumed_from_continuation_id", l.c.ResumedFrom)
	}
	return m.bytes()
}

func (l *leg) pauseTrace(t *run.HumanTask, a *engine.Action) {
	m := &members{}
	m.str("continuation_id", t.ID)
	m.raw("request", t.Request)
	e := record.TraceEvent{
		Type: "human_intervention_requested", RunID: l.row.ID, ID: l.eventID("pause:" + a.Key), At: l.now(), Parent: l.eventID(a.Gate.Start),
		WorkflowName: a.Gate.Workflow, StepID: a.Step, Input: &t.CurrentInput, Metadata: m.bytes(),
	}
	l.addTrace(&e)
}

// taskKind is the workflow_kind of a task: the shape with an underscore.
func taskKind(k plan.Kind) string {
	if k == plan.GroupChat {
		return "group_chat"
	}
	return string(k)
}

// task builds the human task of a gate (execution.md §5.1, §5.4).
func (l *leg) task(a *engine.Action) run.HumanTask {
	g := a.Gate
	now := l.now()
	t := run.HumanTask{
		ID: id.New(), RunID: l.row.ID, State: run.TaskPending, WorkflowName: &g.Workflow, WorkflowKind: taskKind(g.Kind), CurrentInput: a.Input,
		Messages: thread(g), StepKey: a.Key, RequestID: id.New(), OnTimeout: "fail", CreatedAt: now,
	}
	meta := &members{}
	switch g.Kind {
	case plan.Sequential:
		index := int64(g.Index)
		t.CurrentStepIndex, t.VisitedSteps = &index, g.Visited
		meta.str("step_id", a.Step)
	case plan.Graph:
		t.CurrentNodeID, t.VisitedNodes = &a.Step, g.Visited
		meta.str("node_id", a.Step)
	default:
		t.CurrentNodeID, t.VisitedNodes = &a.Step, g.Visited
		meta.str("participant_id", a.Step)
		meta.raw("orchestration_state", orchestration(a))
	}
	if g.Ask != nil {
		t.Request = askRequest(&t, a)
		meta.str("call", g.Ask.CallKey)
	} else {
		l.humanRequest(&t, a, now)
	}
	t.Metadata = meta.bytes()
	return t
}

// thread is the conversation that a gate interrupts. That of a graph is the input of its node, as it was built.
func thread(g *engine.Gate) json.RawMessage {
	if g.Kind == plan.Graph {
		return run.AppendMessages(nil, g.Thread)
	}
	return run.AppendThread(nil, g.Thread)
}

func orchestration(a *engine.Action) json.RawMessage {
	g := a.Gate
	m := &members{}
	m.str("shape", taskKind(g.Kind))
	if g.Kind != plan.Concurrent {
		m.raw("remaining", run.AppendStrings(nil, g.Remaining))
		return m.bytes()
	}
	m.raw("participant_order", run.AppendStrings(nil, g.Order))
	m.str("paused_participant", a.Step)
	d := &members{}
	for _, id := range g.Order {
		if msgs, ok := g.Deltas[id]; ok {
			d.raw(id, run.AppendThread(nil, msgs))
		}
	}
	m.raw("sibling_deltas", d.bytes())
	return m.bytes()
}

func (l *leg) humanRequest(t *run.HumanTask, a *engine.Action, now time.Time) {
	h := a.Gate.Human
	m := &members{}
	m.str("id", t.RequestID)
	m.str("type", h.RequestType)
	m.str("title", h.Title)
	m.str("prompt", h.Prompt)
	m.raw("context", requestContext(a.Input, h.Context))
	if h.HasOptions || len(h.Options) > 0 {
		m.raw("options", run.AppendStrings(nil, h.Options))
	} else {
		m.raw("options", nil)
	}
	m.raw("default_option", run.AppendOptional(nil, h.DefaultOption))
	m.str("requested_by", a.Step)
	m.raw("assignee", run.AppendOptional(nil, h.Assignee))
	if h.TimeoutSeconds != nil {
		m.raw("timeout_seconds", []byte(itoa(*h.TimeoutSeconds)))
		if *h.TimeoutSeconds > 0 {
			t.TimeoutSeconds = *h.TimeoutSeconds
			until := now.Add(time.Duration(*h.TimeoutSeconds) * time.Second)
			t.ExpiresAt = &until
		}
	} else {
		m.raw("timeout_seconds", nil)
	}
	onTimeout := h.OnTimeout
	if onTimeout == "" {
		onTimeout = "fail"
	}
	m.str("on_timeout", onTimeout)
	m.raw("metadata", []byte(`{}`))
	t.Request, t.Assignee, t.OnTimeout = m.bytes(), h.Assignee, onTimeout
}

// requestContext is the reviewed text overlaid with the component's context.
func requestContext(input string, extra json.RawMessage) json.RawMessage {
	m := &members{}
	if record.Field(extra, "input_text") == nil {
		m.str("input_text", input)
	}
	if len(extra) > 2 && extra[0] == '{' {
		if len(m.buf) == 0 {
			return extra
		}
		m.buf = append(append(m.buf, ','), extra[1:len(extra)-1]...)
	}
	return m.bytes()
}

// askRequest asks whether a cut-off call happened (decision X18).
func askRequest(t *run.HumanTask, a *engine.Action) json.RawMessage {
	ask := a.Gate.Ask
	c := &members{}
	c.str("input_text", a.Input)
	c.str("tool", ask.Name)
	c.raw("arguments", ask.Arguments)
	m := &members{}
	m.str("id", t.RequestID)
	m.str("type", "selection")
	m.str("title", "Did the call of '"+ask.Name+"' happen?")
	m.str("prompt", "The process stopped while tool '"+ask.Name+"' was being called, and the tool must not be called twice. Choose '"+
		engine.AskHappened+"' with the tool's result as content if the call took effect, '"+engine.AskRepeat+"' to call it again, or '"+
		engine.AskStop+"' to fail the run.")
	m.raw("context", c.bytes())
	m.raw("options", run.AppendStrings(nil, []string{engine.AskHappened, engine.AskRepeat, engine.AskStop}))
	m.raw("default_option", nil)
	m.str("requested_by", a.Step)
	m.raw("assignee", nil)
	m.raw("timeout_seconds", nil)
	m.str("on_timeout", "fail")
	m.raw("metadata", []byte(`{}`))
	return m.bytes()
}

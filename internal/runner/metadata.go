package runner

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
)

func itoa(i int64) string { return strconv.FormatInt(i, 10) }

// members appends the members of one JSON object.
type members struct{ buf []byte }

func (m *members) raw(key string, value []byte) {
	if len(m.buf) == 0 {
		m.buf = append(m.buf, '{')
	} else {
		m.buf = append(m.buf, ',')
	}
	m.buf = append(run.AppendString(m.buf, key), ':')
	if len(value) == 0 {
		value = []byte("null")
	}
	m.buf = append(m.buf, value...)
}

func (m *members) str(key, value string) { m.raw(key, run.AppendString(nil, value)) }

func (m *members) bytes() json.RawMessage {
	if len(m.buf) == 0 {
		return json.RawMessage(`{}`)
	}
	return append(m.buf, '}')
}

// resultMetadata renders the metadata of the leg's result (execution.md §10), without trace.
func (l *leg) resultMetadata(at time.Time) json.RawMessage {
	m := &members{}
	root := l.state.Root
	switch {
	case root == nil:
	case root.Kind == engine.KindAgent:
		l.agentMetadata(m, at)
	default:
		m.raw("workflow", l.workflowObject(root))
		l.workflowMembers(m, root)
		m.str("sdk", "kneo_agent")
		m.raw("iterations", strconv.AppendInt(nil, root.LegTurns, 10))
		m.raw("duration_ms", l.duration(at))
		m.raw("variables", []byte(`{}`))
		if l.state.Status == run.MaxIterations {
			m.raw("stopped_by_max_iterations", []byte("true"))
		}
	}
	if u := l.state.Usage; u != nil {
		m.raw("usage", usage(u))
	}
	if l.c.ResumedFrom != "" {
		m.str("resumed_from_continuation_id", l.c.ResumedFrom)
	}
	return m.bytes()
}

func usage(u *run.Usage) []byte {
	out := strconv.AppendInt([]byte(`{"input_tokens":`), u.InputTokens, 10)
	out = strconv.AppendInt(append(out, `,"output_tokens":`...), u.OutputTokens, 10)
	out = strconv.AppendInt(append(out, `,"total_tokens":`...), u.TotalTokens, 10)
	return append(out, '}')
}

func (l *leg) duration(at time.Time) []byte {
	return strconv.AppendFloat(nil, float64(at.Sub(l.begun).Microseconds())/1000, 'f', -1, 64)
}

func (l *leg) agentMetadata(m *members, at time.Time) {
	a := l.state.Agent
	m.str("sdk", "kneo_agent")
	iterations := int64(0)
	if a != nil {
		iterations = a.Iterations
	}
	m.raw("iterations", strconv.AppendInt(nil, iterations, 10))
	m.raw("duration_ms", l.duration(at))
	if a == nil {
		return
	}
	m.str("runtime_mode", a.RuntimeMode)
	m.str("runtime_name", a.RuntimeName)
	m.str("agent_name", l.plan.Root.Name)
	if wf := l.plan.Workflows[l.plan.Root.AsAgent]; wf != nil {
		m.str("workflow", wf.Name)
		m.str("workflow_type", string(wf.Kind))
		ids := make([]string, 0, len(wf.Steps))
		for _, s := range wf.Steps {
			ids = append(ids, s.ID)
		}
		m.raw("workflow_steps", run.AppendStrings(nil, ids))
	}
	if a.Plan != nil {
		m.str("plan", *a.Plan)
	}
	if a.MaxedOut {
		m.raw("stopped_by_max_iterations", []byte("true"))
	}
	if len(a.Memory) > 0 {
		m.raw("memory", a.Memory)
	}
	if len(a.Guardrails) > 0 {
		m.raw("guardrails", a.Guardrails)
	}
}

func (l *leg) workflowObject(f *engine.Frame) json.RawMessage {
	wf := l.plan.Workflow
	m := &members{}
	m.str("name", wf.Name)
	m.str("type", string(wf.Kind))
	if wf.Kind == plan.Graph {
		m.raw("visited_nodes", run.AppendStrings(nil, f.Visited))
		m.str("termination", f.Termination)
		return m.bytes()
	}
	m.raw("visited_steps", run.AppendStrings(nil, f.Visited))
	switch wf.Kind {
	case plan.GroupChat:
		m.raw("rounds", strconv.AppendInt(nil, max(wf.Rounds, 1), 10))
	case plan.Handoff, plan.Concurrent:
		m.raw("rounds", nil)
	}
	return m.bytes()
}

func (l *leg) workflowMembers(m *members, f *engine.Frame) {
	wf := l.plan.Workflow
	m.str("workflow_description", wf.Description)
	rotation := wf.Kind == plan.GroupChat && hasHuman(wf)
	if rotation {
		// A group chat with a person takes turns like a handoff and has always said so (execution.md 10).
		m.str("workflow_type", string(plan.Handoff))
	} else {
		m.str("workflow_type", string(wf.Kind))
	}
	m.raw("workflow_steps", run.AppendStrings(nil, f.LegSteps))
	switch {
	case wf.Kind == plan.Graph:
		if l.endedByPerson(f) {
			m.str("node_kind", "human")
		}
		out := []byte{'['}
		for i, id := range f.LegSteps {
			if i > 0 {
				out = append(out, ',')
			}
			out = run.AppendStrings(out, []string{id})
		}
		m.raw("workflow_supersteps", append(out, ']'))
	case wf.Kind == plan.GroupChat && !rotation:
		m.raw("workflow_rounds", strconv.AppendInt(nil, max(wf.Rounds, 1), 10))
	}
}

func hasHuman(wf *plan.Workflow) bool {
	return slices.ContainsFunc(wf.Steps, func(s plan.Step) bool { return s.Kind == plan.StepHuman })
}

// endedByPerson tells whether the answer of a person was the end of the graph.
func (l *leg) endedByPerson(f *engine.Frame) bool {
	if l.state.Status != run.Completed || len(f.Visited) == 0 {
		return false
	}
	last := f.Visited[len(f.Visited)-1]
	return slices.ContainsFunc(l.plan.Workflow.Steps, func(s plan.Step) bool { return s.ID == last && s.Kind == plan.StepHuman })
}

// reply renders the response of an inline leg.
func (l *leg) reply(ctx context.Context, out *Outcome, result json.RawMessage) {
	if out.Problem != nil {
		out.Body, out.Code = record.Problem(out.Problem), record.ProblemStatus(out.Problem.Code)
		return
	}
	m := &members{buf: append([]byte{}, trimBrace(record.Mask(result))...)}
	if l.row.Status == run.Failed && out.Status == run.Failed {
		m.raw("error", record.Error(&l.row))
	}
	trace := &members{}
	trace.str("run_id", l.row.ID)
	trace.raw("events", l.wholeTrace(ctx))
	m.raw("trace", trace.bytes())
	out.Metadata, out.Code = m.bytes(), 200
	out.Run = l.row
	out.Body = l.body(out)
}

// trimBrace cuts the closing brace so that members can follow; an empty object becomes nothing.
func trimBrace(v json.RawMessage) []byte {
	if len(v) <= 2 {
		return nil
	}
	return v[:len(v)-1]
}

func (l *leg) body(out *Outcome) json.RawMessage {
	r := record.Reply{
		RunID: out.Run.ID, Status: out.Status, Output: out.Run.Output, ContinuationID: out.Run.ContinuationID, Metadata: out.Metadata,
	}
	if l.c.Reply == run.ReplyResume {
		return record.ResumeResponse(r)
	}
	return record.CreateResponse(r)
}

// wholeTrace is the trace of the run so far: what earlier legs stored and what this one added.
func (l *leg) wholeTrace(ctx context.Context) json.RawMessage {
	own := append(append([]byte{'['}, l.out.all...), ']')
	if l.c.Run.TraceCount == 0 {
		return own
	}
	list, err := l.Store.Checkpoints(context.WithoutCancel(ctx), l.row.ID)
	if err != nil {
		return own
	}
	seen := &run.Checkpoint{TraceEvents: own}
	out := []byte{'['}
	for i, e := range record.Trace(&l.c.Run, append(list, *seen), "") {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, e...)
	}
	return append(out, ']')
}

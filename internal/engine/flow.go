package engine

import (
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

func user(text string) run.Message { return run.Message{Role: "user", Content: text} }

func assistant(text string) run.Message { return run.Message{Role: "assistant", Content: text} }

// lastText is the input of the next step: the text of the last user or assistant turn.
func lastText(thread []run.Message) string {
	for i := len(thread) - 1; i >= 0; i-- {
		if r := thread[i].Role; r == "user" || r == "assistant" {
			return thread[i].Content
		}
	}
	return ""
}

// finalText is the output of a workflow: the text of the last assistant turn.
func finalText(thread []run.Message) string {
	for i := len(thread) - 1; i >= 0; i-- {
		if thread[i].Role == "assistant" {
			return thread[i].Content
		}
	}
	return ""
}

func joinUser(thread []run.Message) string {
	var parts []string
	for _, m := range thread {
		if m.Role == "user" {
			parts = append(parts, m.Content)
		}
	}
	return strings.Join(parts, "\n")
}

func sameTurn(a, b run.Message) bool {
	return a.Role == b.Role && a.Content == b.Content && sameText(a.Name, b.Name) && sameText(a.ToolCallID, b.ToolCallID)
}

func sameText(a, b *string) bool {
	return a == b || (a != nil && b != nil && *a == *b)
}

// delta is what a graph node or a concurrent participant adds to the shared thread.
func delta(shared []run.Message, step string, o *Outcome) []run.Message {
	if o.Human {
		role := o.Role
		if role == "" {
			role = "assistant"
		}
		return []run.Message{{Role: role, Content: o.Output}}
	}
	if o.Function {
		if o.Output == "" {
			return nil
		}
		return []run.Message{{Role: "assistant", Content: o.Output, Name: &step}}
	}
	if len(o.Messages) > len(shared) {
		extends := true
		for i := range shared {
			if !sameTurn(shared[i], o.Messages[i]) {
				extends = false
				break
			}
		}
		if extends {
			return o.Messages[len(shared):]
		}
	}
	for i := len(o.Messages) - 1; i >= 0; i-- {
		if o.Messages[i].Role == "assistant" {
			return o.Messages[i : i+1]
		}
	}
	if o.Output != "" {
		return []run.Message{assistant(o.Output)}
	}
	return nil
}

// join adds an outcome to the thread of a frame that runs steps one after another.
func (f *Frame) join(step string, o *Outcome) {
	switch {
	case f.Kind == plan.Graph && o.Function && o.Output != "":
		f.Thread = append(f.Thread, assistant(o.Output)) // without the step's name, as in the reference
	case f.Kind == plan.Graph && !o.Human:
		f.Thread = append(f.Thread, delta(f.Thread, step, o)...)
	case o.Human:
		f.joinHuman(o)
	case o.Function:
		f.Thread = append(f.Thread, run.Message{Role: "assistant", Content: o.Output, Name: &step})
	case len(o.Messages) > 0:
		f.Thread = append([]run.Message{}, o.Messages...)
	case o.Output != "":
		f.Thread = []run.Message{assistant(o.Output)}
	}
}

// joinHuman adds a person's text: in the declared role, and for sequences and graphs as the next user turn.
func (f *Frame) joinHuman(o *Outcome) {
	switch f.Kind {
	case plan.Sequential:
		if o.Role != "" {
			f.Thread = append(f.Thread, run.Message{Role: o.Role, Content: o.Output})
		}
		f.Thread = append(f.Thread, user(o.Output))
	case plan.Graph:
		f.Thread = append([]run.Message{}, f.Thread...)
		if o.Role != "" && o.Role != "user" {
			f.Thread = append(f.Thread, run.Message{Role: o.Role, Content: o.Output})
		}
		f.Thread = append(f.Thread, user(o.Output))
	default:
		role := o.Role
		if role == "" {
			role = "user"
		}
		f.Thread = append(f.Thread, run.Message{Role: role, Content: o.Output})
	}
}

// modelTurns is what a finished step adds to the iterations of its workflow.
func modelTurns(a *Active) int64 {
	switch {
	case a.Child != nil:
		return a.Child.LegTurns
	case a.Out.AgentResult != nil:
		return max(a.Out.AgentResult.Iterations, 1)
	default:
		return 1
	}
}

// complete closes a step instance successfully and moves the frame on.
func (m machine) complete(f *Frame, a *Active) {
	o := a.Out
	a.Phase = PhaseDone
	if f.Kind != plan.Concurrent {
		m.remember(a)
		f.join(a.Step, o)
	}
	f.HumanOutput = nil
	if o.Human {
		f.HumanOutput = &o.Output
	}
	f.Visited = append(f.Visited, a.Step)
	if !o.Human { // what a person answered is not work of the leg that follows the answer
		f.LegSteps = append(f.LegSteps, a.Step)
		f.LegTurns += modelTurns(a)
	}
	if f.Kind == plan.Concurrent {
		f.Visited, f.LegSteps = declared(m.workflow(f), f.Visited), declared(m.workflow(f), f.LegSteps)
	}
	if !(f.Kind == plan.Graph && o.Continued) {
		m.stepEvent(f, a, StepCompleted, o.Output, nil)
	}
	m.advance(f, a)
}

// remember extends the agent's own history by its append mode.
func (m machine) remember(a *Active) {
	o := a.Out
	if o.Agent == "" || o.Append == "never" || o.Append == "" {
		return
	}
	if m.s.Histories == nil {
		m.s.Histories = map[string][]run.Message{}
	}
	h := m.s.Histories[o.Agent]
	if o.Append != "assistant_only" {
		h = append(h, run.Message{Role: "user", Content: a.Input, ToolCalls: []run.ToolCall{}})
	}
	if o.Append != "user_only" {
		h = append(h, run.Message{Role: "assistant", Content: o.Output, ToolCalls: []run.ToolCall{}})
	}
	m.s.Histories[o.Agent] = h
}

func (m machine) advance(f *Frame, a *Active) {
	wf := m.workflow(f)
	switch f.Kind {
	case KindAgent:
		m.finishAgent(f, a)
	case plan.Concurrent:
		m.gather(f, wf)
	case plan.Graph:
		f.Active = nil
		next, ok := route(wf, a)
		if !ok {
			f.Termination = "no_matching_edge"
			m.finish(f, run.Completed)
			return
		}
		m.visit(f, wf, next)
	default:
		f.Active = nil
		m.turn(f, wf, f.Turn+1)
	}
}

// gather merges concurrent participants when all have ended: a failure first, else in declared order.
func (m machine) gather(f *Frame, wf *plan.Workflow) {
	if len(f.Active) < len(wf.Steps) {
		return
	}
	waiting := false
	var failed *Active
	for _, a := range f.Active {
		switch a.Phase {
		case PhaseDone:
		case PhaseFailed:
			if failed == nil {
				failed = a
			}
		case PhaseGate, PhaseAsk:
			waiting = true
		default:
			if a.Phase != PhaseNested || !onlyGates(a.Child) {
				return
			}
			waiting = true
		}
	}
	if failed != nil {
		m.frameFailed(f, failed.Failure)
		return
	}
	if waiting {
		return
	}
	shared := f.Thread
	for _, a := range f.Active {
		m.remember(a)
		f.Thread = append(f.Thread[:len(f.Thread):len(f.Thread)], delta(shared, a.Step, a.Out)...)
	}
	f.Active = nil
	m.finish(f, run.Completed)
}

func onlyGates(f *Frame) bool {
	for _, a := range f.Active {
		switch a.Phase {
		case PhaseGate, PhaseAsk, PhaseDone:
		case PhaseNested:
			if !onlyGates(a.Child) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func declared(wf *plan.Workflow, visited []string) []string {
	seen := map[string]bool{}
	for _, v := range visited {
		seen[v] = true
	}
	out := make([]string, 0, len(visited))
	for _, s := range wf.Steps {
		if seen[s.ID] {
			out = append(out, s.ID)
		}
	}
	return out
}

// finish ends a frame: the run when it is the root, else the step that contains it.
func (m machine) finish(f *Frame, status run.Status) {
	wf := m.workflow(f)
	output := finalText(f.Thread)
	if status == run.Completed {
		output = m.humanEnd(f, output)
	}
	e := m.workflowEvent(f, wf, WorkflowCompleted)
	if status == run.MaxIterations {
		e.Kind = WorkflowFailed
	}
	e.Key, e.Parent, e.Output, e.Termination = "end:"+f.Start, f.Start, output, f.Termination
	e.Visited = visited(f)
	m.traceFrame(f, e)
	f.Active = nil
	if f != m.s.Root {
		f.Status = status
		f.Thread = ensureOutput(f.Thread, output)
		return
	}
	m.s.Status, m.s.Output, m.s.Messages = status, output, f.Thread
}

// humanEnd returns the person's text when a human step was the frame's last (decision W13), among concurrent participants when no agent spoke.
func (m machine) humanEnd(f *Frame, output string) string {
	if f.HumanOutput != nil && (f.Kind != plan.Concurrent || output == "") {
		return *f.HumanOutput
	}
	return output
}

func ensureOutput(thread []run.Message, output string) []run.Message {
	if finalText(thread) == output {
		return thread
	}
	return append(thread[:len(thread):len(thread)], assistant(output))
}

func (m machine) finishAgent(f *Frame, a *Active) {
	f.Active = nil
	s := m.s
	s.Status, s.Output, s.Messages, s.Agent = run.Completed, a.Out.Output, a.Out.Messages, a.Out.AgentResult
	f.Visited, f.LegSteps, f.LegTurns = nil, nil, 0
	if s.Agent != nil && s.Agent.MaxedOut {
		s.Status = run.MaxIterations
	}
}

func (m machine) stepEvent(f *Frame, a *Active, kind EventKind, output string, failure *Failure) {
	if f.NoSteps {
		return
	}
	e := Event{
		Kind: kind, Key: string(kind) + ":" + a.Key, Workflow: m.workflow(f).Name, WorkflowKind: f.Kind, Step: a.Step,
		Node: f.Kind == plan.Graph, Index: -1, Nested: f != m.s.Root, Input: a.Input, Output: output, Failure: failure,
		Visited: visited(f),
	}
	if f == m.s.Root && f.Kind == plan.Sequential {
		e.Index = f.Turn
	}
	e.Iteration = m.count(a.Step, e.Node)
	if kind == StepCompleted {
		if m.s.Closed == nil {
			m.s.Closed = map[string]bool{}
		}
		m.s.Closed[counterKey(a.Step, e.Node)] = true
	}
	m.s.emit(e)
}

// visited is the list of a frame's finished steps. It shares memory with the frame's, which only grows.
func visited(f *Frame) []string {
	if f.Visited == nil {
		return []string{}
	}
	return f.Visited[:len(f.Visited):len(f.Visited)]
}

// counterKey is the key of an iteration counter: "<step>|" or "|<node>".
func counterKey(id string, node bool) string {
	if node {
		return "|" + id
	}
	return id + "|"
}

func (m machine) count(id string, node bool) int64 {
	if m.s.Counts == nil {
		m.s.Counts = map[string]int64{}
	}
	k := counterKey(id, node)
	m.s.Counts[k]++
	return m.s.Counts[k]
}

package engine

import (
	"fmt"
	"strconv"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// machine binds a plan to a state for one call.
type machine struct {
	p *plan.Plan
	s *State
}

// Next returns what can be done now, in declared order: several actions when branches run concurrently, gates among them, or a single Done or
// Fail. It starts the run when the state is new and changes nothing otherwise.
func Next(p *plan.Plan, s *State) []Action {
	m := machine{p, s}
	if s.Root == nil {
		m.startRoot()
	}
	switch s.Status {
	case run.Completed, run.MaxIterations:
		return []Action{{Kind: Done}}
	case run.Failed:
		return []Action{{Kind: Fail}}
	}
	return m.collect(nil, s.Root, nil)
}

// Blocked reports whether every action waits for a person.
func Blocked(actions []Action) bool {
	for _, a := range actions {
		if a.Kind != OpenGate && a.Kind != AskPerson {
			return false
		}
	}
	return len(actions) > 0
}

func (m machine) startRoot() {
	kind := KindAgent
	if m.s.Target != "agent" && m.p.Workflow != nil {
		kind = m.p.Workflow.Kind
	}
	f := &Frame{Kind: kind, NoTrace: kind == KindAgent, NoSteps: kind == KindAgent}
	f.Thread = []run.Message{user(m.s.Input)}
	m.s.Root = f
	m.open(f, m.s.Input)
}

// workflow returns the workflow of a frame; the frame of a lone agent has one nameless step.
func (m machine) workflow(f *Frame) *plan.Workflow {
	switch {
	case f.Kind == KindAgent:
		return &plan.Workflow{Kind: KindAgent, Steps: []plan.Step{{Kind: plan.StepAgent}}}
	case f.Workflow == "":
		return m.p.Workflow
	}
	return m.p.Workflows[f.Workflow]
}

func (m machine) step(f *Frame, id string) (plan.Step, int) {
	for i, s := range m.workflow(f).Steps {
		if s.ID == id {
			return s, i
		}
	}
	return plan.Step{}, -1
}

func (m machine) agent(ref string) *plan.Agent {
	if ref == "" {
		return m.p.Root
	}
	return m.p.Agents[ref]
}

// open begins a frame: its start event and its first steps.
func (m machine) open(f *Frame, input string) {
	wf := m.workflow(f)
	f.Start = fmt.Sprintf("wf:%s~%d", f.Path, m.s.Leg)
	e := m.workflowEvent(f, wf, WorkflowStarted)
	e.Key, e.Input = f.Start, input
	if f.Kind == plan.Graph {
		e.StartNode = wf.Start
	}
	m.traceFrame(f, e)
	switch f.Kind {
	case plan.Graph:
		m.visit(f, wf, wf.Start)
	case plan.Concurrent:
		for _, s := range wf.Steps {
			m.begin(f, s.ID, input)
		}
	default:
		m.turn(f, wf, 0)
	}
}

func (m machine) workflowEvent(f *Frame, wf *plan.Workflow, kind EventKind) Event {
	return Event{
		Kind: kind, Workflow: wf.Name, WorkflowKind: f.Kind, Nested: f != m.s.Root, Index: -1,
		StepCount: len(wf.Steps), MaxSteps: wf.MaxSteps, StartIndex: f.Turn,
	}
}

func (m machine) traceFrame(f *Frame, e Event) {
	if !f.NoTrace {
		m.s.emit(e)
	}
}

// turns lists the step ids that the frame runs one after another.
func turns(wf *plan.Workflow) []string {
	ids := make([]string, 0, len(wf.Steps))
	for _, s := range wf.Steps {
		ids = append(ids, s.ID)
	}
	switch wf.Kind {
	case plan.Handoff:
		if wf.Selector != "round_robin" && len(wf.Sequence) > 0 {
			ids = wf.Sequence
		}
		if wf.MaxIterations != nil && int(*wf.MaxIterations) < len(ids) {
			ids = ids[:max(int(*wf.MaxIterations), 0)]
		}
	case plan.GroupChat:
		rounds := max(int(wf.Rounds), 1)
		all := make([]string, 0, rounds*len(ids))
		for range rounds {
			all = append(all, ids...)
		}
		return all
	}
	return ids
}

// turn begins turn i of a frame that runs steps one after another, or ends the frame.
func (m machine) turn(f *Frame, wf *plan.Workflow, i int) {
	list := turns(wf)
	f.Turn = i
	if i >= len(list) {
		m.finish(f, run.Completed)
		return
	}
	m.begin(f, list[i], lastText(f.Thread))
}

// visit begins a node of a graph, or ends the frame at its cap.
func (m machine) visit(f *Frame, wf *plan.Workflow, node string) {
	if f.Taken >= wf.MaxSteps {
		f.Termination = "max_steps"
		m.finish(f, run.MaxIterations)
		return
	}
	f.Taken++
	m.begin(f, node, lastText(f.Thread))
}

// begin creates a step instance and its first attempt.
func (m machine) begin(f *Frame, id, input string) {
	if f.Instances == nil {
		f.Instances = map[string]int{}
	}
	f.Instances[id]++
	a := &Active{Step: id, Target: id, Instance: f.Instances[id], Input: input}
	f.Active = append(f.Active, a)
	m.attempt(f, a)
}

// attempt starts a try of the instance's target.
func (m machine) attempt(f *Frame, a *Active) {
	a.Attempt++
	a.Tries++
	a.Key = f.Path + a.Step + "#" + strconv.Itoa(a.Instance) + "@" + strconv.Itoa(a.Attempt)
	if m.s.Leg > 1 {
		a.Key += "." + strconv.Itoa(m.s.Leg)
	}
	a.Out, a.Failure, a.Child, a.Messages, a.Ask = nil, nil, nil, nil, nil
	a.Phase = PhaseRun
	step, _ := m.step(f, a.Target)
	switch step.Kind {
	case plan.StepAgent, plan.StepGuardrail:
		m.startAgent(f, a, step)
	case plan.StepWorkflow:
		a.Phase = PhaseNested
		m.entered(f, a)
		m.nest(f, a, step.Ref, []run.Message{user(a.Input)}, f.NoTrace, f.NoSteps)
	case plan.StepHuman:
		a.Phase = PhaseGate
	}
}

// entered tells that the run stands at a step of which no row tells yet.
func (m machine) entered(f *Frame, a *Active) {
	if !f.NoSteps {
		m.s.emit(Event{Kind: StepEntered, Key: "enter:" + a.Key, Step: a.Step, Node: f.Kind == plan.Graph, Index: -1})
	}
}

func (m machine) startAgent(f *Frame, a *Active, step plan.Step) {
	agent := m.agent(step.Ref)
	a.Messages = append(append([]run.Message{}, m.s.Histories[step.Ref]...), user(a.Input))
	for i := range a.Messages {
		if a.Messages[i].ToolCalls == nil {
			a.Messages[i].ToolCalls = []run.ToolCall{}
		}
	}
	if !f.NoTrace || f.Kind == KindAgent {
		m.s.emit(Event{
			Kind: AgentStarted, Key: "agent:" + a.Key, Agent: agent.Name, Index: -1,
			Input: joinUser(a.Messages), MessageCount: len(a.Messages),
		})
	}
	if agent.AsAgent != "" {
		a.Phase = PhaseNested
		m.nest(f, a, agent.AsAgent, a.Messages, true, f.NoSteps)
	}
}

func (m machine) nest(f *Frame, a *Active, workflow string, thread []run.Message, noTrace, noSteps bool) {
	child := &Frame{Workflow: workflow, Path: a.Key + "/", NoTrace: noTrace, NoSteps: noSteps}
	child.Kind = m.p.Workflows[workflow].Kind
	child.Thread = append([]run.Message{}, thread...)
	a.Child = child
	m.open(child, lastText(child.Thread))
	m.settleChild(f, a)
}

func (m machine) collect(out []Action, f *Frame, scopes []Scope) []Action {
	for _, a := range f.Active {
		step, index := m.step(f, a.Target)
		act := Action{Key: a.Key, Step: a.Step, Node: f.Kind == plan.Graph, Input: a.Input, Scopes: scopes}
		if step.TimeoutSeconds != nil && *step.TimeoutSeconds > 0 {
			act.TimeoutSeconds = step.TimeoutSeconds
		}
		switch a.Phase {
		case PhaseRun:
			if step.Kind == plan.StepFunction {
				act.Kind, act.Function = RunFunction, m.p.Functions[step.Ref]
			} else {
				act.Kind, act.Agent, act.Messages = RunAgent, m.agent(step.Ref), a.Messages
			}
		case PhaseNested:
			inner := scopes
			if act.TimeoutSeconds != nil {
				inner = append(append([]Scope{}, scopes...), Scope{Key: a.Key, TimeoutSeconds: *act.TimeoutSeconds})
			}
			out = m.collect(out, a.Child, inner)
			continue
		case PhaseCheck:
			act.Kind, act.Key, act.Input, act.TimeoutSeconds = CheckStep, checkKey(a), a.Out.Output, nil
		case PhaseGate:
			act.Kind, act.Key, act.TimeoutSeconds = OpenGate, gateKey(a), nil
			act.Gate = m.gate(f, a, m.p.Humans[step.Ref], index)
		case PhaseAsk:
			act.Kind, act.Key, act.TimeoutSeconds = AskPerson, gateKey(a), nil
			act.Gate = m.gate(f, a, nil, index)
		default:
			continue
		}
		out = append(out, act)
	}
	return out
}

// checkKey names the check of a step's output; every answer of a person has one of its own.
func checkKey(a *Active) string {
	if a.Out.Leg > 0 {
		return a.Key + "/check." + strconv.Itoa(a.Out.Leg)
	}
	return a.Key + "/check"
}

func gateKey(a *Active) string {
	if a.Phase == PhaseAsk {
		return a.Key + "/ask" + strconv.Itoa(a.Asks)
	}
	return a.Key + "/gate"
}

func (m machine) gate(f *Frame, a *Active, h *plan.Human, index int) *Gate {
	wf := m.workflow(f)
	g := &Gate{
		Human: h, Ask: a.Ask, TaskID: a.TaskID, Kind: f.Kind, Workflow: wf.Name, Start: f.Start, Index: index,
		Visited: append([]string{}, f.Visited...), Thread: f.Thread,
	}
	switch f.Kind {
	case plan.Handoff, plan.GroupChat:
		g.Remaining = append([]string{}, turns(wf)[f.Turn+1:]...)
	case plan.Concurrent:
		g.Deltas = map[string][]run.Message{}
		for _, s := range wf.Steps {
			g.Order = append(g.Order, s.ID)
		}
		for _, o := range f.Active {
			if o.Phase == PhaseDone {
				g.Deltas[o.Step] = delta(f.Thread, o.Step, o.Out)
			}
		}
	case plan.Graph:
		g.Thread = []run.Message{user(a.Input)}
	}
	return g
}

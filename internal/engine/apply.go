package engine

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// ErrStale is returned by Apply for a result whose action is no longer wanted.
var ErrStale = errors.New("engine: result of an action that is not pending")

// link is one level of the path from the root frame to a step instance.
type link struct {
	f *Frame
	a *Active
}

// Apply takes the result of one action and moves the state on.
func Apply(p *plan.Plan, s *State, r Result) error {
	m := machine{p, s}
	if s.Root == nil {
		m.startRoot()
	}
	chain := find(s.Root, nil, r.Key)
	if chain == nil {
		return ErrStale
	}
	s.Usage = s.Usage.Add(r.Usage)
	if r.Err != nil && r.Err.Scope != "" {
		for i, l := range chain {
			if l.a.Key == r.Err.Scope {
				chain = chain[:i+1]
				break
			}
		}
		m.failed(chain, r.Err)
		return nil
	}
	at := chain[len(chain)-1]
	switch {
	case r.Err != nil:
		m.failed(chain, r.Err)
		return nil
	case r.Ask != nil:
		at.a.Ask, at.a.Phase = r.Ask, PhaseAsk
		at.a.Asks++
	case r.Decision != nil:
		m.decide(chain, r.Decision)
		return nil
	case at.a.Phase == PhaseCheck:
		if r.Output != nil {
			at.a.Out.revise(*r.Output)
		}
		m.complete(at.f, at.a)
	case r.Agent != nil:
		m.result(at.f, at.a, m.agentOutcome(at.f, at.a, r.Agent))
	case r.Output != nil:
		m.result(at.f, at.a, functionOutcome(*r.Output))
	}
	m.settle(chain)
	return nil
}

// find returns the path to the instance whose pending action has this key.
func find(f *Frame, above []link, key string) []link {
	for _, a := range f.Active {
		chain := append(above[:len(above):len(above)], link{f, a})
		switch a.Phase {
		case PhaseRun:
			if a.Key == key {
				return chain
			}
		case PhaseCheck:
			if checkKey(a) == key {
				return chain
			}
		case PhaseGate, PhaseAsk:
			if gateKey(a) == key {
				return chain
			}
		case PhaseNested:
			if strings.HasPrefix(key, a.Child.Path) {
				if found := find(a.Child, chain, key); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// settle tells enclosing steps, innermost first, that their nested frames have ended.
func (m machine) settle(chain []link) {
	for i := len(chain) - 2; i >= 0; i-- {
		m.settleChild(chain[i].f, chain[i].a)
	}
}

// settleChild closes a step whose nested frame has ended.
func (m machine) settleChild(f *Frame, a *Active) {
	if a.Phase != PhaseNested || a.Child == nil {
		return
	}
	switch {
	case a.Child.Failure != nil:
		m.agentFailed(f, a, a.Child.Failure)
		m.attemptFailed(f, a, a.Child.Failure)
	case a.Child.Status != "":
		m.result(f, a, m.nestedOutcome(f, a))
	}
}

// result takes a successful attempt: the text is checked first when the plan has step guardrails.
func (m machine) result(f *Frame, a *Active, o *Outcome) {
	a.Out = o
	if a.Reason != nil {
		o.set("fallback_for", a.Step)
		o.set("error", a.Reason.Message)
	}
	if len(m.p.StepGuardrails) > 0 && f.Kind != KindAgent {
		a.Phase = PhaseCheck
		return
	}
	m.complete(f, a)
}

func (o *Outcome) set(key string, value any) {
	if o.Meta == nil {
		o.Meta = map[string]json.RawMessage{}
	}
	if raw, err := json.Marshal(value); err == nil {
		o.Meta[key] = raw
	}
}

// revise replaces the text everywhere it would go on from (decision X6).
func (o *Outcome) revise(text string) {
	if text == o.Output {
		return
	}
	o.Output = text
	for i := len(o.Messages) - 1; i >= 0; i-- {
		if o.Messages[i].Role == "assistant" {
			o.Messages = append([]run.Message{}, o.Messages...)
			o.Messages[i].Content = text
			return
		}
	}
}

func functionOutcome(text string) *Outcome {
	o := &Outcome{Output: text, Status: "completed", Function: true}
	o.set("node_kind", "function")
	return o
}

func (m machine) agentOutcome(f *Frame, a *Active, r *AgentResult) *Outcome {
	step, _ := m.step(f, a.Target)
	agent := m.agent(step.Ref)
	keep := min(max(r.Keep, 0), len(a.Messages))
	o := &Outcome{Output: r.Output, Status: "completed", Agent: step.Ref, Append: appendMode(agent), AgentResult: r}
	o.Messages = append(append([]run.Message{}, a.Messages[:keep]...), r.Add...)
	for k, v := range map[string]string{"runtime_mode": r.RuntimeMode, "runtime_name": r.RuntimeName, "agent_name": agent.Name} {
		o.set(k, v)
	}
	o.set("iterations", r.Iterations)
	m.agentDone(f, a, agent, o)
	return o
}

func (m machine) agentDone(f *Frame, a *Active, agent *plan.Agent, o *Outcome) {
	if f.NoTrace && f.Kind != KindAgent {
		return
	}
	m.s.emit(Event{
		Kind: AgentCompleted, Key: "agent-end:" + a.Key, Parent: "agent:" + a.Key, Agent: agent.Name, Index: -1,
		Output: o.Output, MessageCount: len(o.Messages),
	})
}

func appendMode(agent *plan.Agent) string {
	if agent.AppendMode == "" {
		return "auto"
	}
	return agent.AppendMode
}

// nestedOutcome is the result of a workflow step or of an agent backed by a workflow.
func (m machine) nestedOutcome(f *Frame, a *Active) *Outcome {
	step, _ := m.step(f, a.Target)
	child := a.Child
	o := &Outcome{Output: finalText(child.Thread), Messages: child.Thread, Status: "completed", MaxedOut: child.Status == run.MaxIterations}
	if child.HumanOutput != nil {
		o.Output = *child.HumanOutput
	}
	if step.Kind != plan.StepWorkflow {
		agent := m.agent(step.Ref)
		o.Agent, o.Append = step.Ref, appendMode(agent)
		o.AgentResult = &AgentResult{
			Output: o.Output, RuntimeMode: "sdk", Iterations: child.LegTurns, MaxedOut: o.MaxedOut,
		}
		m.agentDone(f, a, agent, o)
	}
	return o
}

// failed takes a failed attempt at the end of the chain and tells the enclosing steps.
func (m machine) failed(chain []link, failure *Failure) {
	at := chain[len(chain)-1]
	if at.a.Phase == PhaseRun || at.a.Phase == PhaseNested {
		m.agentFailed(at.f, at.a, failure)
	}
	m.attemptFailed(at.f, at.a, failure)
	m.settle(chain)
}

func (m machine) agentFailed(f *Frame, a *Active, failure *Failure) {
	step, _ := m.step(f, a.Target)
	if (step.Kind != plan.StepAgent && step.Kind != plan.StepGuardrail) || (f.NoTrace && f.Kind != KindAgent) {
		return
	}
	if failure.Violation == "ToolMiddlewareViolation" || failure.Violation == "ToolResultGuardrailViolation" {
		return
	}
	m.s.emit(Event{
		Kind: AgentFailed, Key: "agent-end:" + a.Key, Parent: "agent:" + a.Key, Agent: m.agent(step.Ref).Name, Index: -1, Failure: failure,
	})
}

// attemptFailed applies retries and the step's error policy.
func (m machine) attemptFailed(f *Frame, a *Active, failure *Failure) {
	own, _ := m.step(f, a.Step)
	target, _ := m.step(f, a.Target)
	switch {
	case failure.Abort:
		m.stepFailed(f, a, failure)
	case failure.Retry && int64(a.Tries) <= target.MaxRetries:
		m.s.emit(Event{Kind: StepRetrying, Key: "retry:" + a.Key, Step: a.Step, Node: f.Kind == plan.Graph, Index: -1, Failure: failure})
		m.attempt(f, a)
	case a.Reason != nil: // the fallback failed
		m.stepFailed(f, a, failure)
	case own.OnError == "continue":
		m.graphFailure(f, a, failure)
		o := &Outcome{Output: a.Input, Messages: []run.Message{assistant(a.Input)}, Status: "completed", Continued: true}
		if f.Kind == plan.Graph {
			o.Status = "failed"
		}
		o.set("node_failed", true)
		o.set("error", failure.Message)
		o.set("on_error", "continue")
		m.result(f, a, o)
	case own.OnError == "fallback" && m.has(f, own.Fallback):
		m.graphFailure(f, a, failure)
		a.Reason, a.Target, a.Tries = failure, own.Fallback, 0
		m.attempt(f, a)
	default:
		m.stepFailed(f, a, failure)
	}
}

func (m machine) has(f *Frame, id string) bool {
	_, i := m.step(f, id)
	return id != "" && i >= 0
}

// graphFailure leaves a failed row for a node whose failure is covered; other kinds leave none.
func (m machine) graphFailure(f *Frame, a *Active, failure *Failure) {
	if f.Kind == plan.Graph {
		m.stepEvent(f, a, StepFailed, "", failure)
	}
}

// stepFailed ends a step for good; siblings of a concurrent workflow still run to their end.
func (m machine) stepFailed(f *Frame, a *Active, failure *Failure) {
	a.Phase, a.Failure = PhaseFailed, failure
	switch {
	case f.Kind == KindAgent:
	case f.Kind == plan.Graph && failure.Violation != "": // no row tells of it, but the run stands there (execution.md 4.2)
		m.entered(f, a)
	default:
		m.stepEvent(f, a, StepFailed, "", failure)
	}
	if f.Kind == plan.Concurrent {
		m.gather(f, m.workflow(f))
		return
	}
	m.frameFailed(f, failure)
}

func (m machine) frameFailed(f *Frame, failure *Failure) {
	if f.Kind == plan.Graph {
		e := m.workflowEvent(f, m.workflow(f), WorkflowFailed)
		e.Key, e.Parent, e.Failure = "end:"+f.Start, f.Start, failure
		m.traceFrame(f, e)
	}
	if f != m.s.Root {
		f.Failure = failure
		return
	}
	m.s.Status, m.s.Failure = run.Failed, failure
}

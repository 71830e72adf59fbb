package engine

import (
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// Answers to a question about a cut-off call (decision X18).
const (
	AskHappened = "happened"
	AskRepeat   = "repeat"
	AskStop     = "stop"
)

// askAnswer reads the answer of a person about a cut-off call: whether it happened and with which result, whether to repeat it, or to stop.
func askAnswer(d *Decision) (answer, result string) {
	content := ""
	if d.Content != nil {
		content = *d.Content
	}
	switch d.Decision {
	case "rejected":
		return AskStop, content
	case "selected":
		if d.SelectedOption != nil {
			switch *d.SelectedOption {
			case AskRepeat, AskStop:
				return *d.SelectedOption, content
			}
		}
	}
	return AskHappened, content
}

// decide takes the answer to an open gate: a new leg begins.
func (m machine) decide(chain []link, d *Decision) {
	at := chain[len(chain)-1]
	f, a := at.f, at.a
	taskID := a.TaskID
	a.TaskID = ""
	if a.Phase == PhaseAsk {
		m.s.Leg++
		m.resumed(chain, a, taskID, a.Input)
		if answer, _ := askAnswer(d); answer == AskStop {
			m.failed(chain, &Failure{
				Type: run.FailTool, Abort: true, Message: "A call of tool '" + a.Ask.Name + "' was cut off and a person decided to stop.",
			})
			return
		}
		a.Phase = PhaseRun
		return
	}
	step, _ := m.step(f, a.Target)
	h := m.p.Humans[step.Ref]
	m.newLeg()
	output := decisionText(d, a.Input)
	if d.Decision == "rejected" && h != nil && h.OnReject == "fail" {
		m.resumed(chain, a, taskID, output)
		m.failed(chain, &Failure{Type: run.FailHumanRejected, Abort: true, Message: output})
		return
	}
	o := &Outcome{Output: output, Status: "completed", Human: true}
	if h != nil && h.ResponseRole != nil {
		o.Role = *h.ResponseRole
	}
	m.resumed(chain, a, taskID, output)
	a.Out = o
	if f.Kind == plan.Graph {
		o.set("node_kind", "human")
		// A person's answer is always followed by one more node at least (execution.md 5.5).
		f.Taken = min(f.Taken, max(m.workflow(f).MaxSteps-1, 0))
	}
	if len(m.p.StepGuardrails) > 0 && output != a.Input { // what was reviewed has been checked as the output of its step
		o.Leg = m.s.Leg
		a.Phase = PhaseCheck
		return
	}
	m.complete(f, a)
	m.settle(chain)
}

// decisionText is the text that a decision passes on, given the reviewed text.
func decisionText(d *Decision, reviewed string) string {
	content := ""
	if d.Content != nil {
		content = *d.Content
	}
	switch d.Decision {
	case "rejected":
		return "Rejected by human reviewer: " + content
	case "edited", "provided":
		if content != "" {
			return content
		}
	case "selected":
		if d.SelectedOption != nil && *d.SelectedOption != "" {
			return *d.SelectedOption
		}
		if content != "" {
			return content
		}
	}
	return reviewed
}

// newLeg starts a leg whose agents remember nothing of the one before.
func (m machine) newLeg() {
	m.s.Leg++
	m.s.Histories = nil
	clearLeg(m.s.Root)
}

func clearLeg(f *Frame) {
	f.LegSteps, f.LegTurns = nil, 0
	for _, a := range f.Active {
		if a.Child != nil {
			clearLeg(a.Child)
		}
	}
}

// resumed records that a person answered and opens the leg in the trace.
func (m machine) resumed(chain []link, a *Active, taskID, input string) {
	m.s.emit(Event{Kind: HumanResumed, Key: "resumed:" + a.Key, TaskID: taskID, Index: -1})
	m.reopenTrace(chain[0].f, chain[0].a, input)
}

// reopenTrace emits the workflow_resumed event of the root frame.
func (m machine) reopenTrace(f *Frame, a *Active, input string) {
	if f.Kind == KindAgent {
		return
	}
	wf := m.workflow(f)
	e := m.workflowEvent(f, wf, WorkflowResumed)
	f.Start = "wf:" + f.Path + "~" + itoa(m.s.Leg)
	e.Key, e.Input = f.Start, input
	switch f.Kind {
	case plan.Sequential:
		if a != nil && a.Phase == PhaseGate {
			e.StartIndex = f.Turn + 1
		}
	case plan.Graph:
		if a != nil {
			e.StartNode = a.Step
			if a.Phase == PhaseGate {
				e.StartNode, _ = route(wf, &Active{Step: a.Step, Out: &Outcome{Output: input, Status: "completed"}})
			}
		}
	}
	m.traceFrame(f, e)
}

// Continue reopens a failed run at its last good point: failed steps are tried again, completed ones are not.
func Continue(p *plan.Plan, s *State) {
	m := machine{p, s}
	if s.Root == nil {
		m.startRoot()
		return
	}
	s.Status, s.Failure = "", nil
	m.newLeg()
	input := s.Input
	var first *Active
	for _, a := range s.Root.Active {
		if first == nil && a.Phase != PhaseDone {
			first, input = a, a.Input
		}
	}
	m.reopenTrace(s.Root, first, input)
	m.retry(s.Root)
}

// retry starts every failed step of a frame again.
func (m machine) retry(f *Frame) {
	f.Failure = nil
	for _, a := range f.Active {
		switch {
		case a.Phase == PhaseNested && a.Child != nil:
			m.retry(a.Child)
		case a.Phase != PhaseFailed:
		case a.Child != nil && a.Child.Failure != nil && anyFailed(a.Child):
			a.Phase, a.Failure = PhaseNested, nil
			m.retry(a.Child)
		default:
			a.Failure, a.Tries, a.Target, a.Reason = nil, 0, a.Step, nil
			m.attempt(f, a)
		}
	}
}

func anyFailed(f *Frame) bool {
	for _, a := range f.Active {
		if a.Phase == PhaseFailed {
			return true
		}
	}
	return false
}

// Opened records the task of an open gate.
func Opened(s *State, key, taskID string) {
	if s.Root == nil {
		return
	}
	if chain := find(s.Root, nil, key); chain != nil {
		chain[len(chain)-1].a.TaskID = taskID
	}
}

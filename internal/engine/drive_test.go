package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// world answers actions: agents say "Final answer: <input>", functions are named in the plan.
type world struct {
	plan *plan.Plan
	// calls are the keys of performed actions, in order.
	calls []string
	// fails counts how often a function has failed.
	fails map[string]int
	// decisions answer gates in order; without one the run stays blocked.
	decisions []Decision
	events    []Event
	journal   []run.Entry
}

func newWorld(p *plan.Plan, decisions ...Decision) *world {
	return &world{plan: p, fails: map[string]int{}, decisions: decisions}
}

func (w *world) answer(a Action) Result {
	w.calls = append(w.calls, a.Key)
	res := Result{Key: a.Key}
	switch a.Kind {
	case RunAgent:
		text := "Final answer: " + a.Messages[len(a.Messages)-1].Content
		res.Agent = &AgentResult{
			Output: text, Keep: len(a.Messages), Iterations: 1,
			Add: []run.Message{{Role: "assistant", Content: text, ToolCalls: []run.ToolCall{}}},
		}
		res.Usage = &run.Usage{InputTokens: 1, OutputTokens: 1, TotalTokens: 2}
	case RunFunction:
		out, err := w.function(a.Function.Name, a.Input)
		if err != nil {
			res.Err = err
		} else {
			res.Output = &out
		}
	case CheckStep:
		out := strings.ReplaceAll(a.Input, "leak", "****")
		res.Output = &out
		if strings.Contains(a.Input, "forbidden") {
			res.Output, res.Err = nil, &Failure{Type: run.FailGuardrail, Message: "no", Code: "guardrail_violation", Violation: "GuardrailViolation", Abort: true}
		}
	}
	return res
}

func (w *world) function(name, input string) (string, *Failure) {
	switch name {
	case "upper":
		return strings.ToUpper(input), nil
	case "bracket":
		return "[" + input + "]", nil
	case "empty":
		return "", nil
	case "flaky":
		w.fails[name]++
		if w.fails[name] == 1 {
			return "", &Failure{Type: run.FailStep, Message: "glitch", Retry: true}
		}
		return "ok:" + input, nil
	}
	return "", &Failure{Type: run.FailStep, Message: "offline", Retry: true}
}

// drive performs actions until the run ends or blocks. pick chooses which of several results comes first.
func (w *world) drive(s *State, pick func(n int) int) {
	for range 2000 {
		actions := Next(w.plan, s)
		w.events = append(w.events, s.Events()...)
		if actions[0].Kind == Done || actions[0].Kind == Fail {
			return
		}
		if Blocked(actions) {
			if len(w.decisions) == 0 {
				return
			}
			d := w.decisions[0]
			w.decisions = w.decisions[1:]
			e, _ := HumanEntry(actions[0].Key, fmt.Sprint(len(w.journal)), &d)
			w.journal = append(w.journal, e)
			_ = Apply(w.plan, s, Result{Key: actions[0].Key, Decision: &d})
			w.events = append(w.events, s.Events()...)
			continue
		}
		var open []Action
		for _, a := range actions {
			if a.Kind != OpenGate && a.Kind != AskPerson {
				open = append(open, a)
			}
		}
		res := w.answer(open[pick(len(open))])
		e, _ := StepEntry(res, false)
		w.journal = append(w.journal, e)
		_ = Apply(w.plan, s, res)
		w.events = append(w.events, s.Events()...)
	}
	panic("the engine does not come to an end")
}

func first(int) int { return 0 }

func (w *world) rows() string {
	var out []string
	for _, e := range w.events {
		switch e.Kind {
		case StepCompleted, StepFailed:
			row := strings.TrimPrefix(string(e.Kind), "step_") + " " + e.Step
			if e.Iteration > 1 {
				row += fmt.Sprint(e.Iteration)
			}
			out = append(out, row)
		}
	}
	return strings.Join(out, ", ")
}

func (w *world) trace() string {
	var out []string
	for _, e := range w.events {
		switch e.Kind {
		case StepCompleted, StepFailed, HumanResumed, StepRetrying:
		default:
			out = append(out, string(e.Kind))
		}
	}
	return strings.Join(out, ", ")
}

// fn, ag, wfl and hu are steps.
func fn(id, ref string, opts ...func(*plan.Step)) plan.Step {
	return step(plan.Step{ID: id, Kind: plan.StepFunction, Ref: ref}, opts)
}

func ag(id, ref string, opts ...func(*plan.Step)) plan.Step {
	return step(plan.Step{ID: id, Kind: plan.StepAgent, Ref: ref}, opts)
}

func wfl(id, ref string, opts ...func(*plan.Step)) plan.Step {
	return step(plan.Step{ID: id, Kind: plan.StepWorkflow, Ref: ref}, opts)
}

func hu(id string) plan.Step {
	return plan.Step{ID: id, Kind: plan.StepHuman, Ref: "h", OnError: "fail"}
}

func step(s plan.Step, opts []func(*plan.Step)) plan.Step {
	s.OnError = "fail"
	for _, o := range opts {
		o(&s)
	}
	return s
}

func onError(v string) func(*plan.Step) { return func(s *plan.Step) { s.OnError = v } }

func retries(n int64) func(*plan.Step) { return func(s *plan.Step) { s.MaxRetries = n } }

func fallback(id string) func(*plan.Step) {
	return func(s *plan.Step) { s.OnError, s.Fallback = "fallback", id }
}

func planOf(w *plan.Workflow) *plan.Plan {
	p := &plan.Plan{
		Root: &plan.Agent{Name: "root", AppendMode: "auto"}, Workflow: w, Functions: map[string]*plan.Function{},
		Agents: map[string]*plan.Agent{
			"a":    {Name: "A", Component: "a", AppendMode: "auto"},
			"b":    {Name: "B", Component: "b", AppendMode: "auto"},
			"mute": {Name: "M", Component: "mute", AppendMode: "never"},
			"wf":   {Name: "W", Component: "wf", AppendMode: "auto", AsAgent: "inner"},
		},
		Workflows: map[string]*plan.Workflow{
			"inner": {Name: "inner", Kind: plan.Sequential, Steps: []plan.Step{fn("i1", "upper"), fn("i2", "bracket")}},
			"loop":  {Name: "loop", Kind: plan.Graph, Start: "x", MaxSteps: 2, Steps: []plan.Step{fn("x", "bracket")}, Edges: []plan.Edge{{From: "x", To: "x"}}},
			"bad":   {Name: "bad", Kind: plan.Sequential, Steps: []plan.Step{fn("j1", "upper"), fn("j2", "flaky")}},
		},
		Humans: map[string]*plan.Human{"h": {Name: "h"}},
	}
	for _, n := range []string{"upper", "bracket", "flaky", "fail", "empty"} {
		p.Functions[n] = &plan.Function{Name: n}
	}
	return p
}

func sequential(steps ...plan.Step) *plan.Workflow {
	return &plan.Workflow{Name: "w", Kind: plan.Sequential, Steps: steps}
}

func orchestrated(kind plan.Kind, steps ...plan.Step) *plan.Workflow {
	return &plan.Workflow{Name: "w", Kind: kind, Steps: steps}
}

func graph(maxSteps int64, steps []plan.Step, edges ...plan.Edge) *plan.Workflow {
	return &plan.Workflow{Name: "w", Kind: plan.Graph, Start: steps[0].ID, MaxSteps: maxSteps, Steps: steps, Edges: edges}
}

func edge(from, to string, c *plan.Condition) plan.Edge {
	return plan.Edge{From: from, To: to, Condition: c}
}

func contains(v string) *plan.Condition {
	return &plan.Condition{Type: "output_contains", Value: json.RawMessage(`"` + v + `"`)}
}

func is(kind, v string) *plan.Condition {
	return &plan.Condition{Type: kind, Value: json.RawMessage(v)}
}

func decide(d, content string) Decision {
	out := Decision{Decision: d}
	if content != "" {
		out.Content = &content
	}
	return out
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

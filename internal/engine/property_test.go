package engine

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// anyStep draws a step of any kind; people only where depth allows.
func anyStep(t *rapid.T, id string, people bool) plan.Step {
	refs := []plan.Step{
		{Kind: plan.StepFunction, Ref: "upper"},
		{Kind: plan.StepFunction, Ref: "bracket"},
		{Kind: plan.StepFunction, Ref: "fail"},
		{Kind: plan.StepFunction, Ref: "flaky"},
		{Kind: plan.StepFunction, Ref: "empty"},
		{Kind: plan.StepAgent, Ref: "a"},
		{Kind: plan.StepGuardrail, Ref: "b"},
		{Kind: plan.StepAgent, Ref: "wf"},
		{Kind: plan.StepWorkflow, Ref: "inner"},
		{Kind: plan.StepWorkflow, Ref: "drawn"},
		{Kind: plan.StepWorkflow, Ref: "loop"},
	}
	if people {
		refs = append(refs, plan.Step{Kind: plan.StepHuman, Ref: "h"})
	}
	s := rapid.SampledFrom(refs).Draw(t, id)
	s.ID = id
	s.OnError = rapid.SampledFrom([]string{"fail", "continue", "retry", "fallback"}).Draw(t, id+" on_error")
	s.MaxRetries = rapid.Int64Range(0, 2).Draw(t, id+" retries")
	return s
}

func anyWorkflow(t *rapid.T, name string, people bool) *plan.Workflow {
	kind := rapid.SampledFrom([]plan.Kind{plan.Sequential, plan.Graph, plan.Concurrent, plan.Handoff, plan.GroupChat}).Draw(t, name)
	w := &plan.Workflow{Name: name, Kind: kind, Rounds: rapid.Int64Range(1, 2).Draw(t, name+" rounds"), MaxSteps: rapid.Int64Range(1, 9).Draw(t, name+" steps")}
	n := rapid.IntRange(1, 4).Draw(t, name+" n")
	for i := range n {
		s := anyStep(t, fmt.Sprintf("%s%d", name, i), people)
		if s.OnError == "fallback" && kind != plan.Concurrent {
			s.Fallback = fmt.Sprintf("%s%d", name, rapid.IntRange(0, n-1).Draw(t, "fallback"))
		}
		w.Steps = append(w.Steps, s)
	}
	for i := range w.Steps { // a person is no fallback
		if f := w.Steps[i].Fallback; f != "" {
			for _, o := range w.Steps {
				if o.ID == f && o.Kind == plan.StepHuman {
					w.Steps[i].Fallback = ""
				}
			}
		}
	}
	w.Start = w.Steps[0].ID
	for range rapid.IntRange(0, 5).Draw(t, name+" edges") {
		from := rapid.SampledFrom(w.Steps).Draw(t, "from").ID
		to := rapid.SampledFrom(w.Steps).Draw(t, "to").ID
		c := rapid.SampledFrom([]*plan.Condition{nil, contains("["), is("status_is", `"failed"`), {Type: "never"}}).Draw(t, "condition")
		w.Edges = append(w.Edges, edge(from, to, c))
	}
	return w
}

func anyPlan(t *rapid.T) *plan.Plan {
	p := planOf(anyWorkflow(t, "r", true))
	drawn := anyWorkflow(t, "d", false)
	for i := range drawn.Steps {
		if drawn.Steps[i].Ref == "drawn" {
			drawn.Steps[i].Ref = "inner"
		}
	}
	p.Workflows["drawn"] = drawn
	if rapid.Bool().Draw(t, "guardrail") {
		p.StepGuardrails = []plan.Guardrail{{ID: "g"}}
	}
	return p
}

// TestAnyPlan runs random plans in random orders: they end, repeat nothing, and their journal rebuilds the same state at every point.
func TestAnyPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan(t)
		w := newWorld(p)
		for range 40 {
			w.decisions = append(w.decisions, decide(rapid.SampledFrom([]string{"approved", "rejected", "edited"}).Draw(t, "decision"), "c"))
		}
		s := New("", "x")
		w.drive(s, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
		if s.Status == "" && len(w.decisions) > 0 {
			t.Fatalf("stuck")
		}
		seen := map[string]bool{}
		for _, k := range w.calls {
			if seen[k] {
				t.Fatalf("action %s was performed twice", k)
			}
			seen[k] = true
		}
		sequence(w.journal)
		rebuilt, err := Rebuild(p, "", "x", w.journal)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := stateText(t, s), stateText(t, rebuilt.State); a != b {
			t.Fatalf("rebuilt state differs:\n%s\n%s", a, b)
		}
		cut := rapid.IntRange(0, len(w.journal)).Draw(t, "cut")
		half, err := Rebuild(p, "", "x", w.journal[:cut])
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range Next(p, half.State) {
			for i, e := range w.journal[:cut] {
				if e.Kind == run.EntryStep && e.Key == a.Key && a.Kind != Done && a.Kind != Fail {
					t.Fatalf("entry %d of %d: action %s is journaled and wanted again", i, cut, a.Key)
				}
			}
		}
	})
}

func sequence(list []run.Entry) {
	for i := range list {
		list[i].Sequence = int64(i + 1)
	}
}

func stateText(t *rapid.T, s *State) string {
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

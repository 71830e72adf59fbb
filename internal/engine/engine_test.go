package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

type want struct {
	status  run.Status
	output  string
	visited string
	rows    string
	trace   string
	failure string
}

func TestWorkflows(t *testing.T) {
	sel := &plan.Workflow{Name: "w", Kind: plan.Handoff, Steps: []plan.Step{fn("u", "upper"), fn("c", "bracket")}, Selector: "sequence", Sequence: []string{"c", "u", "c"}}
	two := int64(2)
	robin := &plan.Workflow{
		Name: "w", Kind: plan.Handoff, Selector: "round_robin", Sequence: []string{"c"}, MaxIterations: &two,
		Steps: []plan.Step{fn("u", "upper"), fn("c", "bracket"), fn("d", "bracket")},
	}
	chat := orchestrated(plan.GroupChat, ag("p", "a"))
	chat.Rounds = 3
	tests := []struct {
		name      string
		workflow  *plan.Workflow
		target    string
		input     string
		decisions []Decision
		want      want
	}{
		{"agent alone", sequential(fn("u", "upper")), "agent", "hi", nil, want{run.Completed, "Final answer: hi", "", "", "run_started, run_completed", ""}},
		{"no workflow", nil, "workflow", "hi", nil, want{run.Completed, "Final answer: hi", "", "", "run_started, run_completed", ""}},
		{"sequence", sequential(ag("s1", "a"), fn("s2", "upper"), ag("s3", "b")), "", "hello", nil, want{
			run.Completed, "Final answer: FINAL ANSWER: HELLO", "s1 s2 s3", "completed s1, completed s2, completed s3",
			"workflow_started, run_started, run_completed, run_started, run_completed, workflow_completed", "",
		}},
		{"same agent twice", sequential(ag("s1", "a"), ag("s2", "a")), "", "x", nil, want{run.Completed, "Final answer: Final answer: x", "s1 s2", "completed s1, completed s2", "", ""}},
		{"failure", sequential(fn("a", "upper"), fn("b", "fail"), fn("c", "upper")), "", "x", nil, want{
			run.Failed, "", "a", "completed a, failed b", "workflow_started", "offline",
		}},
		{"retries exhausted", sequential(fn("a", "fail", retries(2))), "", "x", nil, want{run.Failed, "", "", "failed a", "", "offline"}},
		{"retry helps", sequential(fn("a", "flaky", retries(1))), "", "x", nil, want{run.Completed, "ok:x", "a", "completed a", "", ""}},
		{"retry needs a number", sequential(fn("a", "flaky", onError("retry"))), "", "x", nil, want{run.Failed, "", "", "failed a", "", "glitch"}},
		{"continue", sequential(fn("a", "fail", onError("continue")), fn("b", "upper")), "", "x", nil, want{run.Completed, "X", "a b", "completed a, completed b", "", ""}},
		{"fallback runs again in its place", sequential(fn("a", "fail", fallback("b")), fn("b", "bracket")), "", "x", nil, want{
			run.Completed, "[[x]]", "a b", "completed a, completed b", "", "",
		}},
		{"fallback that fails", sequential(fn("a", "fail", fallback("b")), fn("b", "fail", onError("continue"))), "", "x", nil, want{run.Failed, "", "", "failed a", "", "offline"}},
		{"fallback is gone", sequential(fn("a", "fail", fallback("zz"))), "", "x", nil, want{run.Failed, "", "", "failed a", "", "offline"}},
		{"nested", sequential(fn("o1", "bracket"), wfl("o2", "inner"), fn("o3", "bracket")), "", "hello", nil, want{
			run.Completed, "[[[HELLO]]]", "o1 o2 o3", "completed o1, completed i1, completed i2, completed o2, completed o3",
			"workflow_started, step_entered, workflow_started, workflow_completed, workflow_completed", "",
		}},
		{"nested cap is swallowed", sequential(wfl("o", "loop"), fn("z", "upper")), "", "x", nil, want{
			run.Completed, "[[X]]", "o z", "completed x, completed x2, completed o, completed z", "", "",
		}},
		{"nested failure is retried whole", sequential(wfl("o", "bad", retries(1))), "", "x", nil, want{
			run.Completed, "ok:X", "o", "completed j1, failed j2, completed j12, completed j22, completed o", "", "",
		}},
		{"agent backed by a workflow", sequential(ag("s", "wf"), fn("z", "bracket")), "", "x", nil, want{
			run.Completed, "[[X]]", "s z", "completed i1, completed i2, completed s, completed z",
			"workflow_started, run_started, run_completed, workflow_completed", "",
		}},
		{"concurrent", orchestrated(plan.Concurrent, ag("w", "a"), fn("u", "upper"), ag("c", "b")), "", "hello", nil, want{
			run.Completed, "Final answer: hello", "w u c", "completed w, completed u, completed c", "", "",
		}},
		{"concurrent, first failure in declared order", orchestrated(plan.Concurrent, fn("u", "upper"), fn("f", "fail"), fn("g", "flaky")), "", "x", nil, want{
			run.Failed, "", "u", "completed u, failed f, failed g", "", "offline",
		}},
		{"concurrent with a person", orchestrated(plan.Concurrent, fn("u", "upper"), hu("h"), fn("b", "bracket")), "", "x", []Decision{decide("approved", "")}, want{
			run.Completed, "[x]", "u h b", "completed u, completed b, completed h", "", "",
		}},
		{"handoff sequence", sel, "", "x", nil, want{run.Completed, "[[X]]", "c u c", "completed c, completed u, completed c2", "", ""}},
		{"handoff round robin", robin, "", "x", nil, want{run.Completed, "[X]", "u c", "completed u, completed c", "", ""}},
		{"handoff with a person last", orchestrated(plan.Handoff, fn("u", "upper"), hu("h")), "", "x", []Decision{decide("edited", "E")}, want{
			run.Completed, "E", "u h", "completed u, completed h", "", "",
		}},
		{"group chat", chat, "", "x", nil, want{run.Completed, "Final answer: Final answer: Final answer: x", "p p p", "completed p, completed p2, completed p3", "", ""}},
		{"person in the middle", sequential(fn("u", "upper"), hu("h"), fn("b", "bracket")), "", "x", []Decision{decide("rejected", "no")}, want{
			run.Completed, "[Rejected by human reviewer: no]", "u h b", "completed u, completed h, completed b",
			"workflow_started, workflow_resumed, workflow_completed", "",
		}},
		{"person last", sequential(fn("u", "upper"), hu("h")), "", "x", []Decision{decide("approved", "")}, want{run.Completed, "X", "u h", "completed u, completed h", "", ""}},
		{"person unanswered", sequential(hu("h")), "", "x", nil, want{"", "", "", "", "workflow_started", ""}},
		{"empty output", sequential(fn("a", "empty"), ag("b", "a")), "", "x", nil, want{run.Completed, "Final answer: ", "a b", "", "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, planOf(tt.workflow), tt.target, tt.input, tt.decisions, tt.want)
		})
	}
}

func check(t *testing.T, p *plan.Plan, target, input string, decisions []Decision, x want) *State {
	t.Helper()
	s := New(target, input)
	w := newWorld(p, decisions...)
	w.drive(s, first)
	if s.Status != x.status || s.Output != x.output {
		t.Errorf("got %s %q, want %s %q", s.Status, s.Output, x.status, x.output)
	}
	if got := strings.Join(s.Root.Visited, " "); got != x.visited {
		t.Errorf("visited %q, want %q", got, x.visited)
	}
	if x.rows != "" && w.rows() != x.rows {
		t.Errorf("rows %q, want %q", w.rows(), x.rows)
	}
	if x.trace != "" && w.trace() != x.trace {
		t.Errorf("trace %q, want %q", w.trace(), x.trace)
	}
	failure := ""
	if s.Failure != nil {
		failure = s.Failure.Message
	}
	if failure != x.failure {
		t.Errorf("failure %q, want %q", failure, x.failure)
	}
	return s
}

func TestGraphs(t *testing.T) {
	cub := []plan.Step{fn("c", "flaky", retries(1)), fn("u", "upper"), fn("b", "bracket")}
	fu := []plan.Step{fn("f", "fail", onError("continue")), fn("u", "upper"), fn("b", "bracket")}
	fb := []plan.Step{fn("f", "fail", fallback("b")), fn("u", "upper"), fn("b", "bracket")}
	yes, no := &plan.Condition{Type: "always"}, &plan.Condition{Type: "never"}
	tests := []struct {
		name     string
		workflow *plan.Workflow
		input    string
		want     want
	}{
		{"route", graph(50, cub, edge("c", "u", contains("OK:")), edge("c", "b", nil)), "x", want{run.Completed, "OK:X", "c u", "completed c, completed u", "workflow_started, workflow_completed", ""}},
		{"case sensitive", graph(50, cub, edge("c", "u", &plan.Condition{Type: "output_contains", Value: json.RawMessage(`"OK:"`), CaseSensitive: true}), edge("c", "b", nil)), "x", want{run.Completed, "[ok:x]", "c b", "", "", ""}},
		{"first match", graph(50, cub, edge("c", "u", yes), edge("c", "b", yes)), "x", want{run.Completed, "OK:X", "c u", "", "", ""}},
		{"no match", graph(50, cub, edge("c", "u", no)), "x", want{run.Completed, "ok:x", "c", "", "", ""}},
		{"equals", graph(50, cub, edge("c", "b", is("output_equals", `"OK:X"`))), "x", want{run.Completed, "[ok:x]", "c b", "", "", ""}},
		{"status", graph(50, fu, edge("f", "u", is("status_is", `"failed"`)), edge("f", "b", nil)), "x", want{run.Completed, "X", "f u", "failed f, completed u", "", ""}},
		{"metadata of a failure", graph(50, fu, edge("f", "u", &plan.Condition{Type: "metadata_equals", Key: "node_failed", Value: json.RawMessage(`true`)})), "x", want{run.Completed, "X", "f u", "", "", ""}},
		{"metadata of a function", graph(50, cub, edge("c", "b", &plan.Condition{Type: "metadata_equals", Key: "node_kind", Value: json.RawMessage(`"function"`)})), "x", want{run.Completed, "[ok:x]", "c b", "", "", ""}},
		{"fallback", graph(50, fb, edge("f", "u", nil)), "x", want{run.Completed, "[X]", "f u", "failed f, completed f2, completed u", "", ""}},
		{"fallback metadata", graph(50, fb, edge("f", "u", &plan.Condition{Type: "metadata_equals", Key: "fallback_for", Value: json.RawMessage(`"f"`)})), "x", want{run.Completed, "[X]", "f u", "", "", ""}},
		{"cap", graph(3, []plan.Step{fn("b", "bracket")}, edge("b", "b", nil)), "x", want{run.MaxIterations, "[[[x]]]", "b b b", "completed b, completed b2, completed b3", "workflow_started, workflow_failed", ""}},
		{"variables are empty", graph(50, cub, edge("c", "u", is("variable_equals", `"x"`)), edge("c", "b", nil)), "x", want{run.Completed, "[ok:x]", "c b", "", "", ""}},
		{"logic", graph(50, cub, edge("c", "u", &plan.Condition{Type: "all_of", Conditions: []plan.Condition{*yes, *no}}), edge("c", "b", &plan.Condition{Type: "any_of", Conditions: []plan.Condition{*no, {Type: "not", Condition: no}}})), "x", want{run.Completed, "[ok:x]", "c b", "", "", ""}},
		{"failure", graph(50, []plan.Step{fn("u", "upper"), fn("f", "fail")}, edge("u", "f", nil)), "x", want{run.Failed, "", "u", "completed u, failed f", "workflow_started, workflow_failed", "offline"}},
		{"empty output adds nothing", graph(50, []plan.Step{fn("u", "upper"), fn("e", "empty"), fn("b", "bracket")}, edge("u", "e", nil), edge("e", "b", nil)), "x", want{run.Completed, "[X]", "u e b", "", "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, planOf(tt.workflow), "", tt.input, nil, tt.want)
		})
	}
}

// TestRevisedTextGoesOn holds a step guardrail against every kind of workflow (decision X6).
func TestRevisedTextGoesOn(t *testing.T) {
	for _, w := range []*plan.Workflow{
		sequential(ag("p", "a"), ag("q", "a")),
		sequential(fn("p", "bracket"), ag("q", "b")),
		graph(9, []plan.Step{ag("p", "a"), ag("q", "b")}, edge("p", "q", nil)),
		orchestrated(plan.Concurrent, ag("p", "a"), fn("q", "bracket")),
		orchestrated(plan.Handoff, fn("p", "bracket"), ag("q", "b")),
		orchestrated(plan.GroupChat, ag("p", "a"), ag("q", "b")),
		sequential(wfl("p", "inner"), ag("q", "b")),
	} {
		p := planOf(w)
		p.StepGuardrails = []plan.Guardrail{{ID: "g"}}
		s := New("", "leak")
		newWorld(p).drive(s, first)
		if s.Status != run.Completed || strings.Contains(s.Output, "leak") {
			t.Errorf("%s: %s %q", w.Kind, s.Status, s.Output)
		}
		for _, h := range s.Histories {
			for _, m := range h {
				if m.Role == "assistant" && strings.Contains(m.Content, "leak") {
					t.Errorf("%s: history keeps %q", w.Kind, m.Content)
				}
			}
		}
	}
}

// TestViolationIsNeverSwallowed gives a refused step every error policy.
func TestViolationIsNeverSwallowed(t *testing.T) {
	for _, opt := range []func(*plan.Step){onError("continue"), fallback("z"), retries(3)} {
		for _, w := range []*plan.Workflow{
			sequential(ag("p", "a", opt), fn("z", "upper")),
			graph(9, []plan.Step{ag("p", "a", opt), fn("z", "upper")}, edge("p", "z", nil)),
			orchestrated(plan.Concurrent, ag("p", "a", opt), fn("z", "upper")),
		} {
			p := planOf(w)
			p.StepGuardrails = []plan.Guardrail{{ID: "g"}}
			s := New("", "forbidden")
			newWorld(p).drive(s, first)
			if s.Status != run.Failed || s.Failure.Violation == "" {
				t.Errorf("%s: %s %+v", w.Kind, s.Status, s.Failure)
			}
		}
	}
}

func TestHistoryBelongsToTheLeg(t *testing.T) {
	p := planOf(sequential(ag("s1", "a"), ag("s2", "a"), hu("h"), ag("s3", "a"), ag("s4", "mute"), ag("s5", "mute")))
	w := newWorld(p, decide("approved", ""))
	s := New("", "x")
	w.drive(s, first)
	var counts []int
	for _, e := range w.events {
		if e.Kind == AgentStarted {
			counts = append(counts, e.MessageCount)
		}
	}
	if got := mustJSON(t, counts); got != "[1,3,1,1,1]" {
		t.Errorf("message counts %s", got)
	}
}

func TestContinueRunsOnlyWhatFailed(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    *plan.Workflow
		rows string
		out  string
	}{
		{"sequential", sequential(fn("u", "upper"), fn("f", "flaky"), fn("b", "bracket")), "completed u, failed f, completed f2, completed b", "[ok:X]"},
		{"graph", graph(9, []plan.Step{fn("u", "upper"), fn("f", "flaky"), fn("b", "bracket")}, edge("u", "f", nil), edge("f", "b", nil)), "completed u, failed f, completed f2, completed b", "[ok:X]"},
		{"concurrent", orchestrated(plan.Concurrent, fn("u", "upper"), fn("f", "flaky")), "completed u, failed f, completed f2", "ok:x"},
		{"nested", sequential(wfl("o", "bad"), fn("b", "bracket")), "completed j1, failed j2, failed o, completed j22, completed o2, completed b", "[ok:X]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planOf(tt.w)
			w := newWorld(p)
			s := New("", "x")
			w.drive(s, first)
			if s.Status != run.Failed {
				t.Fatalf("status %s", s.Status)
			}
			Continue(p, s)
			w.events = append(w.events, s.Events()...)
			w.drive(s, first)
			if s.Status != run.Completed || s.Output != tt.out || w.rows() != tt.rows {
				t.Errorf("%s %q, rows %q", s.Status, s.Output, w.rows())
			}
			for i, k := range w.calls {
				for _, o := range w.calls[:i] {
					if k == o {
						t.Errorf("call %s twice", k)
					}
				}
			}
		})
	}
}

func TestRejectionCanFail(t *testing.T) {
	p := planOf(sequential(hu("h"), fn("b", "bracket")))
	p.Humans["h"].OnReject = "fail"
	s := New("", "x")
	newWorld(p, decide("rejected", "no")).drive(s, first)
	if s.Status != run.Failed || s.Failure.Type != run.FailHumanRejected {
		t.Errorf("%s %+v", s.Status, s.Failure)
	}
}

func TestTimeLimitOfAnEnclosingStep(t *testing.T) {
	one := int64(1)
	limit := func(s *plan.Step) { s.TimeoutSeconds = &one }
	p := planOf(sequential(wfl("o", "inner", limit, onError("continue")), fn("b", "bracket")))
	s := New("", "x")
	actions := Next(p, s)
	if len(actions[0].Scopes) != 1 || actions[0].Scopes[0].TimeoutSeconds != 1 {
		t.Fatalf("scopes %+v", actions[0].Scopes)
	}
	if err := Apply(p, s, Result{Key: actions[0].Key, Err: &Failure{Type: run.FailTimeout, Scope: actions[0].Scopes[0].Key}}); err != nil {
		t.Fatal(err)
	}
	newWorld(p).drive(s, first)
	if s.Output != "[x]" {
		t.Errorf("output %q", s.Output)
	}
}

func TestCutOffCallAsksAPerson(t *testing.T) {
	p := planOf(sequential(ag("s", "a"), fn("b", "bracket")))
	for _, tt := range []struct {
		d      Decision
		status run.Status
	}{
		{Decision{Decision: "provided"}, run.Completed},
		{Decision{Decision: "selected", SelectedOption: ptr(AskRepeat)}, run.Completed},
		{Decision{Decision: "selected", SelectedOption: ptr(AskStop)}, run.Failed},
		{Decision{Decision: "rejected"}, run.Failed},
	} {
		s := New("", "x")
		key := Next(p, s)[0].Key
		ask := Result{Key: key, Ask: &Ask{CallKey: key + "/tool/1/0", Name: "pay"}}
		if err := Apply(p, s, ask); err != nil {
			t.Fatal(err)
		}
		actions := Next(p, s)
		if !Blocked(actions) || actions[0].Gate.Ask == nil {
			t.Fatalf("actions %+v", actions)
		}
		gate := actions[0].Key
		if err := Apply(p, s, Result{Key: gate, Decision: &tt.d}); err != nil {
			t.Fatal(err)
		}
		if s.Status == "" {
			if again := Next(p, s)[0].Key; again != key {
				t.Errorf("the step runs again as %s, was %s", again, key)
			}
			newWorld(p).drive(s, first)
		}
		if s.Status != tt.status {
			t.Errorf("%s: %s", tt.d.Decision, s.Status)
		}
		askEntry, _ := StepEntry(ask, true)
		human, _ := HumanEntry(gate, "1", &tt.d)
		rebuilt, err := Rebuild(p, "", "x", []run.Entry{askEntry, human})
		if err != nil || len(rebuilt.Answers) != 1 || rebuilt.Answers[0].CallKey != key+"/tool/1/0" {
			t.Errorf("rebuilt %+v, %v", rebuilt.Answers, err)
		}
	}
}

func ptr(s string) *string { return &s }

func TestReopenUndoesAnAnswer(t *testing.T) {
	p := planOf(sequential(fn("u", "upper"), hu("h"), fn("f", "flaky")))
	w := newWorld(p, decide("edited", "bad"))
	s := New("", "x")
	w.drive(s, first)
	human := ""
	for _, e := range w.journal {
		if e.Kind == run.EntryHuman {
			human = e.Key
		}
	}
	journal := append(w.journal, ReopenEntry(human))
	rebuilt, err := Rebuild(p, "", "x", journal)
	if err != nil {
		t.Fatal(err)
	}
	if !Blocked(Next(p, rebuilt.State)) || rebuilt.State.Leg != 2 {
		t.Fatalf("not blocked, or leg %d", rebuilt.State.Leg)
	}
	w.decisions = []Decision{decide("edited", "good")}
	w.drive(rebuilt.State, first)
	if rebuilt.State.Output != "ok:good" {
		t.Errorf("output %q", rebuilt.State.Output)
	}
	for i, k := range w.calls {
		for _, o := range w.calls[:i] {
			if k == o {
				t.Errorf("key %s used twice", k)
			}
		}
	}
}

package guardrails

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"), goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func open(t *testing.T) store.Store {
	t.Helper()
	s, err := sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.sqlite"), Normal: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// bench runs specs on the obedient model.
func bench(t *testing.T, s store.Store) *testkit.Bench {
	t.Helper()
	b := testkit.NewBenchOn(t, s)
	b.Models = llm.NewRegistry(llm.RegistryOptions{Definitions: map[string]llm.Definition{
		llm.Dummy: {Open: func(llm.Endpoint) (llm.Provider, error) { return obedient{}, nil }, KeyFree: true},
	}})
	return b
}

// base is a spec without a workflow: the guarded agent x, a reviewer, and tools that only a policy keeps from being called.
func base(x object) object {
	x["name"] = "x"
	for k, v := range map[string]any{"model": "kit", "strategy": "react"} {
		if x[k] == nil {
			x[k] = v
		}
	}
	tool := func() object {
		return object{
			"description": "d", "implementation": "kit.functions.web_search",
			"parameters": object{"type": "object", "properties": object{"query": object{"type": "string"}}, "additionalProperties": true},
		}
	}
	return object{
		"agent":      object{"name": "root", "model": "kit"},
		"tools":      object{"web_search": tool(), "purge": tool()},
		"components": object{"agents": object{"x": x, "reviewer": object{"name": "reviewer", "model": "kit"}}, "humans": object{"h": object{"description": "Check"}}},
	}
}

// result is the end of a run.
type result struct {
	row     run.Run
	last    *problem.Error
	bracket int
	search  int
}

func play(t *testing.T, s store.Store, k kind, spec object, input string) result {
	t.Helper()
	b := bench(t, s)
	k.build(spec)
	sc := testkit.Scenario{Input: input}
	if err := sc.Spec.Encode(spec); err != nil {
		t.Fatal(err)
	}
	if k.resumes {
		sc.Input = "draft"
		sc.Then = []testkit.Act{{Decide: "edited", Content: &input}}
	}
	r := b.Play(&sc)
	return result{b.Row(r.RunID), r.Last.Problem, b.Handlers.Calls("bracket"), b.Handlers.Calls("web_search")}
}

// rules are one of each type; each refuses "leak" and lets everything else pass.
var rules = []object{
	{"id": "g", "type": "keyword", "config": object{"keywords": []any{"LEAK"}}},
	{"id": "g", "type": "regex", "config": object{"patterns": []any{`l[e3]a(?=k)`}}},
	{"id": "g", "type": "function", "ref": "noleak"},
	{"id": "g", "type": "agent", "ref": "reviewer"},
}

func with(rule object, action string) object {
	out := object{"action": action}
	for k, v := range rule {
		out[k] = v
	}
	return out
}

// stages are where a rule can sit, and the input that brings a leak there and nowhere earlier.
var stages = []struct{ name, bad, good string }{
	{"input", "a leak", "a word"},
	{"output", "a leak", "a word"},
	{"tool", "search a leak", "search a word"},
	{"workflow", "a leak", "a word"},
}

// guard puts a rule into a stage.
func guard(stage string, rule object) object {
	x := object{"tools": []any{"web_search"}}
	if stage != "workflow" {
		x["guardrails"] = object{stage: []any{rule}}
	}
	spec := base(x)
	if stage == "workflow" {
		spec["agent"].(object)["guardrails"] = object{stage: []any{rule}}
	}
	return spec
}

// TestNoWayAround: a refused text ends the run in every kind, whatever the step says about errors; a good one goes through.
func TestNoWayAround(t *testing.T) {
	s := open(t)
	for _, k := range kinds {
		for _, stage := range stages {
			for _, rule := range rules {
				t.Run(fmt.Sprintf("%s/%s/%s", k.name, stage.name, rule["type"]), func(t *testing.T) {
					bad := play(t, s, k, guard(stage.name, with(rule, "block")), stage.bad)
					refused(t, k, bad)
					if k.reviews {
						return // x is shown a question, not the text alone, and its answer is no step's output
					}
					good := play(t, s, k, guard(stage.name, with(rule, "block")), stage.good)
					if good.row.Status != run.Completed || k.after && good.bracket != 1 {
						t.Errorf("a good text: %s %+v, %d calls after it", good.row.Status, good.row.Error, good.bracket)
					}
				})
			}
		}
	}
}

// refused checks that nothing went on. An answer of a person that is refused leaves the task open (decision X19).
func refused(t *testing.T, k kind, r result) {
	t.Helper()
	if r.bracket != 0 {
		t.Errorf("the next step ran")
	}
	if r.last == nil || r.last.Code != problem.GuardrailViolation {
		t.Errorf("answer %v", r.last)
	}
	if r.row.Output != nil && strings.Contains(*r.row.Output, "leak") {
		t.Errorf("output %q", *r.row.Output)
	}
	if k.resumes {
		if r.row.Status != run.Blocked {
			t.Errorf("run %s", r.row.Status)
		}
		return
	}
	if r.row.Status != run.Failed || r.row.Error == nil || r.row.Error.Type != run.FailGuardrail {
		t.Errorf("run %s %+v", r.row.Status, r.row.Error)
	}
}

// TestAbortingActions: the actions that only sound milder end the run as well.
func TestAbortingActions(t *testing.T) {
	s := open(t)
	for _, stage := range stages {
		for _, action := range []string{"block", "escalate", "human_review", "retry"} {
			t.Run(stage.name+"/"+action, func(t *testing.T) {
				refused(t, kinds[0], play(t, s, kinds[0], guard(stage.name, with(rules[0], action)), stage.bad))
			})
		}
	}
}

// TestOnlyTheRewrittenTextGoesOn: what a rule replaced is in no later step, no output and no stored message.
func TestOnlyTheRewrittenTextGoesOn(t *testing.T) {
	s := open(t)
	for _, k := range kinds {
		for _, tt := range []struct{ stage, action, bad string }{
			{"output", "revise", "a leak"}, {"workflow", "revise", "a leak"}, {"workflow", "redact", "a leak"}, {"tool", "redact", "search a leak"},
		} {
			if k.reviews {
				continue
			}
			t.Run(k.name+"/"+tt.stage+"/"+tt.action, func(t *testing.T) {
				r := play(t, s, k, guard(tt.stage, with(rules[2], tt.action)), tt.bad)
				if r.row.Status != run.Completed || r.row.Output == nil {
					t.Fatalf("run %s %+v", r.row.Status, r.row.Error)
				}
				if out := *r.row.Output; strings.Contains(out, "leak") && k.after {
					t.Errorf("output %q", out)
				}
				if k.after && r.bracket != 1 {
					t.Errorf("the next step ran %d times", r.bracket)
				}
			})
		}
	}
}

// TestFunctionStepsAreChecked: the workflow stage sees what functions, nested workflows and people say.
func TestFunctionStepsAreChecked(t *testing.T) {
	s := open(t)
	for _, k := range kinds {
		if k.name == "guardrail step" || k.name == "agent as tool" || k.name == "after a person" || k.reviews {
			continue // their step is an agent by nature
		}
		t.Run(k.name, func(t *testing.T) {
			spec := guard("workflow", with(rules[0], "block"))
			build := k.build
			k.build = func(spec object) {
				build(spec)
				toFunction(spec)
			}
			refused(t, k, play(t, s, k, spec, "a leak"))
		})
	}
}

// toFunction replaces the steps on agent x by the function identity.
func toFunction(v any) {
	switch v := v.(type) {
	case object:
		if v["kind"] == "agent" && v["ref"] == "x" {
			v["kind"], v["ref"] = "function", "identity"
		}
		for _, item := range v {
			toFunction(item)
		}
	case []any:
		for _, item := range v {
			toFunction(item)
		}
	}
}

// policies are tool policies with calls that must not be made.
var policies = []struct {
	name   string
	tools  object
	call   string
	silent bool // the model is told, and the run goes on
}{
	{"excluded", object{"include": []any{"web_search"}, "exclude": []any{"purge"}}, `call purge {"query":"all"}`, false},
	{"not included", object{"include": []any{"purge"}}, `call web_search {"query":"all"}`, true},
	{"no tools", nil, `call web_search {"query":"all"}`, true},
	{"schema", object{"include": []any{"web_search"}}, `call web_search {"query":7}`, false},
	{"denied domain", domains(nil, "evil.org"), `call web_search {"query":"https://evil.org/x"}`, false},
	{"denied subdomain", domains(nil, "evil.org"), `call web_search {"query":"https://a.evil.org/x"}`, false},
	{"not an allowed domain", domains([]any{"good.org"}, ""), `call web_search {"query":"https://evil.org/x"}`, false},
	{"user name in front", domains([]any{"good.org"}, ""), `call web_search {"query":"https://good.org@evil.org/"}`, false},
	{"backslashes", domains(nil, "evil.org"), `call web_search {"query":"https:\\\\evil.org\\x"}`, false},
	{"no scheme", domains(nil, "evil.org"), `call web_search {"query":"//evil.org/x"}`, false},
	{"upper case and dot", domains(nil, "evil.org"), `call web_search {"query":"HTTPS://EVIL.ORG./"}`, false},
	{"full width", domains(nil, "evil.org"), `call web_search {"query":"https://ｅｖｉｌ.org/"}`, false},
	{"line break", domains(nil, "evil.org"), `call web_search {"query":"https://ev\nil.org/"}`, false},
	{"escaped", domains(nil, "evil.org"), `call web_search {"query":"https:\u002f\u002fevil.org"}`, false},
	{"deep in a list", domains(nil, "evil.org"), `call web_search {"query":"x","more":[{"a":["https://evil.org"]}]}`, false},
	{"in a key", domains(nil, "evil.org"), `call web_search {"query":"x","more":{"https://evil.org":1}}`, false},
}

func domains(allowed []any, denied string) object {
	p := object{}
	if allowed != nil {
		p["allowed_domains"] = allowed
	}
	if denied != "" {
		p["denied_domains"] = []any{denied}
	}
	return object{"include": []any{"web_search"}, "permissions": p}
}

// TestToolPolicies: a call that a policy forbids reaches no handler in any kind.
func TestToolPolicies(t *testing.T) {
	s := open(t)
	for _, k := range kinds {
		for _, p := range policies {
			t.Run(k.name+"/"+p.name, func(t *testing.T) {
				x := object{}
				if p.tools != nil {
					x["tools"] = p.tools
				}
				r := play(t, s, k, base(x), p.call)
				if r.search != 0 {
					t.Errorf("the tool was called %d times", r.search)
				}
				if !p.silent && !k.reviews {
					refused(t, k, r)
				}
			})
		}
	}
}

// TestStepsBehindATool: the workflow stage sees every step of a workflow that another agent calls, not only what comes out of it.
func TestStepsBehindATool(t *testing.T) {
	s := open(t)
	for _, what := range []string{"agent", "function"} {
		t.Run(what, func(t *testing.T) {
			k := kinds[0]
			k.build = func(spec object) {
				first := step("x", "agent", "x")
				if what == "function" {
					first = step("x", "function", "identity")
				}
				components(spec)["workflows"] = object{"inner": object{"type": "sequential", "steps": []any{first, step("u", "function", "upper")}}}
				spec["tools"].(object)["ask"] = object{"description": "d", "agent": "team"}
				agents := components(spec)["agents"].(object)
				agents["team"] = object{"name": "team", "as_agent": "inner"}
				agents["boss"] = object{"name": "boss", "model": "kit", "strategy": "react", "tools": []any{"ask"}}
				spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("agent", "boss"), bracket}}
			}
			refused(t, k, play(t, s, k, guard("workflow", with(rules[2], "block")), "a leak"))
		})
	}
}

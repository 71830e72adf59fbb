package compile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestPlans compares whole plans of specs that use much of the language.
func TestPlans(t *testing.T) {
	for _, name := range []string{
		"02_sequential_error_policies", "04_graph_routing", "09_handoff_round_robin", "12_human_taxonomy", "14_tools_permissions",
		"15_composition", "16_mcp_servers", "17_guardrails", "18_memory", "19_skills",
	} {
		t.Run(name, func(t *testing.T) {
			doc, _ := load(t, name+".yaml")
			p, found := Compile(doc, Options{Skills: corpusSkills})
			if p == nil {
				t.Fatal(found.Text())
			}
			data, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, data, "", " "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(filepath.Clean(path))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDisabledSteps(t *testing.T) {
	doc, _ := parse(t, `version: v1
agent: {name: r}
components: {agents: {a: {name: a}}}
workflow:
  type: graph
  start: one
  nodes:
    one: {id: one, kind: agent, ref: a}
    gone: {id: gone, kind: agent, ref: a, enabled: false}
    two: {id: two, kind: agent, ref: a, on_error: fallback, fallback_ref: one}
  edges: [{from: one, to: gone}, {from: gone, to: two}, {from: one, to: two, label: go}]
`)
	p, found := Compile(doc, Options{})
	if p == nil {
		t.Fatal(found.Text())
	}
	label := "go"
	want := &plan.Workflow{
		Name: "graph-workflow", Kind: plan.Graph, Start: "one", MaxSteps: 50,
		Steps: []plan.Step{
			{ID: "one", Kind: plan.StepAgent, Ref: "a", OnError: "fail"},
			{ID: "two", Kind: plan.StepAgent, Ref: "a", OnError: "fallback", Fallback: "one"},
		},
		Edges: []plan.Edge{{From: "one", To: "two", Label: &label}},
	}
	if diff := cmp.Diff(want, p.Workflow); diff != "" {
		t.Error(diff)
	}
}

func TestDisabledFallbackFails(t *testing.T) {
	doc, _ := parse(t, `version: v1
agent: {name: r}
components: {agents: {a: {name: a}}}
workflow:
  type: sequential
  steps:
    - {id: one, kind: agent, ref: a, on_error: fallback, fallback_ref: two}
    - {id: two, kind: agent, ref: a, enabled: false}
`)
	p, found := Compile(doc, Options{})
	if p == nil {
		t.Fatal(found.Text())
	}
	if s := p.Workflow.Steps; len(s) != 1 || s[0].OnError != "fail" || s[0].Fallback != "" {
		t.Errorf("steps %+v", s)
	}
}

func TestSkills(t *testing.T) {
	object := json.RawMessage(`{"type":"object"}`)
	skills := map[string]Skill{
		"s": {
			Strict: true, Instructions: "  Be kind.\n", Tools: []plan.SkillTool{{Name: "t", Description: "d", Parameters: object}},
			Defaults: spec.NewMapping().With("max_iterations", spec.NewInt(3)).With("temperature", spec.NewString("0.1")).With("raise_on_max_iterations", spec.NewBool(true)),
		},
		"loose": {Instructions: "Be brief.", Tools: []plan.SkillTool{{Name: "u"}}},
		"other": {Strict: true, Tools: []plan.SkillTool{{Name: "t", Description: "another", Parameters: object}}},
	}
	const head = "version: v1\nskills: {s: {source: s}, loose: {source: l}, other: {source: o}}\nagent: {name: r, system_prompt: ' SP ', strategy: {type: react, max_iterations: 8}, "
	doc, _ := parse(t, head+"skills: [loose, s], model: {provider: dummy, name: m, temperature: 0.9}}\n")
	p, found := Compile(doc, Options{Skills: skills})
	if p == nil {
		t.Fatal(found.Text())
	}
	if p.Root.SystemPrompt != "SP\n\nBe brief.\n\nBe kind." {
		t.Errorf("prompt %q", p.Root.SystemPrompt)
	}
	if p.Root.MaxIterations != 3 || *p.Root.Temperature != 0.9 || !p.Root.FailOnMaxIterations {
		t.Errorf("defaults: %+v", p.Root)
	}
	if diff := cmp.Diff(skills["s"].Tools, p.Root.SkillTools); diff != "" {
		t.Error(diff)
	}
	doc, _ = parse(t, head+"skills: [s, other]}\n")
	p, found = Compile(doc, Options{Skills: skills})
	check(t, p, found, CodeSkill, "agent.skills", "")
}

func BenchmarkCompile(b *testing.B) {
	doc, _ := load(b, "17_guardrails.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if p, found := Compile(doc, Options{Skills: corpusSkills}); p == nil {
			b.Fatal(found.Text())
		}
	}
}

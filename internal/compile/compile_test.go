package compile

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/specview"
)

const corpus = "../spec/testdata/corpus"

func load(t testing.TB, path string) (*spec.Document, spec.Diagnostics) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(corpus, filepath.Clean(path)))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func parse(t testing.TB, text string) (*spec.Document, spec.Diagnostics) {
	t.Helper()
	node, _, err := spec.Parse("spec.yaml", []byte(text), spec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	doc, found, err := spec.Inputs{Base: node}.Check(spec.ValidateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if doc == nil {
		t.Fatalf("schema: %s", found.Text())
	}
	return doc, found
}

// corpusSkills are the skills that the corpus declares, as loading them gives them.
var corpusSkills = map[string]Skill{
	"brand":       {Strict: true, Instructions: "Write in the house style."},
	"notes":       {Instructions: "Take notes."},
	"brand-voice": {Strict: true, Instructions: "Write in the house style."},
	"plain-notes": {Instructions: "Take notes."},
	"voice":       {Strict: true, Instructions: "Write in the house style."},
}

// TestCorpus compiles every sample spec and compares summaries and graphs with the recorded answers.
func TestCorpus(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(corpus, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Specs []struct {
			File    string                  `json:"file"`
			Compile specview.CompileSummary `json:"compile_summary"`
			Explain specview.ExplainSummary `json:"explain_summary"`
			Graph   struct {
				Name     *string  `json:"workflow_name"`
				Kind     *string  `json:"workflow_kind"`
				Start    *string  `json:"start"`
				MaxSteps *int64   `json:"max_steps"`
				Nodes    []string `json:"nodes"`
				Edges    [][]any  `json:"edges"`
			} `json:"graph"`
		} `json:"specs"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Specs) == 0 {
		t.Fatal("no specs")
	}
	for _, want := range manifest.Specs {
		t.Run(want.File, func(t *testing.T) {
			doc, found := load(t, want.File)
			if found.HasErrors() {
				t.Fatal(found.Text())
			}
			p, found := Compile(doc, Options{Skills: corpusSkills})
			if p == nil {
				t.Fatal(found.Text())
			}
			if diff := cmp.Diff(want.Compile, specview.Compiled(p)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(want.Explain, specview.Explain(p)); diff != "" {
				t.Error(diff)
			}
			g := specview.NewGraph(p)
			nodes, edges := []string{}, [][]any{}
			for _, n := range g.Nodes {
				nodes = append(nodes, n.ID)
			}
			for _, e := range g.Edges {
				var label any
				if e.Label != nil {
					label = *e.Label
				}
				edges = append(edges, []any{e.Source, e.Target, label, e.Conditional})
			}
			if diff := cmp.Diff(
				[]any{want.Graph.Name, want.Graph.Kind, want.Graph.Start, want.Graph.MaxSteps, want.Graph.Nodes, want.Graph.Edges},
				[]any{g.WorkflowName, g.WorkflowKind, g.Start, g.MaxSteps, nodes, edges}); diff != "" {
				t.Error(diff)
			}
			stable(t, doc, p)
		})
	}
}

// stable checks that compiling again, and writing what was read, give the same bytes.
func stable(t *testing.T, doc *spec.Document, p *plan.Plan) {
	t.Helper()
	first, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Compile(doc, Options{Skills: corpusSkills})
	second, err := again.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("plans differ:\n%s\n%s", first, second)
	}
	read, err := plan.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	third, err := read.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, third) {
		t.Errorf("a plan changes when it is read:\n%s\n%s", first, third)
	}
}

// catalog serves names in every role.
type catalog []string

func (c catalog) Has(_ handler.Kind, name string) bool {
	for _, n := range c {
		if n == handler.Canonical(name) {
			return true
		}
	}
	return false
}
func (c catalog) Names() []string { return c }

// TestBuildProblems compiles the recorded specs that validate and do not build.
func TestBuildProblems(t *testing.T) {
	known := catalog{"kneo_demo.functions.bracket", "kneo_demo.functions.shout"}
	for _, tc := range []struct {
		file, code, path, message string
		problem                   problem.Code
	}{
		{file: "agent_guardrail"},
		{file: "colon_reference"},
		{file: "mcp_secret_missing"},
		{file: "tool_guardrail_needs_bridge"},
		{file: "guardrail_step_unknown_ref", code: CodeRef, path: "workflow.steps[0].ref", message: "Unknown component reference: nobody", problem: problem.SpecInvalid},
		{
			file: "missing_module", code: CodeHandler, path: "components.functions.gone.implementation", problem: problem.SpecInvalid,
			message: "Function component 'gone' refers to 'kneo_demo.no_such_module.fn', and no such handler is registered.",
		},
		{
			file: "missing_symbol", code: CodeHandler, path: "components.functions.gone.implementation", problem: problem.SpecInvalid,
			message: "Function component 'gone' refers to 'kneo_demo.functions.no_such_symbol', and no such handler is registered." +
				" Nearest names: kneo_demo.functions.shout, kneo_demo.functions.bracket.",
		},
		{file: "skill_missing", code: CodeSkill, path: "skills.gone", message: "Skill 'gone' is declared but its bundle was not loaded.", problem: problem.SpecInvalid},
		{
			file: "unbindable_runtime", code: CodeRuntime, path: "agent.runtime_preferences.preferred_mode", problem: problem.SpecInvalid,
			message: "Unable to bind runtime for agent nowhere: preferred_mode=adapter, and no adapter is available.",
		},
		{file: "unknown_guardrail_type", code: CodeGuardrailType, path: "agent.guardrails.input[0].type", message: "Unsupported guardrail type: moonphase", problem: problem.InvalidRequest},
		{file: "unknown_memory_policy", code: CodeMemoryPolicy, path: "agent.memory.policy", message: "Unknown memory policy: telepathy", problem: problem.InvalidRequest},
	} {
		t.Run(tc.file, func(t *testing.T) {
			doc, found := load(t, "compile_errors/"+tc.file+".yaml")
			if found.HasErrors() {
				t.Fatal(found.Text())
			}
			p, found := Compile(doc, Options{Handlers: known})
			check(t, p, found, tc.code, tc.path, tc.message)
			if e := Problem(found); (e == nil) != (tc.problem == "") || e != nil && e.Code != tc.problem {
				t.Errorf("problem %v, want %q", e, tc.problem)
			}
		})
	}
}

func check(t *testing.T, p *plan.Plan, found spec.Diagnostics, code, path, message string) {
	t.Helper()
	if code == "" {
		if p == nil || len(found) > 0 {
			t.Fatalf("not compiled: %s", found.Text())
		}
		return
	}
	if p != nil || len(found) != 1 {
		t.Fatalf("plan %v, diagnostics %q, want one %s", p != nil, found.Text(), code)
	}
	d := found[0]
	if d.Code != code || d.Path != path || d.Severity != spec.SeverityError || message != "" && d.Message != message {
		t.Errorf("got %s at %s: %s\nwant %s at %s: %s", d.Code, d.Path, d.Message, code, path, message)
	}
	if d.Line == 0 || d.Column == 0 {
		t.Errorf("no position: %+v", d)
	}
}

func TestDiagnostics(t *testing.T) {
	const seq = "components: {agents: {a: {name: a}}, humans: {h: {}}, functions: {f: {implementation: m.f}}}\nworkflow: "
	for _, tc := range []struct{ name, body, code, path, message string }{
		{"empty line", "agent: {name: r}\n" + seq + "{type: sequential, steps: []}", CodeEmptyWorkflow, "workflow", "SequentialWorkflow requires at least one participant."},
		{"all disabled", "agent: {name: r}\n" + seq + "{type: concurrent, participants: [{id: p, kind: agent, ref: a, enabled: false}]}", CodeEmptyWorkflow, "workflow", "ConcurrentWorkflow requires at least one participant."},
		{"empty chat", "agent: {name: r}\n" + seq + "{type: group_chat, participants: []}", CodeEmptyWorkflow, "workflow", "GroupChatWorkflow requires at least one participant."},
		{"empty handoff", "agent: {name: r}\n" + seq + "{type: handoff, participants: []}", CodeEmptyWorkflow, "workflow", "HandoffWorkflow requires at least one participant."},
		{
			"sequence of nobody", "agent: {name: r}\n" + seq + "{type: handoff, participants: [{id: p, kind: agent, ref: a}, {id: q, kind: agent, ref: a, enabled: false}], selector: {type: sequence, sequence: [q]}}",
			CodeEmptyWorkflow, "workflow.selector.sequence", "",
		},
		{"regex", "agent: {name: r, guardrails: {input: [{id: g, type: regex, config: {patterns: ['ok', '(']}}]}}", CodeRegex, "agent.guardrails.input[0].config.patterns[1]", ""},
		{"keywords", "agent: {name: r, guardrails: {input: [{id: g, type: keyword, config: {keywords: abc}}]}}", CodeGuardrail, "agent.guardrails.input[0].config.keywords", ""},
		{"guardrail ref", "agent: {name: r, guardrails: {output: [{id: g, type: function, ref: zz}]}}", CodeRef, "agent.guardrails.output[0].ref", "Unknown component reference: zz"},
		{"guardrail without ref", "agent: {name: r, guardrails: {output: [{id: g, type: agent}]}}", CodeRef, "agent.guardrails.output[0].ref", ""},
		{"summarizer", "agent: {name: r, memory: {policy: summary}}", CodeRef, "agent.memory.summarizer.ref", ""},
		{"retriever", "agent: {name: r, memory: {policy: retrieval, retriever: {ref: zz}}}", CodeRef, "agent.memory.retriever.ref", "Unknown component reference: zz"},
		{"window", "agent: {name: r, memory: {policy: sliding_window, max_messages: many}}", CodeMemory, "agent.memory.max_messages", ""},
		{"append mode", "agent: {name: r, defaults: {append_mode: sometimes}}", CodeAppendMode, "agent.defaults.append_mode", "Unknown append_mode: sometimes"},
		{"provider", "agent: {name: r, model: {provider: made-up, name: m}}", CodeRuntime, "agent.model.provider", "Unable to bind runtime for agent r: unknown provider 'made-up'."},
		{"native provider", "agent: {name: r, runtime_preferences: {preferred_mode: native, native_provider: zz}}", CodeRuntime, "agent.runtime_preferences.native_provider", ""},
		{
			"condition", "agent: {name: r}\n" + seq + "{type: graph, start: n, nodes: {n: {id: n, kind: agent, ref: a}}, edges: [{from: n, to: n, condition: {type: not, condition: {type: output_equals, value: 3}}}]}",
			CodeCondition, "workflow.edges[0].condition.condition.value", "",
		},
		{
			"agent that checks itself", "agent: {name: r}\ncomponents: {agents: {x: {name: x, guardrails: {output: [{id: g, type: agent, ref: x}]}}}}",
			CodeCycle, "components", "Component dependency cycle: agent:x -> agent:x.",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, _ := parse(t, "version: v1\n"+tc.body+"\n")
			p, found := Compile(doc, Options{})
			check(t, p, found, tc.code, tc.path, tc.message)
		})
	}
}

func TestInvalidSpecsDoNotPanic(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "invalid", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no files")
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		node, _, err := spec.Parse(f, data, spec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		doc, _, err := spec.Inputs{Base: node}.Document()
		if err != nil || doc == nil {
			continue
		}
		if p, found := Compile(doc, Options{Skills: corpusSkills, Handlers: catalog{}}); (p == nil) != found.HasErrors() {
			t.Errorf("%s: plan %v with %q", f, p != nil, found.Text())
		}
	}
}

func TestRuntime(t *testing.T) {
	for _, tc := range []struct {
		agent string
		opts  Options
		want  plan.Runtime
	}{
		{agent: "{}", want: plan.Runtime{Mode: "bridge", Provider: "dummy"}},
		{agent: "{model: some-model}", want: plan.Runtime{Mode: "bridge", Provider: "dummy"}},
		{agent: "{model: some-model}", opts: Options{DefaultProvider: "openai"}, want: plan.Runtime{Mode: "bridge", Provider: "openai"}},
		{agent: "{model: {provider: dummy, name: m}}", want: plan.Runtime{Mode: "bridge", Provider: "dummy"}},
		{agent: "{model: {provider: anthropic, name: m}}", want: plan.Runtime{Mode: "bridge", Provider: "anthropic"}},
		{agent: "{model: {provider: google-adk, name: m}}", want: plan.Runtime{Mode: "bridge", Provider: "google"}},
		{agent: "{model: {provider: openai-agents, name: m}, runtime_preferences: {preferred_mode: bridge}}", want: plan.Runtime{Mode: "bridge", Provider: "openai"}},
		{agent: "{model: {provider: house, name: m, extra: {base_url: 'http://h/v1', api_key_ref: HOUSE, top_p: 1}}}", want: plan.Runtime{Mode: "bridge", Provider: "house", BaseURL: "http://h/v1", APIKeyRef: "HOUSE"}},
		{agent: "{model: {provider: openai, name: m, extra: {api_key: sk-1}}}", want: plan.Runtime{Mode: "bridge", Provider: "openai", HasInlineKey: true}},
		{agent: "{runtime_preferences: {preferred_mode: native}}", want: plan.Runtime{Mode: "native", Provider: "openai"}},
		{agent: "{model: {provider: anthropic, name: m}, runtime_preferences: {preferred_mode: native, native_provider: openai}}", want: plan.Runtime{Mode: "native", Provider: "openai"}},
		{agent: "{runtime_preferences: {preferred_mode: adapter, fallback_mode: bridge}}", want: plan.Runtime{Mode: "bridge", Provider: "dummy"}},
		{agent: "{runtime_preferences: {preferred_mode: adapter, fallback_mode: native}}", want: plan.Runtime{Mode: "native", Provider: "openai"}},
		{agent: "{model: {provider: made-up, name: m}, runtime_preferences: {preferred_mode: adapter}}", opts: Options{ForceDummy: true}, want: plan.Runtime{Mode: "bridge", Provider: "dummy"}},
	} {
		doc, _ := parse(t, "version: v1\nagent: "+strings.Replace(tc.agent, "{", "{name: r, ", 1)+"\n")
		p, found := Compile(doc, tc.opts)
		if p == nil {
			t.Errorf("%s: %s", tc.agent, found.Text())
			continue
		}
		if diff := cmp.Diff(tc.want, p.Root.Runtime); diff != "" {
			t.Errorf("%s: %s", tc.agent, diff)
		}
		if data, err := p.Encode(); err != nil || bytes.Contains(data, []byte("sk-1")) {
			t.Errorf("%s: the key is in the plan (%v)", tc.agent, err)
		}
	}
}

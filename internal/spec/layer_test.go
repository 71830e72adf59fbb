package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/problem"
)

func mustJSON(t testing.TB, text string) *Node {
	t.Helper()
	n, err := FromJSON([]byte(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ base, over, want string }{
		{`{"a":1,"b":2}`, `{"b":3,"c":4}`, `{"a":1,"b":3,"c":4}`},
		{`{"a":{"x":1,"y":2}}`, `{"a":{"y":3,"z":4}}`, `{"a":{"x":1,"y":3,"z":4}}`},
		{`{"a":{"x":1}}`, `{"a":null}`, `{}`},
		{`{"a":{"x":1}}`, `{"a":{"__delete__":true,"y":1}}`, `{}`},
		{`{"a":1}`, `{"b":null}`, `{"a":1}`},
		{`{"a":1}`, `{"b":{"c":null}}`, `{"a":1,"b":{"c":null}}`},
		{`{"a":[1,2]}`, `{"a":[3]}`, `{"a":[3]}`},
		{`{"a":1}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":{"b":1}}`, `{"a":{"b":{"__delete__":false}}}`, `{"a":{"b":{"__delete__":false}}}`},
	} {
		base := mustJSON(t, c.base)
		if got := string(Merge(base, mustJSON(t, c.over)).JSON()); got != c.want {
			t.Errorf("%s + %s = %s, want %s", c.base, c.over, got, c.want)
		}
		if got := string(base.JSON()); got != c.base {
			t.Errorf("the base changed to %s", got)
		}
	}
}

func TestLayer(t *testing.T) {
	in := Inputs{
		Base:      mustJSON(t, `{"root_agent":{"name":"a","model":"m","tools":["t"]},"root_workflow":["x"],"humans":{"h":{}}}`),
		Overlays:  []*Node{mustJSON(t, `{"root_agent":{"name":"b"}}`)},
		Overrides: mustJSON(t, `{"root_agent":{"strategy":"react"}}`), Environment: "prod",
	}
	tree, err := in.Layer()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":"v1","agent":{"name":"b","model":{"name":"m","provider":"default"},"tools":{"include":["t"]},` +
		`"strategy":{"type":"react"},"defaults":{}},"workflow":{"type":"sequential","steps":[{"id":"x","kind":"agent","ref":"x"}]},` +
		`"components":{"humans":{"h":{}}},"metadata":{"environment":"prod"}}`
	if diff := cmp.Diff(want, string(tree.JSON())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMigrateSteps(t *testing.T) {
	_, m, err := Migrate(mustJSON(t, `{"root_agent":{"name":"a"},"root_workflow":{"steps":[]},"component_agents":{"x":{}},"functions":{},`+
		`"component_workflows":{"w":[]},"components":{"agents":{"y":{}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"set version=v1", "renamed root_agent to agent", "renamed root_workflow to workflow", "moved component_agents to components.agents",
		"moved component_workflows to components.workflows", "set workflow.type=sequential",
		"converted components.workflows.w list to sequential workflow",
	}
	if diff := cmp.Diff(want, m.Applied); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{`{"version":"v2"}`: "v2", `{"version":1}`: "1", `{"version":true}`: "True"} {
		_, _, err := Migrate(mustJSON(t, text))
		if p := problem.As(err); p == nil || p.Code != problem.InvalidRequest || p.Message != "Unsupported spec version: "+want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for text, want := range map[string]string{
		`{"version":"v1","components":{}}`:                                   `{"version":"v1","components":{},"metadata":{"environment":"e"}}`,
		`{"version":"v1","components":{},"metadata":null}`:                   `{"version":"v1","components":{},"metadata":{"environment":"e"}}`,
		`{"version":"v1","components":{},"metadata":{"environment":"mine"}}`: `{"version":"v1","components":{},"metadata":{"environment":"mine"}}`,
		`{"version":"v1","components":{},"metadata":[]}`:                     `{"version":"v1","components":{},"metadata":[]}`,
	} {
		tree, err := Inputs{Base: mustJSON(t, text), Environment: "e"}.Layer()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(tree.JSON()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestSkillsOverlay(t *testing.T) {
	base := mustJSON(t, `{"version":"v1","agent":{"name":"a","skills":["x","y"]},"skills":{"x":{"source":"x"},"y":{"source":"y"},"z":{"source":"z"}}}`)
	tree, err := Inputs{Base: base, SkillsOverlay: SkillsOverlay{Add: []string{"z", "x"}, Disable: []string{"y", "ghost"}}}.Layer()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tree.At("agent", "skills").JSON()); got != `["x","z"]` {
		t.Error(got)
	}
	_, err = Inputs{Base: base, SkillsOverlay: SkillsOverlay{Add: []string{"q", "b", "q"}}}.Layer()
	if p := problem.As(err); p == nil || p.Message != "skills overlay 'add' references undeclared skill(s): b, q" {
		t.Error(err)
	}
}

func TestFreeze(t *testing.T) {
	r, err := NewResolver(corpus, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := r.Inputs(Request{
		SpecPath: "19_skills.yaml", Overrides: mustJSON(t, `{"metadata":{"n":1.0}}`), Environment: "prod",
		SkillsOverlay: SkillsOverlay{Add: []string{"notes"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, found, err := in.Check(ValidateOptions{})
	if err != nil || len(found) > 0 {
		t.Fatal(err, found)
	}
	skills, err := r.LoadSkills(doc)
	if err != nil {
		t.Fatal(err)
	}
	frozen := Freeze(in, skills)
	opened, err := Open(frozen.Data)
	if err != nil {
		t.Fatal(err)
	}
	if again := Freeze(opened.Inputs, opened.Skills); again.Digest != frozen.Digest {
		t.Errorf("the digest changes from %s to %s:\n%s\n%s", frozen.Digest, again.Digest, frozen.Data, again.Data)
	}
	reopened, _, err := opened.Check(ValidateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(doc.Root.JSON()), string(reopened.Root.JSON())); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"voice", "notes"}, reopened.Agent.Skills); diff != "" {
		t.Error(diff)
	}
	public := mustJSON(t, string(frozen.Snapshot.Public()))
	if public.Has("overrides") || !public.Has("overlays") || public.At("skills", "voice", "name").Text() != "brand-voice" {
		t.Errorf("public: %s", public.JSON())
	}
}

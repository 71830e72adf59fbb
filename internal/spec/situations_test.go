package spec

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type situation struct {
	Name string          `json:"name"`
	Spec json.RawMessage `json:"spec"`
	Want [][3]string     `json:"want"`
}

// TestSituations runs the situations of the black-box suite: what each spec
// must be told, in order.
func TestSituations(t *testing.T) {
	var all struct{ Cases, Broken, Accepted []situation }
	readJSON(t, "testdata/situations.json", &all)
	for i := range all.Broken {
		all.Broken[i].Want = [][3]string{{"E_SCHEMA", "error", ""}}
	}
	for _, list := range [][]situation{all.Cases, all.Broken, all.Accepted} {
		for _, s := range list {
			t.Run(s.Name, func(t *testing.T) {
				_, found, err := Inputs{Base: mustJSON(t, string(s.Spec))}.Check(ValidateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				var got [][3]string
				for _, d := range found {
					got = append(got, [3]string{d.Code, string(d.Severity), d.Path})
				}
				if len(got) == 0 && len(s.Want) == 0 {
					return
				}
				if diff := cmp.Diff(s.Want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestSchemaMessages checks that a structural problem says where, what and how
// to mend it.
func TestSchemaMessages(t *testing.T) {
	for text, want := range map[string]string{
		"version: v1\nagent:\n  name: x\n  systme_prompt: y\n": "1 problem in the spec\n  agent.systme_prompt: unknown field; did you mean 'system_prompt'? (line 4, column 3)",
		"version: v1\nagent: {name: yes}\n":                    "1 problem in the spec\n  agent.name: expected a string, found boolean true (line 2, column 15)",
		"version: v1\nagent: {}\n":                             "1 problem in the spec\n  agent.name: the field is required (line 2, column 8)",
		"version: v1\n":                                        "1 problem in the spec\n  agent: the field is required (line 1, column 1)",
		"version: v1\nagent: {name: x, strategy: reakt}\n":     "1 problem in the spec\n  agent.strategy.type: expected one of simple, react, plan-act, found 'reakt'; did you mean 'react'? (line 2, column 28)",
		"version: v1\nagent: {name: x, skills: null}\n":        "1 problem in the spec\n  agent.skills: null is not allowed here, expected a list of strings (line 2, column 26)",
		"version: v1\nagent: {name: x}\nworkflow: {type: graph, start: a, nodes: {1: {}}, edges: [{from: a, from_: b, to: c}]}\n": "2 problems in the spec\n" +
			"  workflow.graph.nodes.1: a key must be a string, found integer 1 (line 3, column 43)\n" +
			"  workflow.graph.edges.0.from_: the field is given twice under two spellings (line 3, column 69)",
	} {
		tree, _, err := Parse("f", []byte(text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		_, found, err := Inputs{Base: tree}.Check(ValidateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, found[0].Message); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestHandlers(t *testing.T) {
	tree := mustJSON(t, `{"version":"v1","agent":{"name":"x"},"tools":{"a":{"description":"d","implementation":"app:one"},`+
		`"b":{"description":"d","implementation":"app.twp"}},"components":{"functions":{"f":{"implementation":"app.one"}}}}`)
	_, found, err := Inputs{Base: tree}.Check(ValidateOptions{Handlers: func(name string) (bool, []string) {
		return name == "app.one", []string{"app.two"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Path != "tools.b.implementation" || found[0].Suggestion != "Did you mean app.two?" {
		t.Errorf("%+v", found)
	}
}

func TestDiagnosticJSON(t *testing.T) {
	got, err := json.Marshal(Diagnostics{{Code: "C", Severity: SeverityError, Message: "a<b", Line: 2, Column: 3}, {Code: "D", Path: "p", Suggestion: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"code":"C","severity":"error","message":"a\u003cb","path":null,"suggestion":null,"line":2,"column":3},` +
		`{"code":"D","severity":"","message":"","path":"p","suggestion":"s"}]`
	if string(got) != want {
		t.Errorf("%s", got)
	}
	if empty, err := json.Marshal(Diagnostics(nil)); err != nil || string(empty) != "[]" {
		t.Errorf("%s %v", empty, err)
	}
}

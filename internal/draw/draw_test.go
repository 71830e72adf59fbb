package draw

import (
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/plan"
)

var update = flag.Bool("update", false, "rewrite golden files")

func ptr[T any](v T) *T { return &v }

func step(id string, kind plan.StepKind) plan.Step {
	return plan.Step{ID: id, Kind: kind, OnError: "fail"}
}

var samples = map[string]*plan.Workflow{
	"line":  {Name: "line", Kind: plan.Sequential, Steps: []plan.Step{step("draft", plan.StepAgent), step("review", plan.StepHuman), step("publish", plan.StepWorkflow)}},
	"team":  {Name: "team", Kind: plan.Concurrent, Steps: []plan.Step{step("cost", plan.StepAgent), step("risk", plan.StepFunction)}},
	"relay": {Name: "relay", Kind: plan.Handoff, Selector: "sequence", Sequence: []string{"b", "a"}, Steps: []plan.Step{step("a", plan.StepAgent), step("b", plan.StepAgent)}},
	"chat":  {Name: "chat", Kind: plan.GroupChat, Rounds: 3, Steps: []plan.Step{step("pro", plan.StepAgent), step("con", plan.StepAgent)}},
	"triage": {
		Name: `tri"age <1>`, Kind: plan.Graph, Start: "classify", MaxSteps: 5,
		Steps: []plan.Step{
			step("classify", plan.StepFunction),
			{ID: "risky", Kind: plan.StepFunction, OnError: "fallback", Fallback: "rescue"},
			step("rescue", plan.StepFunction), step("answer", plan.StepAgent),
		},
		Edges: []plan.Edge{
			{From: "classify", To: "risky", Label: ptr("urgent")},
			{From: "classify", To: "answer", Condition: &plan.Condition{Type: "any_of", Conditions: []plan.Condition{
				{Type: "output_contains", Value: []byte(`"ok & <b>"`)}, {Type: "not", Condition: &plan.Condition{Type: "status_is", Value: []byte(`"failed"`)}},
			}}},
			{From: "risky", To: "answer"},
			{From: "answer", To: "classify", Condition: &plan.Condition{Type: "never"}},
		},
	},
}

func TestGolden(t *testing.T) {
	for name, w := range samples {
		for _, f := range Formats() {
			t.Run(name+"/"+string(f), func(t *testing.T) {
				o := Options{Current: w.Steps[1].ID, Visited: []string{w.Steps[0].ID, w.Steps[1].ID}}
				pic := NewPicture(&plan.Plan{Root: &plan.Agent{Name: "root"}, Workflow: w})
				got, err := Draw(f, pic, o)
				if err != nil {
					t.Fatal(err)
				}
				if again, _ := Draw(f, pic, o); again != got {
					t.Error("two drawings differ")
				}
				path := filepath.Join("testdata", name+"."+string(f))
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(filepath.Clean(path))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Error(diff)
				}
				if f == SVG {
					wellFormed(t, got)
				}
			})
		}
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		switch _, err := d.Token(); err {
		case nil:
		case io.EOF: //nolint:errorlint // the decoder returns it bare
			return
		default:
			t.Fatal(err)
		}
	}
}

func TestHostileNames(t *testing.T) {
	w := &plan.Workflow{Name: "w\x1b[2J", Kind: plan.Sequential, Steps: []plan.Step{step("a\x1b]0;x\x07", plan.StepAgent), step("\"];x-->y", plan.StepAgent)}}
	pic := NewPicture(&plan.Plan{Root: &plan.Agent{Name: "r"}, Workflow: w})
	for _, f := range []Format{Terminal, SVG} {
		got, err := Draw(f, pic, Options{})
		if err != nil || strings.ContainsRune(got, '\x1b') {
			t.Errorf("%s: %v: %q", f, err, got)
		}
		if f == SVG {
			wellFormed(t, got)
		}
	}
}

func TestAgentOnlyAndUnknownFormat(t *testing.T) {
	pic := NewPicture(&plan.Plan{Root: &plan.Agent{Name: "solo"}})
	got, err := Draw(Terminal, pic, Options{Current: "solo", Color: true})
	if err != nil || !strings.Contains(got, "\x1b[1;33m"+markCurrent+" solo") {
		t.Errorf("%v: %q", err, got)
	}
	if _, err := Draw("png", pic, Options{}); err == nil {
		t.Error("no error")
	}
}

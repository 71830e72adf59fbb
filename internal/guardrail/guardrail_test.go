package guardrail_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/guardrail"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"))
}

// refs answers function checks with JSON and agent checks with text.
type refs map[string]string

func (r refs) Function(_ context.Context, name, _ string) (json.RawMessage, error) {
	if r[name] == "" {
		return nil, errors.New("no such function")
	}
	return json.RawMessage(r[name]), nil
}

func (r refs) Agent(_ context.Context, name, prompt string) (string, error) {
	if !strings.HasSuffix(prompt, "\n\nPayload:\nthe text") {
		return "", errors.New("prompt " + prompt)
	}
	return r[name], nil
}

func newChecker(t testing.TB) *guardrail.Checker {
	t.Helper()
	c, err := guardrail.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChecks(t *testing.T) {
	t.Parallel()
	r := refs{
		"yes": "true", "no": "false", "why": `{"passed":false,"reason":"bad"}`, "fine": `{"passed":true}`, "null": `{"passed":false,"reason":null}`,
		"broken": `"maybe"`, "pass": "pass, all good", "passes": "  PASS", "passport": "Passport needed", "fail": "It is rude.",
	}
	ref := func(name string) *plan.Ref { return &plan.Ref{Name: name} }
	tests := map[string]struct {
		guard  plan.Guardrail
		reason string
	}{
		"keyword":            {plan.Guardrail{Type: "keyword", Keywords: []string{"TEXT", "none", "the"}}, "Blocked keywords found: ['TEXT', 'the']"},
		"other keyword":      {plan.Guardrail{Type: "keyword", Keywords: []string{"none"}}, ""},
		"regex":              {plan.Guardrail{Type: "regex", Patterns: []string{`t\w+$`, "q"}}, `Regex guardrail matched: ['t\\w+$']`},
		"regex case":         {plan.Guardrail{Type: "regex", Patterns: []string{"TEXT"}}, ""},
		"look-around":        {plan.Guardrail{Type: "regex", Patterns: []string{`(?<=the )te(?!st)`}}, `Regex guardrail matched: ['(?<=the )te(?!st)']`},
		"named groups":       {plan.Guardrail{Type: "regex", Patterns: []string{`(?P<a>t)e.(?P=a)\Z`}}, `Regex guardrail matched: ['(?P<a>t)e.(?P=a)\\Z']`},
		"class with bracket": {plan.Guardrail{Type: "regex", Patterns: []string{`[](?P<]ext`}}, ""},
		"function yes":       {plan.Guardrail{Type: "function", Ref: ref("yes")}, ""},
		"function no":        {plan.Guardrail{Type: "function", Ref: ref("no")}, "None"},
		"function reason":    {plan.Guardrail{Type: "function", Ref: ref("why")}, "bad"},
		"function object":    {plan.Guardrail{Type: "function", Ref: ref("fine")}, ""},
		"function null":      {plan.Guardrail{Type: "function", Ref: ref("null")}, "None"},
		"agent pass":         {plan.Guardrail{Type: "agent", Ref: ref("pass")}, ""},
		"agent spaces":       {plan.Guardrail{Type: "agent", Ref: ref("passes")}, ""},
		"agent whole word":   {plan.Guardrail{Type: "agent", Ref: ref("passport")}, "Passport needed"},
		"agent fail":         {plan.Guardrail{Type: "agent", Ref: ref("fail")}, "It is rude."},
		"catastrophic":       {plan.Guardrail{Type: "regex", Patterns: []string{`((((.?)*)*)*)*Z`}}, ""},
	}
	c := newChecker(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.guard.ID = "g"
			_, err := c.Check(t.Context(), guardrail.Input, []plan.Guardrail{tt.guard}, "the text", r)
			want := ""
			if tt.reason != "" {
				want = "guardrail_violation: Guardrail 'g' failed: " + tt.reason
			}
			if got := errText(err); got != want && name != "catastrophic" {
				t.Errorf("got %q", got)
			}
		})
	}
	for _, bad := range []plan.Guardrail{
		{ID: "g", Type: "function", Ref: ref("broken")},
		{ID: "g", Type: "function", Ref: ref("missing")},
		{ID: "g", Type: "regex", Patterns: []string{"("}},
		{ID: "g", Type: "other"},
		{ID: "g", Type: "agent"},
	} {
		if v, err := c.Check(t.Context(), guardrail.Input, []plan.Guardrail{bad}, "the text", r); err == nil || v.Text != "" {
			t.Errorf("%+v let the text pass", bad)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestActions covers every action in every stage.
func TestActions(t *testing.T) {
	t.Parallel()
	const refused = "!"
	revised := `{"passed":false,"reason":"r","revised_text":"new"}`
	tests := []struct {
		action string
		// want by stage: input, output, tool, workflow; "!" is a refusal.
		plain, revised [4]string
	}{
		{"block", [4]string{refused, refused, refused, refused}, [4]string{refused, refused, refused, refused}},
		{"", [4]string{refused, refused, refused, refused}, [4]string{refused, refused, refused, refused}},
		{"escalate", [4]string{refused, refused, refused, refused}, [4]string{refused, refused, refused, refused}},
		{"human_review", [4]string{refused, refused, refused, refused}, [4]string{refused, refused, refused, refused}},
		{"retry", [4]string{refused, refused, refused, refused}, [4]string{refused, refused, refused, refused}},
		{"warn", [4]string{"old", "old", "old", "old"}, [4]string{"old", "old", "old", "old"}},
		{"revise", [4]string{refused, refused, refused, refused}, [4]string{refused, "new", refused, "new"}},
		{"redact", [4]string{refused, refused, guardrail.RedactedTool, guardrail.RedactedWorkflow}, [4]string{refused, refused, guardrail.RedactedTool, guardrail.RedactedWorkflow}},
		{"unheard of", [4]string{refused, refused, refused, refused}, [4]string{refused, refused, refused, refused}},
	}
	c := newChecker(t)
	stages := []guardrail.Stage{guardrail.Input, guardrail.Output, guardrail.Tool, guardrail.Workflow}
	for _, tt := range tests {
		for i, stage := range stages {
			for answer, want := range map[string]string{"false": tt.plain[i], revised: tt.revised[i]} {
				g := plan.Guardrail{ID: "g", Type: "function", Action: tt.action, Ref: &plan.Ref{Name: "f"}}
				v, err := c.Check(t.Context(), stage, []plan.Guardrail{g}, "old", refs{"f": answer})
				got := v.Text
				if err != nil {
					got = refused
					checkViolation(t, err, stage)
				}
				if got != want || v.Revised != (err == nil && want != "old") {
					t.Errorf("%s %q %s: %q %+v", stage, tt.action, answer, got, v)
				}
				if tt.action == "warn" && len(v.Warnings) != 1 {
					t.Errorf("%s: no warning", stage)
				}
			}
		}
	}
}

func checkViolation(t *testing.T, err error, stage guardrail.Stage) {
	t.Helper()
	want := "GuardrailViolation"
	if stage == guardrail.Tool {
		want = "ToolResultGuardrailViolation"
	}
	e := problem.As(err)
	if e == nil || e.Code != problem.GuardrailViolation || e.Fields[0].Value != want {
		t.Errorf("%s: %v", stage, err)
	}
}

// TestRevisedTextIsCheckedFurther: a later check sees the revised text, and the first refusal wins.
func TestRevisedTextIsCheckedFurther(t *testing.T) {
	t.Parallel()
	gs := []plan.Guardrail{
		{ID: "a", Type: "function", Action: "revise", Ref: &plan.Ref{Name: "f"}},
		{ID: "b", Type: "keyword", Keywords: []string{"leak"}},
		{ID: "c", Type: "keyword", Action: "redact", Keywords: []string{"new"}},
	}
	c := newChecker(t)
	v, err := c.Check(t.Context(), guardrail.Workflow, gs, "a leak", refs{"f": `{"passed":false,"revised_text":"new"}`})
	if err != nil || v.Text != guardrail.RedactedWorkflow || len(v.Notes) != 2 || v.Notes[0] != (guardrail.Note{ID: "a", Action: "revise"}) {
		t.Errorf("%+v %v", v, err)
	}
	if _, err = c.Check(t.Context(), guardrail.Workflow, gs, "a leak", refs{"f": `{"passed":false,"revised_text":"leak again"}`}); err == nil {
		t.Error("the revision brought the leak back in")
	}
}

func TestSlowPatternRefuses(t *testing.T) {
	t.Parallel()
	g := plan.Guardrail{ID: "g", Type: "regex", Patterns: []string{`^(a+)+$`}}
	_, err := newChecker(t).Check(t.Context(), guardrail.Input, []plan.Guardrail{g}, strings.Repeat("a", 40)+"b", nil)
	if !strings.Contains(errText(err), "gave no answer in time") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsStayOutOfMessages(t *testing.T) {
	t.Parallel()
	g := plan.Guardrail{ID: "g", Type: "function", Ref: &plan.Ref{Name: "f"}}
	_, err := newChecker(t).Check(t.Context(), guardrail.Input, []plan.Guardrail{g}, "x", refs{"f": `{"passed":false,"reason":"mail me@example.org"}`})
	if strings.Contains(errText(err), "me@example.org") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	c := newChecker(b)
	gs := []plan.Guardrail{{ID: "k", Type: "keyword", Keywords: []string{"alpha", "beta"}}, {ID: "r", Type: "regex", Patterns: []string{`\b\d{3}-\d{2}-\d{4}\b`}}}
	text := strings.Repeat("plain words without numbers ", 40)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Check(b.Context(), guardrail.Output, gs, text, nil); err != nil {
			b.Fatal(err)
		}
	}
}

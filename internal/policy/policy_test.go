package policy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/spec"
)

const corpus = "../spec/testdata/corpus"

func reportOf(t *testing.T, name string, data []byte) *Report {
	t.Helper()
	node, _, err := spec.Parse(name, data, spec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	doc, found, err := spec.Inputs{Base: node}.Check(spec.ValidateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return NewReport(doc, found)
}

type recorded struct {
	File   string          `json:"file"`
	Spec   json.RawMessage `json:"spec"`
	Answer struct {
		Valid  bool           `json:"valid"`
		Report map[string]any `json:"report"`
	} `json:"answer"`
}

func (r recorded) report(t *testing.T, name string) *Report {
	t.Helper()
	data := []byte(r.Spec)
	if r.File != "" {
		var err error
		if data, err = os.ReadFile(filepath.Join(corpus, filepath.Clean(r.File))); err != nil {
			t.Fatal(err)
		}
	}
	return reportOf(t, name, data)
}

func read[T any](t *testing.T, path string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestReports compares reports with recorded answers. Positions are ours alone; the text of a schema problem is our own.
func TestReports(t *testing.T) {
	for name, want := range read[map[string]recorded](t, "testdata/reports.json") {
		t.Run(name, func(t *testing.T) {
			r := want.report(t, name)
			data, err := r.JSON()
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			strip(got)
			strip(want.Answer.Report)
			if diff := cmp.Diff(want.Answer.Report, got); diff != "" {
				t.Error(diff)
			}
			if r.Valid != want.Answer.Valid {
				t.Errorf("valid %v", r.Valid)
			}
		})
	}
}

func strip(report map[string]any) {
	list, _ := report["diagnostics"].([]any)
	for _, item := range list {
		d, _ := item.(map[string]any)
		delete(d, "line")
		delete(d, "column")
		if d["code"] == spec.CodeSchema {
			delete(d, "message")
		}
	}
}

// TestGates compares what each policy has against each spec with recorded refusals.
func TestGates(t *testing.T) {
	specs := read[map[string]recorded](t, "testdata/reports.json")
	type gate struct {
		Policy      json.RawMessage `json:"policy"`
		Environment string          `json:"environment"`
		Spec        string          `json:"spec"`
		Status      int             `json:"status"`
		Detail      *struct {
			Message     string `json:"message"`
			Diagnostics []struct{ Code, Severity, Message, Path string }
		} `json:"detail"`
	}
	gates := read[[]gate](t, "testdata/gates.json")
	if len(gates) == 0 {
		t.Fatal("no gates")
	}
	for _, g := range gates {
		t.Run(g.Environment+"/"+g.Spec, func(t *testing.T) {
			p, err := Parse(g.Policy)
			if err != nil {
				t.Fatal(err)
			}
			found := Evaluate(p, g.Environment, specs[g.Spec].report(t, g.Spec))
			if Blocks(found) != (g.Detail != nil) {
				t.Fatalf("blocks %v: %s", Blocks(found), found.Text())
			}
			if g.Detail == nil {
				return
			}
			if found.Text() != g.Detail.Message {
				t.Errorf("got %q\nwant %q", found.Text(), g.Detail.Message)
			}
			got := make([]struct{ Code, Severity, Message, Path string }, len(found))
			for i, d := range found {
				got[i] = struct{ Code, Severity, Message, Path string }{d.Code, string(d.Severity), d.Message, d.Path}
			}
			if diff := cmp.Diff(g.Detail.Diagnostics, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse(t *testing.T) {
	p, err := Parse([]byte(`{"require_guardrails":true}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"enabled":true,"fail_on_warnings":false,"blocked_diagnostic_codes":[],"require_human_review":false,` +
		`"require_tool_permissions":false,"deny_unrestricted_tools":false,"require_guardrails":true}`
	if got := string(p.Encode()); got != want {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{`{"surprise":1}`, `[]`, `{"enabled":"yes"}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestDiff(t *testing.T) {
	stored := Default()
	stored.RequireHumanReview = true
	proposed := Default()
	proposed.FailOnWarnings = true
	want := []Change{
		{"fail_on_warnings", []byte("false"), []byte("true")},
		{"require_human_review", []byte("true"), []byte("false")},
	}
	if diff := cmp.Diff(want, Diff(&stored, proposed)); diff != "" {
		t.Error(diff)
	}
	if got := Diff(&stored, stored); len(got) != 0 {
		t.Errorf("equal policies differ: %v", got)
	}
	first := Diff(nil, proposed)
	if len(first) != 7 || first[0].From != nil || string(first[0].To) != "true" {
		t.Errorf("against nothing: %v", first)
	}
}

func TestPreview(t *testing.T) {
	r := reportOf(t, "s", []byte("version: v1\nagent: {name: g}\n"))
	strict, none, off := Default(), Default(), Default()
	strict.RequireHumanReview = true
	off.RequireHumanReview, off.Enabled = true, false
	for _, tc := range []struct {
		name     string
		stored   *Policy
		proposed Policy
		want     Effect
	}{
		{"first strict", nil, strict, Effect{Affected: true, NewlyBlocking: true}},
		{"first mild", nil, none, Effect{}},
		{"loosened", &strict, none, Effect{Affected: true}},
		{"switched off", &strict, off, Effect{Affected: true}},
		{"switched on", &off, strict, Effect{Affected: true, NewlyBlocking: true}},
		{"same", &strict, strict, Effect{}},
	} {
		if got := Preview(tc.stored, tc.proposed, "e", r); got != tc.want {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

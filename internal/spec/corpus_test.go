package spec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const corpus = "testdata/corpus"

type wantDiagnostic struct {
	Code       string  `json:"code"`
	Severity   string  `json:"severity"`
	Path       *string `json:"path"`
	Message    *string `json:"message"`
	Suggestion *string `json:"suggestion"`
	Count      int     `json:"schema_error_count"`
	Errors     []struct {
		Location string `json:"location"`
	} `json:"schema_errors"`
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func readSpec(t testing.TB, path string) *Node {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	node, found, err := Parse(path, data, Limits{})
	if err != nil || len(found) > 0 {
		t.Fatalf("parse %s: %v %v", path, err, found)
	}
	return node
}

// TestInvalidCorpus holds every recorded diagnostic against ours: codes,
// severities, paths, messages, suggestions and their order.
func TestInvalidCorpus(t *testing.T) {
	var manifest struct {
		Specs []struct {
			File        string           `json:"file"`
			Valid       bool             `json:"valid"`
			Diagnostics []wantDiagnostic `json:"diagnostics"`
		} `json:"specs"`
	}
	readJSON(t, corpus+"/invalid/manifest.json", &manifest)
	if len(manifest.Specs) != 78 {
		t.Fatalf("the manifest has %d specs", len(manifest.Specs))
	}
	for _, s := range manifest.Specs {
		t.Run(s.File, func(t *testing.T) {
			in := Inputs{Base: readSpec(t, corpus+"/invalid/"+s.File)}
			_, found, err := in.Check(ValidateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if valid := !found.HasErrors(); valid != s.Valid {
				t.Errorf("valid = %v", valid)
			}
			compareDiagnostics(t, found, s.Diagnostics)
		})
	}
}

func compareDiagnostics(t *testing.T, found Diagnostics, want []wantDiagnostic) {
	t.Helper()
	type row struct{ Code, Severity, Path, Message, Suggestion string }
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	var got, expected []row
	for i, d := range found {
		r := row{d.Code, string(d.Severity), d.Path, d.Message, d.Suggestion}
		if d.Code == CodeSchema {
			r.Message = ""
			if i < len(want) && len(want[i].Errors) == 1 && !strings.Contains(d.Message, want[i].Errors[0].Location) {
				t.Errorf("%q does not name %s", d.Message, want[i].Errors[0].Location)
			}
		}
		got = append(got, r)
		if d.Line == 0 || d.Column == 0 {
			t.Errorf("%s has no position", d.Code)
		}
	}
	for _, d := range want {
		expected = append(expected, row{d.Code, d.Severity, text(d.Path), text(d.Message), text(d.Suggestion)})
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("diagnostics (-want +got):\n%s", diff)
	}
}

// TestValidCorpus checks the recorded codes of the specs that are valid.
func TestValidCorpus(t *testing.T) {
	var manifest struct {
		Specs []struct {
			File     string   `json:"file"`
			Overlays []string `json:"overlays"`
			Valid    bool     `json:"valid"`
			Codes    []string `json:"diagnostic_codes"`
			Compile  struct {
				HasRootAgent    bool     `json:"has_root_agent"`
				HasRootWorkflow bool     `json:"has_root_workflow"`
				ComponentAgents []string `json:"component_agents"`
			} `json:"compile_summary"`
			Explain json.RawMessage `json:"explain_summary"`
		} `json:"specs"`
	}
	readJSON(t, corpus+"/manifest.json", &manifest)
	for _, s := range manifest.Specs {
		t.Run(s.File, func(t *testing.T) {
			in := Inputs{Base: readSpec(t, corpus+"/"+s.File)}
			for _, o := range s.Overlays {
				in.Overlays = append(in.Overlays, readSpec(t, corpus+"/"+o))
			}
			doc, found, err := in.Check(ValidateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			codes := []string{}
			for _, d := range found {
				codes = append(codes, d.Code)
			}
			if diff := cmp.Diff(s.Codes, codes); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
			}
			if found.HasErrors() == s.Valid {
				t.Errorf("valid = %v", !s.Valid)
			}
			summary := Explain(doc)
			if diff := cmp.Diff(s.Compile.ComponentAgents, summary.ComponentAgents); diff != "" {
				t.Errorf("component agents (-want +got):\n%s", diff)
			}
			if (doc.Workflow != nil) != s.Compile.HasRootWorkflow {
				t.Error("root workflow")
			}
			got, err := json.Marshal(summary)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decoded(t, s.Explain), decoded(t, got)); diff != "" {
				t.Errorf("explain (-want +got):\n%s", diff)
			}
		})
	}
}

func decoded(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestJSONRoundTrip reads what JSON wrote and gets the same tree and bytes.
func TestJSONRoundTrip(t *testing.T) {
	files, err := filepath.Glob(corpus + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		node := readSpec(t, f)
		again, err := FromJSON(node.JSON(), Limits{})
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if string(again.JSON()) != string(node.JSON()) || string(again.Canonical()) != string(node.Canonical()) {
			t.Errorf("%s changes on the way through JSON", f)
		}
	}
}

package openapi_test

import (
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/transport/openapi"
)

var update = flag.Bool("update", false, "rewrite descriptions.json from the generated documentation of the contract")

type document struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
			Required   []string                   `json:"required"`
		} `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Summary     string                      `json:"summary"`
	OperationID string                      `json:"operationId"`
	Parameters  []struct{ Name, In string } `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			} `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			} `json:"schema"`
		} `json:"content"`
	} `json:"responses"`
	Tags []string `json:"tags"`
}

func load(t *testing.T) (document, []byte) {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	text, err := openapi.Document(openapi.Options{Contract: c, Version: "1.2.0", Metrics: true})
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, text
}

// additions of ours to schemas that are older.
var additions = map[string][]string{"RunCreateRequest": {"timeout_seconds"}}

func TestPublishedNamesAreKept(t *testing.T) {
	var recorded struct {
		Paths map[string]map[string]struct {
			Parameters        []string
			Request, Response string
			Statuses          []string
			Tag               string
		}
		Schemas, Required map[string][]string
	}
	text, err := os.ReadFile("testdata/names.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	doc, _ := load(t)
	for path, verbs := range recorded.Paths {
		for verb, want := range verbs {
			op, ok := doc.Paths[path][verb]
			if !ok {
				t.Errorf("%s %s is missing", verb, path)
				continue
			}
			var got []string
			for _, p := range op.Parameters {
				got = append(got, p.In+" "+p.Name)
			}
			if diff := cmp.Diff(want.Parameters, got); diff != "" && len(want.Parameters)+len(got) > 0 {
				t.Errorf("%s %s: %s", verb, path, diff)
			}
			if got := last(op.RequestBody.Content["application/json"].Schema.Ref); got != want.Request {
				t.Errorf("%s %s takes %s, want %s", verb, path, got, want.Request)
			}
			if got := last(op.Responses["200"].Content["application/json"].Schema.Ref); got != want.Response {
				t.Errorf("%s %s answers %s, want %s", verb, path, got, want.Response)
			}
			for _, status := range want.Statuses {
				if _, ok := op.Responses[status]; !ok && len(op.Parameters) > 0 {
					t.Errorf("%s %s: no %s", verb, path, status)
				}
			}
			if op.Tags[0] != want.Tag {
				t.Errorf("%s %s is tagged %s, want %s", verb, path, op.Tags[0], want.Tag)
			}
		}
	}
	for name, fields := range recorded.Schemas {
		var got []string
		for field := range doc.Components.Schemas[name].Properties {
			if !slices.Contains(additions[name], field) {
				got = append(got, field)
			}
		}
		slices.Sort(got)
		slices.Sort(fields)
		if diff := cmp.Diff(fields, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, field := range recorded.Required[name] {
			if !slices.Contains(doc.Components.Schemas[name].Required, field) {
				t.Errorf("%s.%s must be required", name, field)
			}
		}
	}
}

func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func TestDocumentIsStableAndComplete(t *testing.T) {
	doc, one := load(t)
	_, two := load(t)
	if string(one) != string(two) {
		t.Error("two builds differ")
	}
	ids := map[string]string{}
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			if other, taken := ids[op.OperationID]; taken {
				t.Errorf("%s and %s %s share %s", other, verb, path, op.OperationID)
			}
			ids[op.OperationID] = verb + " " + path
			if op.Summary == "" {
				t.Errorf("%s %s has no summary", verb, path)
			}
		}
	}
	for _, part := range strings.Split(string(one), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if _, ok := doc.Components.Schemas[name]; !ok {
			t.Errorf("%s is not described", name)
		}
	}
}

func TestPages(t *testing.T) {
	w := httptest.NewRecorder()
	openapi.Docs().ServeHTTP(w, httptest.NewRequest("GET", "/docs", nil))
	if !strings.Contains(w.Body.String(), "/openapi.json") || strings.Contains(w.Body.String(), "https://") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Error("the page must show the document and load nothing from elsewhere")
	}
	w = httptest.NewRecorder()
	openapi.Handler([]byte(`{}`)).ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	if w.Body.String() != `{}` || w.Header().Get("Content-Type") != "application/json" {
		t.Error(w.Body, w.Header())
	}
}

// TestDescriptions keeps the texts in step with the comments of the contract, which the generated documentation holds.
func TestDescriptions(t *testing.T) {
	source, err := os.ReadFile("../../../gen/openapi/kneo.swagger.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.MarshalIndent(collect(t, source), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("descriptions.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile("descriptions.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("descriptions.json is out of date: run `go test ./internal/transport/openapi -update`")
	}
}

func collect(t *testing.T, source []byte) map[string]string {
	t.Helper()
	var generated struct {
		Paths map[string]map[string]struct {
			Summary, Description, OperationID string
			Parameters                        []struct{ Name, Description string }
		}
		Definitions map[string]struct {
			Title, Description string
			Properties         map[string]struct{ Title, Description string }
		}
	}
	if err := json.Unmarshal(source, &generated); err != nil {
		t.Fatal(err)
	}
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	put := func(key string, parts ...string) {
		text := strings.TrimSpace(strings.Join(parts, "\n"))
		if text != "" {
			texts[key] = text
		}
	}
	for _, r := range c.Routes() {
		op := generated.Paths[r.Template][strings.ToLower(r.Verb)]
		put(r.Method.Service+"."+r.Method.Name, op.Summary, op.Description)
		for _, p := range op.Parameters {
			put(string(r.Method.Input.Name())+"."+p.Name, p.Description)
		}
	}
	for name, d := range generated.Definitions {
		name = strings.TrimPrefix(strings.TrimPrefix(name, "kneoV1"), "v1")
		put(name, d.Title, d.Description)
		for field, f := range d.Properties {
			put(name+"."+field, f.Title, f.Description)
		}
	}
	return texts
}

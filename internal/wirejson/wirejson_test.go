package wirejson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/wirejson"
)

func codec(t testing.TB) *wirejson.Codec {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return wirejson.New(c)
}

func TestMarshal(t *testing.T) {
	object := func(text string) *kneov1.JsonObject { return &kneov1.JsonObject{Raw: []byte(text)} }
	tests := map[string]struct {
		message proto.Message
		want    string
	}{
		"unset fields are null, lists and maps are empty": {
			&kneov1.RunCreateResponse{Status: "queued"},
			`{"run_id":null,"status":"queued","output_text":null,"human_intervention_required":false,"continuation_id":null,"metadata":{}}`,
		},
		"free-form JSON is verbatim, text is not escaped": {
			&kneov1.RunCreateResponse{RunId: proto.String("r"), Status: "completed", OutputText: proto.String("<a>&\"\n ü😀"), Metadata: object(`{"z": 1.0,"a":12345678901234567890}`)},
			`{"run_id":"r","status":"completed","output_text":"<a>&\"\n ü😀","human_intervention_required":false,"continuation_id":null,"metadata":{"z": 1.0,"a":12345678901234567890}}`,
		},
		"64-bit integers are numbers": {
			&kneov1.TokenUsage{InputTokens: 9007199254740993, TotalTokens: -1},
			`{"input_tokens":9007199254740993,"output_tokens":0,"total_tokens":-1}`,
		},
		"floats": {
			&kneov1.GraphNode{Id: "n", Name: "n", TimeoutSeconds: proto.Float64(30)},
			`{"id":"n","kind":null,"name":"n","on_error":null,"fallback_node":null,"max_retries":0,"timeout_seconds":30.0}`,
		},
		"unset fields that are left out": {
			&kneov1.Diagnostic{Code: "E", Severity: "error", Message: "m"},
			`{"code":"E","severity":"error","message":"m","path":null,"suggestion":null}`,
		},
		"maps and defaults": {
			&kneov1.ListEnvironmentPoliciesResponse{Count: 2, Policies: map[string]*kneov1.EnvironmentPolicy{"b": {Enabled: proto.Bool(false)}, "a": {}}},
			`{"policies":{"a":{"enabled":true,"fail_on_warnings":false,"blocked_diagnostic_codes":[],"require_human_review":false,` +
				`"require_tool_permissions":false,"deny_unrestricted_tools":false,"require_guardrails":false},` +
				`"b":{"enabled":false,"fail_on_warnings":false,"blocked_diagnostic_codes":[],"require_human_review":false,` +
				`"require_tool_permissions":false,"deny_unrestricted_tools":false,"require_guardrails":false}},"count":2}`,
		},
		"lists of objects": {
			&kneov1.ListRunsResponse{Runs: []*kneov1.JsonObject{object(`{"id":"x"}`), {}}, Count: 2, SortBy: "s"},
			`{"runs":[{"id":"x"},{}],"count":2,"total":0,"window":0,"limit":0,"offset":0,"sort_by":"s","sort_order":""}`,
		},
		"a null value": {
			&kneov1.DiffEntry{Path: "p", Value: &kneov1.JsonValue{}},
			`{"path":"p","value":null}`,
		},
	}
	c := codec(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := string(c.Marshal(test.message)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !json.Valid(c.Marshal(test.message)) {
				t.Error("not JSON")
			}
		})
	}
}

func TestFloats(t *testing.T) {
	c := codec(t)
	for in, want := range map[float64]string{0: "0.0", 1: "1.0", 0.1: "0.1", 1e15: "1000000000000000.0", 1e16: "1e+16", 1e-4: "0.0001", 1e-5: "1e-05", -2.5: "-2.5", 1764553000.123456: "1764553000.123456"} {
		got := string(c.Marshal(&kneov1.GraphNode{TimeoutSeconds: &in}))
		if !strings.HasSuffix(got, `"timeout_seconds":`+want+"}") {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		body string
		want []string // type loc message
	}{
		"good":               {`{"input":"x","spec":{"version":"v1"},"skills":{"add":["a"]},"async_mode":"yes","timeout_seconds":5}`, nil},
		"nulls":              {`{"input":"x","spec":null,"spec_path":null,"environment":null,"skills":null,"session_id":null}`, nil},
		"empty":              {``, []string{"missing [body] Field required"}},
		"null":               {` null `, []string{"missing [body] Field required"}},
		"not an object":      {`[1]`, []string{"model_attributes_type [body] Input should be a valid dictionary or object to extract fields from"}},
		"missing":            {`{}`, []string{"missing [body input] Field required"}},
		"wrong type":         {`{"input":7}`, []string{"string_type [body input] Input should be a valid string"}},
		"null not allowed":   {`{"input":null}`, []string{"string_type [body input] Input should be a valid string"}},
		"default not null":   {`{"input":"x","target":null,"metadata":null}`, []string{"literal_error [body target] Input should be 'agent' or 'workflow'", "dict_type [body metadata] Input should be a valid dictionary"}},
		"broken":             {`{"ü":`, []string{"json_invalid [body 5] JSON decode error"}},
		"trailing":           {`{} {}`, []string{"json_invalid [body 3] JSON decode error"}},
		"nan":                {`{"input":"x","metadata":{"a":NaN}}`, []string{"json_invalid [body 29] JSON decode error"}},
		"duplicate":          {`{"input":"x","metadata":{"a":1,"a":2}}`, []string{"json_invalid [body 31] JSON decode error"}},
		"boolean":            {`{"input":"x","async_mode":"maybe"}`, []string{"bool_parsing [body async_mode] Input should be a valid boolean, unable to interpret input"}},
		"boolean of 2":       {`{"input":"x","async_mode":2}`, []string{"bool_parsing [body async_mode] Input should be a valid boolean, unable to interpret input"}},
		"boolean of 1.5":     {`{"input":"x","async_mode":1.5}`, []string{"bool_type [body async_mode] Input should be a valid boolean"}},
		"boolean of a list":  {`{"input":"x","async_mode":[]}`, []string{"bool_type [body async_mode] Input should be a valid boolean"}},
		"nested":             {`{"input":"x","skills":{"add":[1,"a",null],"more":1}}`, []string{"string_type [body skills add 0] Input should be a valid string", "string_type [body skills add 2] Input should be a valid string", "extra_forbidden [body skills more] Extra inputs are not permitted"}},
		"nested not object":  {`{"input":"x","skills":"a"}`, []string{"model_attributes_type [body skills] Input should be a valid dictionary or object to extract fields from"}},
		"all in field order": {`{"zeta":1,"metadata":[],"overlays":"a","alpha":2,"spec":"text"}`, []string{"missing [body input] Field required", "dict_type [body spec] Input should be a valid dictionary", "list_type [body overlays] Input should be a valid list", "dict_type [body metadata] Input should be a valid dictionary", "extra_forbidden [body zeta] Extra inputs are not permitted", "extra_forbidden [body alpha] Extra inputs are not permitted"}},
	}
	c := codec(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := lines(c.Decode([]byte(test.body), &kneov1.RunCreateRequest{}, "body"))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func lines(issues []problem.Issue) []string {
	var out []string
	for _, i := range issues {
		out = append(out, fmt.Sprintf("%s %v %s", i.Type, i.Loc, i.Msg))
	}
	return out
}

func TestDecodeKeepsFreeFormJSON(t *testing.T) {
	raw := `{"b": 1.0, "a":12345678901234567890, "ü":"\u00fc"}`
	var m kneov1.RunCreateRequest
	if issues := codec(t).Decode([]byte(`{"input":"\u00fc\n","spec": `+raw+` ,"overlays":["o"]}`), &m, "body"); issues != nil {
		t.Fatal(issues)
	}
	if string(m.GetSpec().GetRaw()) != raw || m.GetInput() != "ü\n" || len(m.GetOverlays()) != 1 {
		t.Errorf("%v", &m)
	}
}

func TestDecodeOfAKnownDocument(t *testing.T) {
	c := codec(t)
	body := func(text, more string) []byte {
		return []byte(`{"input":"` + text + strings.Repeat("x", 20<<10) + `","spec":{"a":[1]}` + more + `}`)
	}
	for range 2 {
		for _, text := range []string{"first", "other"} {
			var m kneov1.RunCreateRequest
			if issues := c.Decode(body(text, ""), &m, "body"); issues != nil {
				t.Fatal(issues)
			}
			if !strings.HasPrefix(m.GetInput(), text) || string(m.GetSpec().GetRaw()) != `{"a":[1]}` {
				t.Errorf("%.20s %s", m.GetInput(), m.GetSpec().GetRaw())
			}
		}
		var m kneov1.RunCreateRequest
		if got := lines(c.Decode(body("first", `,"zeta":1`), &m, "body")); len(got) != 1 || !strings.HasPrefix(got[0], "extra_forbidden [body zeta]") {
			t.Error("unknown member:", got)
		}
		if got := lines(c.Decode(body("first", `,"input":1`), &m, "body")); len(got) != 1 || !strings.HasPrefix(got[0], "json_invalid") {
			t.Error("duplicate member:", got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	c := codec(t)
	want := &kneov1.RunStatusResponse{
		RunId: "r", Status: "blocked", WorkflowName: proto.String(""), CurrentStepIndex: proto.Int32(0), VisitedSteps: []string{"a", "b"},
		PendingHumanRequest: &kneov1.JsonObject{Raw: []byte(`{"id":"q"}`)}, TraceEventCount: 4, Usage: &kneov1.TokenUsage{TotalTokens: 3},
		Metadata: &kneov1.JsonObject{Raw: []byte(`{}`)},
	}
	var got kneov1.RunStatusResponse
	if err := c.DecodeStored(append(c.Marshal(want)[:1], append([]byte(`"added_later":1,`), c.Marshal(want)[1:]...)...), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestSizeAndCanonical(t *testing.T) {
	for text, python := range map[string]string{
		`{}`: `{}`, `{"a":1,"b":[1,2,{"c":null}],"d":{}}`: `{"a": 1, "b": [1, 2, {"c": null}], "d": {}}`,
		`["\u00fc"]`: `["ü"]`, ` { "a" : "x\ty" } `: `{"a": "x\ty"}`, `[[],[[1]],"x"]`: `[[], [[1]], "x"]`,
	} {
		if got := wirejson.Size([]byte(text)); got != len(python) {
			t.Errorf("%s: %d, want %d", text, got, len(python))
		}
		if got := wirejson.MaxSize([]byte(text)); got < len(python) {
			t.Errorf("%s: at most %d, but it is %d", text, got, len(python))
		}
	}
	a, _ := wirejson.Canonical([]byte(`{"b":1.0,"a":{"z":"\u00fc","y":2}}`))
	b, _ := wirejson.Canonical([]byte(` {"a":{"y":2, "z":"ü"}, "b":1.0} `))
	if string(a) != string(b) {
		t.Errorf("%s and %s", a, b)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"input":"x","skills":{"add":["a"]},"spec":{"a":[1]}}`, `[`, `{"a":1,"a":2}`, "{\"input\":\"\xff\"}", `{"input":1e999}`} {
		f.Add([]byte(seed))
	}
	c := codec(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m kneov1.RunCreateRequest
		if issues := c.Decode(data, &m, "body"); len(issues) > 0 {
			return
		}
		if size, most := wirejson.Size(data), wirejson.MaxSize(data); size > most {
			t.Fatalf("%q: size %d, at most %d", data, size, most)
		}
		text := c.Marshal(&m)
		if !json.Valid(text) {
			t.Fatalf("wrote %q", text)
		}
		var again kneov1.RunCreateRequest
		if issues := c.Decode(text, &again, "body"); issues != nil {
			t.Fatalf("%q: %v", text, issues)
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	c := codec(b)
	m := &kneov1.RunStatusResponse{RunId: "r", Status: "completed", VisitedSteps: []string{"a", "b"}, Metadata: &kneov1.JsonObject{Raw: []byte(`{"a":1}`)}}
	var buf []byte
	for b.Loop() {
		buf = c.Append(buf[:0], m)
	}
}

func BenchmarkDecode(b *testing.B) {
	c := codec(b)
	body := []byte(`{"input":"hello","target":"agent","session_id":"s-77","metadata":{"ticket":"T-9"},"spec":{"version":"v1","agent":{"name":"greeter","system_prompt":"Be brief."}}}`)
	for b.Loop() {
		var m kneov1.RunCreateRequest
		if issues := c.Decode(body, &m, "body"); issues != nil {
			b.Fatal(issues)
		}
	}
}

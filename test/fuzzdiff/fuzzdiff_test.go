package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func response(t *testing.T, status int, body string) answer {
	t.Helper()
	a := answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, raw: []byte(body)}
	if err := json.Unmarshal(a.raw, &a.body); err != nil {
		a.body = nil
	}
	return a
}

func TestCompare(t *testing.T) {
	const id, other = "6aa70931-178b-4be6-8109-2b675a8e79f0", "e5492599-206b-4b74-a230-369a0f5cf453"
	for name, c := range map[string]struct {
		theirs, ours string
		want         []string
	}{
		"ids":      {`{"run_id":"` + id + `"}`, `{"run_id":"` + other + `"}`, nil},
		"times":    {`{"at":"2026-11-23T10:24:38.175285+00:00"}`, `{"at":"2026-12-01T00:00:00+00:00"}`, nil},
		"prose":    {`{"detail":{"error":"x","message":"a"}}`, `{"detail":{"error":"x","message":"b"}}`, nil},
		"echo":     {`{"detail":[{"loc":["body"],"input":{"a":[1]},"ctx":{}}]}`, `{"detail":[{"loc":["body"]}]}`, nil},
		"measures": {`{"duration_ms":1.5}`, `{"duration_ms":2}`, nil},
		"value":    {`{"status":"completed"}`, `{"status":"failed"}`, []string{`.status: "completed", ours "failed"`}},
		"absent":   {`{"a":1,"b":null}`, `{"a":1}`, []string{".b: null, ours absent"}},
		"list":     {`{"l":[1,2]}`, `{"l":[2,1]}`, []string{".l[0]: 1, ours 2", ".l[1]: 2, ours 1"}},
		"empty":    {`{"l":[]}`, `{"l":{}}`, []string{".l: [], ours {}"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := compare(response(t, 200, c.theirs), response(t, 200, c.ours))
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	got := compare(response(t, 200, `{}`), response(t, 404, `gone`))
	if len(got) != 2 || !strings.HasPrefix(got[0], "status: 200") || !strings.HasPrefix(got[1], "body: ") {
		t.Errorf("%q", got)
	}
}

func TestExplain(t *testing.T) {
	judge := func(r request, theirs, ours answer) ([]string, []string) {
		return explain(exchange{r, theirs, ours}, compare(theirs, ours))
	}
	queued, running := response(t, 202, `{"status":"queued"}`), response(t, 202, `{"status":"running"}`)
	r := request{Method: "POST", Path: "/v1/runs"}
	if names, rest := judge(r, running, queued); len(rest) > 0 || len(names) != 1 || !strings.HasPrefix(names[0], "W1 ") {
		t.Errorf("%q, %q", names, rest)
	}
	broken, refused := response(t, 500, `{"detail":{"error":"internal_error"}}`), response(t, 400, `{"detail":{"error":"spec_invalid"}}`)
	if _, rest := judge(r, broken, refused); len(rest) > 0 {
		t.Errorf("an internal error with a better status is not explained: %q", rest)
	}
	if _, rest := judge(r, refused, broken); len(rest) == 0 {
		t.Error("a new internal error is explained")
	}
	done, failed := response(t, 200, `{"status":"completed"}`), response(t, 200, `{"status":"failed"}`)
	if _, rest := judge(r, done, failed); len(rest) != 1 {
		t.Errorf("%q", rest)
	}
	r.resumed, r.Path = true, "/v1/runs/x/checkpoints"
	few := response(t, 200, `{"checkpoints":[{"type":"run_started","state":{"a":1}},{"type":"step_completed","step_id":"a"}]}`)
	more := response(t, 200, `{"checkpoints":[{"type":"run_started","state":{"a":2}},{"type":"step_completed","step_id":"a"}]}`)
	other := response(t, 200, `{"checkpoints":[{"type":"run_started","state":{"a":2}},{"type":"step_completed","step_id":"b"}]}`)
	if _, rest := judge(r, few, more); len(rest) > 0 {
		t.Errorf("the state of a resumed row is not explained: %q", rest)
	}
	if _, rest := judge(r, few, other); len(rest) == 0 {
		t.Error("a missing row of a resumed run is explained")
	}
}

// TestRules: every rule names where it is written down, and that place exists.
func TestRules(t *testing.T) {
	sources := regexp.MustCompile(`^([WXC]\d+|ADR \d{4}|execution\.md §[\d.]+)$`)
	for _, r := range rules {
		if !sources.MatchString(r.source) || r.says == "" {
			t.Errorf("%q says %q", r.source, r.says)
		}
		if number, ok := strings.CutPrefix(r.source, "ADR "); ok {
			found, err := filepath.Glob("../../docs/adr/" + number + "-*.md")
			if err != nil || len(found) != 1 {
				t.Errorf("%s: %v", r.source, found)
			}
		}
		if r.when == nil && r.lines == nil {
			t.Errorf("%q explains everything", r.says)
		}
	}
}

// TestGenerate makes many chains: the same seed makes the same ones, and every body of a damaged spec is still a document.
func TestGenerate(t *testing.T) {
	make := func(seed uint64) string {
		s := &session{rng: rand.New(rand.NewPCG(seed, 1))}
		var all []chain
		for range 300 {
			all = append(all, s.cases()...)
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if make(1) != make(1) {
		t.Error("the same seed makes other requests")
	}
	if make(1) == make(2) {
		t.Error("another seed makes the same requests")
	}
}

func TestFill(t *testing.T) {
	ids := map[string]string{}
	response(t, 200, `{"run_id":"r1","continuation_id":"t1","metadata":{"request":{"id":"q1"}}}`).remember(ids)
	got := fill(request{Path: "/v1/runs/{run}", Body: `{"task":"{task}","request_id":"{request}"}`}, ids)
	if got.Path != "/v1/runs/r1" || got.Body != `{"task":"t1","request_id":"q1"}` {
		t.Errorf("%+v", got)
	}
}

func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("corpus/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus (%v)", err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var c chain
		if err := json.Unmarshal(raw, &c); err != nil || len(c) == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

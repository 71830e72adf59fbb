package service

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestLookup(t *testing.T) {
	doc := json.RawMessage(` { "a" : 1, "b\u0063": {"x": [1, {"y": "z,}"}], "n": null }, "t": "q\"uote", "e": [] } `)
	for dotted, want := range map[string]string{
		"a": "1", "bc.x": `[1, {"y": "z,}"}]`, "bc.n": "null", "t": `"q\"uote"`, "e": "[]", "missing": "", "bc.missing": "", "a.b": "",
	} {
		if got := string(path(doc, dotted)); got != want {
			t.Errorf("path(%q) = %q, want %q", dotted, got, want)
		}
	}
	if s, ok := text(path(doc, "t")); !ok || s != `q"uote` {
		t.Errorf("text = %q, %v", s, ok)
	}
	if got := texts(json.RawMessage(`[ "a" , 1, "b" ]`)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("texts: %v", got)
	}
}

func TestLookupSurvivesNonsense(t *testing.T) {
	for _, bad := range []string{"", "{", `{"a`, `{"a"`, `{"a":`, `{"a":[`, "[", `["`, "x", `{"a":1`} {
		elements(json.RawMessage(bad), func(json.RawMessage) {})
		path(json.RawMessage(bad), "a.b")
	}
}

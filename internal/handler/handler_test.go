package handler

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func upper(_ context.Context, text string) (string, error) { return strings.ToUpper(text), nil }

func TestRegistry(t *testing.T) {
	r := NewRegistry()
	if err := r.Register(Definition{Name: "m:up", Kind: Function}, TextFunc(upper)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"m.up", "m:up"} {
		out, err := r.Call(t.Context(), Function, name, json.RawMessage(`"a"`), Meta{})
		if err != nil || string(out) != `"A"` {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	if !r.Has(Function, "m:up") || r.Has(Tool, "m.up") {
		t.Error("catalog is wrong")
	}
	for _, d := range []Definition{{Name: "m.up", Kind: Function}, {Kind: Function}, {Name: "x", Kind: "robot"}} {
		if r.Register(d, TextFunc(upper)) == nil {
			t.Errorf("%+v: no error", d)
		}
	}
	if r.Register(Definition{Name: "y", Kind: Tool}, nil) == nil {
		t.Error("nil function: no error")
	}
	_, err := r.Call(t.Context(), Function, "m.pu", nil, Meta{})
	if e := AsError(err); e == nil || e.Code != CodeUnavailable || !strings.Contains(e.Message, "Nearest names: m.up.") {
		t.Errorf("error %v", err)
	}
	if _, err := r.Call(t.Context(), Function, "m.up", json.RawMessage(`{}`), Meta{}); AsError(err) == nil || AsError(err).Code != CodeInvalidInput {
		t.Errorf("error %v", err)
	}
}

func TestSources(t *testing.T) {
	inner, outer := NewRegistry(), NewRegistry()
	outer.AddSource(inner)
	for r, names := range map[*Registry][]string{inner: {"b", "a"}, outer: {"a", "c"}} {
		for _, n := range names {
			from := "outer"
			if r == inner {
				from = "inner"
			}
			fn := func(context.Context, json.RawMessage, Meta) (json.RawMessage, error) { return json.Marshal(from) }
			if err := r.Register(Definition{Name: n, Kind: Tool, Description: from}, fn); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := outer.Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("names %v", got)
	}
	for name, want := range map[string]string{"a": `"outer"`, "b": `"inner"`} {
		if out, err := outer.Call(t.Context(), Tool, name, nil, Meta{}); err != nil || string(out) != want {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	if d, ok := outer.Definition(Tool, "b"); !ok || d.Description != "inner" {
		t.Errorf("definition %+v %v", d, ok)
	}
	if _, err := outer.Call(t.Context(), Tool, "zz", nil, Meta{}); AsError(err) == nil {
		t.Errorf("error %v", err)
	}
}

func TestFailures(t *testing.T) {
	r := NewRegistry()
	own := &Error{Code: "mine", Message: "m"}
	for name, fn := range map[string]Func{
		"panics": func(context.Context, json.RawMessage, Meta) (json.RawMessage, error) { panic("secret") },
		"plain":  func(context.Context, json.RawMessage, Meta) (json.RawMessage, error) { return nil, errors.New("plain") },
		"own":    func(context.Context, json.RawMessage, Meta) (json.RawMessage, error) { return nil, own },
		"waits": func(ctx context.Context, _ json.RawMessage, _ Meta) (json.RawMessage, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		if err := r.Register(Definition{Name: name, Kind: Tool}, fn); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"panics": CodeFailed, "plain": CodeFailed, "own": "mine"} {
		_, err := r.Call(t.Context(), Tool, name, nil, Meta{})
		if e := AsError(err); e == nil || e.Code != want || strings.Contains(e.Message, "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Call(t.Context(), Tool, "waits", nil, Meta{Deadline: time.Now()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"app.funcs.shout", "app.funcs.whisper", "other.shout", "far.away.thing"}
	for name, want := range map[string][]string{
		"app.funcs.shuot":   {"app.funcs.shout", "app.funcs.whisper"},
		"app.tools:shout":   {"app.funcs.shout", "other.shout"},
		"zzzzzzzzzzzzzzzzz": nil,
	} {
		if got := Nearest(name, names, 3); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{`"a"`: "a", `{"output_text":"b"}`: "b", `42`: "42", `{"a":1}`: `{"a":1}`, `null`: ""} {
		if got := Text(json.RawMessage(in)); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestParseVerdict(t *testing.T) {
	reason, revised := "r", "v"
	for in, want := range map[string]Verdict{
		`true`: {Passed: true}, `false`: {}, `{"passed":true}`: {Passed: true},
		`{"passed":false,"reason":"r","revised_text":"v"}`: {Reason: &reason, RevisedText: &revised},
	} {
		got, err := ParseVerdict(json.RawMessage(in))
		if err != nil || got.Passed != want.Passed || (got.Reason == nil) != (want.Reason == nil) || (got.RevisedText == nil) != (want.RevisedText == nil) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{`null`, `1`, `"yes"`, `{}`, `{"passed":null}`, `[]`, ``} {
		if _, err := ParseVerdict(json.RawMessage(in)); err == nil {
			t.Errorf("%s passes", in)
		}
	}
}

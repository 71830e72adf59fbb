package errmap

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kneo-go/kneo/internal/problem"
)

// Extras writes the extra keys of an error as a JSON object, in their order; run_id comes last unless it is among them.
func Extras(e *problem.Error) []byte {
	out := []byte{'{'}
	out = appendExtras(out, e)
	return append(out, '}')
}

func appendExtras(dst []byte, e *problem.Error) []byte {
	named := false
	for _, f := range e.Fields {
		named = named || f.Key == "run_id"
		dst = appendPair(dst, f.Key, encode(f.Value))
	}
	if e.RunID != "" && !named {
		dst = appendPair(dst, "run_id", encode(e.RunID))
	}
	return dst
}

func appendPair(dst []byte, key string, value []byte) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, encode(key)...)
	dst = append(dst, ':')
	return append(dst, value...)
}

// Envelope writes the HTTP body of an error: `{"detail":{"error","message",…}}`, or `{"detail":[…]}` for violations of the contract. A failed
// readiness check repeats its code and its checks at the top, where operators look for them.
func Envelope(e *problem.Error) []byte {
	if len(e.Issues) > 0 {
		return issueList(e.Issues)
	}
	out := append([]byte(`{"detail":`), '{')
	out = appendPair(out, "error", encode(string(e.Code)))
	out = appendPair(out, "message", encode(shown(e)))
	out = append(appendExtras(out, e), '}')
	if e.Code == problem.NotReady {
		out = append(out, `,"error":"not_ready"`...)
		for _, f := range e.Fields {
			if f.Key == "metadata" {
				out = append(append(out, `,"metadata":`...), encode(f.Value)...)
			}
		}
	}
	return append(out, '}')
}

func issueList(issues []problem.Issue) []byte {
	out := []byte(`{"detail":[`)
	for i, issue := range issues {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '{')
		out = appendPair(out, "type", encode(issue.Type))
		out = appendPair(out, "loc", encode(issue.Loc))
		out = appendPair(out, "msg", encode(issue.Msg))
		if issue.Input != nil {
			out = appendPair(out, "input", issue.Input)
		}
		if issue.Ctx != nil {
			out = appendPair(out, "ctx", encode(issue.Ctx))
		}
		out = append(out, '}')
	}
	return append(out, ']', '}')
}

// Detail writes a body whose detail is a plain text, as the router answers.
func Detail(text string) []byte {
	return append(append([]byte(`{"detail":`), encode(text)...), '}')
}

// ErrEnvelope is returned for a text that is no error body.
var ErrEnvelope = errors.New("errmap: not an error body")

// FromEnvelope reads a body that Envelope wrote.
func FromEnvelope(body []byte) (*problem.Error, error) {
	var outer struct {
		Detail json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal(body, &outer); err != nil || len(outer.Detail) == 0 {
		return nil, ErrEnvelope
	}
	if outer.Detail[0] == '[' {
		e := problem.New(problem.ValidationFailed, "The request is not valid.")
		var items []struct {
			Type, Msg string
			Loc       []any
			Input     json.RawMessage
			Ctx       map[string]any
		}
		if err := json.Unmarshal(outer.Detail, &items); err != nil {
			return nil, ErrEnvelope
		}
		for _, i := range items {
			e.Issues = append(e.Issues, problem.Issue{Type: i.Type, Loc: i.Loc, Msg: i.Msg, Input: i.Input, Ctx: i.Ctx})
		}
		return e, nil
	}
	e := &problem.Error{}
	for _, f := range fields(outer.Detail) {
		switch f.Key {
		case "error":
			e.Code = problem.Code(text(f.Value))
		case "message":
			e.Message = text(f.Value)
		default:
			e.Fields = append(e.Fields, f)
			if f.Key == "run_id" {
				e.RunID = text(f.Value)
			}
		}
	}
	if e.Code == "" {
		return nil, ErrEnvelope
	}
	return e, nil
}

// fields splits a JSON object into its members in order; values stay raw.
func fields(object []byte) []problem.Field {
	dec := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(object)))
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return nil
	}
	var out []problem.Field
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return out
		}
		key := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return out
		}
		out = append(out, problem.Field{Key: key, Value: json.RawMessage(value.Clone())})
	}
	return out
}

func text(v any) string {
	raw, ok := v.(json.RawMessage)
	if !ok {
		return ""
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return ""
	}
	return s
}

// encode writes a value without HTML escaping; what cannot be written becomes null.
func encode(v any) []byte {
	if raw, ok := v.(json.RawMessage); ok {
		if len(raw) == 0 {
			return []byte("null")
		}
		return raw
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

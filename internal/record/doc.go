// Package record renders stored runs as the wire shows them: run records, metadata, checkpoints, traces, human tasks, recovery views and
// the bodies that answer a leg. Everything that leaves the platform through it is redacted. JSON is appended by hand: records are rendered on
// every step and every read. It imports internal/run and internal/redact only.
package record

import (
	"encoding/json"
	"strconv"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
)

// object appends the members of one JSON object.
type object struct {
	buf   []byte
	first bool
}

func open(dst []byte) *object { return &object{append(dst, '{'), true} }

func (o *object) close() []byte { return append(o.buf, '}') }

func (o *object) key(k string) {
	if !o.first {
		o.buf = append(o.buf, ',')
	}
	o.first = false
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, k...)
	o.buf = append(o.buf, '"', ':')
}

func (o *object) str(k, v string) { o.key(k); o.buf = run.AppendString(o.buf, v) }

func (o *object) opt(k string, v *string) { o.key(k); o.buf = run.AppendOptional(o.buf, v) }

func (o *object) text(k, v string) { o.str(k, redact.Text(v)) }

func (o *object) optText(k string, v *string) {
	o.key(k)
	if v == nil {
		o.buf = append(o.buf, "null"...)
		return
	}
	o.buf = run.AppendString(o.buf, redact.Text(*v))
}

func (o *object) int(k string, v int64) { o.key(k); o.buf = strconv.AppendInt(o.buf, v, 10) }

func (o *object) optInt(k string, v *int64) {
	o.key(k)
	if v == nil {
		o.buf = append(o.buf, "null"...)
		return
	}
	o.buf = strconv.AppendInt(o.buf, *v, 10)
}

func (o *object) bool(k string, v bool) { o.key(k); o.buf = strconv.AppendBool(o.buf, v) }

func (o *object) list(k string, v []string) { o.key(k); o.buf = run.AppendStrings(o.buf, v) }

// raw appends a value that is JSON already; an empty one becomes the given literal.
func (o *object) raw(k string, v []byte, empty string) {
	o.key(k)
	if len(v) == 0 {
		o.buf = append(o.buf, empty...)
		return
	}
	o.buf = append(o.buf, v...)
}

// members appends the members of another object.
func (o *object) members(v []byte) {
	inner := inside(v)
	if len(inner) == 0 {
		return
	}
	if !o.first {
		o.buf = append(o.buf, ',')
	}
	o.first = false
	o.buf = append(o.buf, inner...)
}

// inside returns what is between the braces of an object.
func inside(v []byte) []byte {
	start, end := 0, len(v)
	for start < end && v[start] != '{' {
		start++
	}
	for end > start && v[end-1] != '}' {
		end--
	}
	if end-start < 2 {
		return nil
	}
	return trim(v[start+1 : end-1])
}

func trim(v []byte) []byte {
	for len(v) > 0 && isSpace(v[0]) {
		v = v[1:]
	}
	for len(v) > 0 && isSpace(v[len(v)-1]) {
		v = v[:len(v)-1]
	}
	return v
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// member is one key of an object with the positions of key and value in the text.
type member struct {
	key      string
	start    int
	from, to int
	value    []byte
}

// scan calls fn for every member of the object in v, in order, until fn returns false. It reads well-formed JSON only.
func scan(v []byte, fn func(m member) bool) {
	i := skip(v, 0)
	if i >= len(v) || v[i] != '{' {
		return
	}
	i = skip(v, i+1)
	for i < len(v) && v[i] == '"' {
		m := member{start: i}
		end := stringEnd(v, i)
		m.key = unquote(v[i:end])
		i = skip(v, end)
		if i >= len(v) || v[i] != ':' {
			return
		}
		i = skip(v, i+1)
		m.from = i
		m.to = valueEnd(v, i)
		m.value = v[m.from:m.to]
		if !fn(m) {
			return
		}
		i = skip(v, m.to)
		if i >= len(v) || v[i] != ',' {
			return
		}
		i = skip(v, i+1)
	}
}

func unquote(q []byte) string {
	plain := q[1 : len(q)-1]
	for _, c := range plain {
		if c == '\\' {
			var s string
			if json.Unmarshal(q, &s) == nil {
				return s
			}
		}
	}
	return string(plain)
}

func skip(v []byte, i int) int {
	for i < len(v) && isSpace(v[i]) {
		i++
	}
	return i
}

func stringEnd(v []byte, i int) int {
	for i++; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(v)
}

func valueEnd(v []byte, i int) int {
	depth := 0
	for i < len(v) {
		switch v[i] {
		case '"':
			i = stringEnd(v, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			if depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		default:
			if depth == 0 && isSpace(v[i]) {
				return i
			}
		}
		i++
	}
	return i
}

// field returns the raw value of a key, or nil.
func field(v []byte, key string) []byte {
	var found []byte
	scan(v, func(m member) bool {
		if m.key == key {
			found = m.value
			return false
		}
		return true
	})
	return found
}

// elements calls fn for every element of the array in v.
func elements(v []byte, fn func(e []byte)) {
	i := skip(v, 0)
	if i >= len(v) || v[i] != '[' {
		return
	}
	i = skip(v, i+1)
	for i < len(v) && v[i] != ']' {
		end := valueEnd(v, i)
		if end <= i {
			return
		}
		fn(v[i:end])
		i = skip(v, end)
		if i >= len(v) || v[i] != ',' {
			return
		}
		i = skip(v, i+1)
	}
}

// Field returns the raw value of a top-level key of an object, or nil.
func Field(v []byte, key string) json.RawMessage { return field(v, key) }

func isNull(v []byte) bool {
	v = trim(v)
	return len(v) == 0 || string(v) == "null"
}

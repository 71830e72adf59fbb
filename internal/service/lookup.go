package service

import (
	"bytes"
	"encoding/json"
	"strings"
)

// member returns the raw value of a key of a JSON object, or nil. Only the object's own level is scanned.
func member(object json.RawMessage, key string) json.RawMessage {
	dec := scanner{src: object}
	if !dec.open('{') {
		return nil
	}
	for {
		name, ok := dec.key()
		if !ok {
			return nil
		}
		value := dec.value()
		if name == key {
			return value
		}
	}
}

// elements calls f with every raw item of a JSON array, in order.
func elements(array json.RawMessage, f func(value json.RawMessage)) {
	dec := scanner{src: array}
	if !dec.open('[') {
		return
	}
	for {
		dec.skip()
		if dec.at >= len(dec.src) || dec.src[dec.at] == ']' {
			return
		}
		f(dec.value())
		dec.skip()
		if dec.at < len(dec.src) && dec.src[dec.at] == ',' {
			dec.at++
		}
	}
}

// text returns a JSON string's text; ok is false for other values.
func text(raw json.RawMessage) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// texts returns the strings of a JSON array.
func texts(raw json.RawMessage) []string {
	var out []string
	elements(raw, func(v json.RawMessage) {
		if s, ok := text(v); ok {
			out = append(out, s)
		}
	})
	return out
}

// isNull tells an absent or null value.
func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// path finds a dotted path in a JSON value; list items have no path.
func path(raw json.RawMessage, dotted string) json.RawMessage {
	for dotted != "" {
		key, rest, _ := strings.Cut(dotted, ".")
		if raw = member(raw, key); raw == nil {
			return nil
		}
		dotted = rest
	}
	return raw
}

// scanner walks valid JSON without decoding it.
type scanner struct {
	src []byte
	at  int
}

func (s *scanner) skip() {
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case ' ', '\n', '\t', '\r':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) open(c byte) bool {
	s.skip()
	if s.at >= len(s.src) || s.src[s.at] != c {
		return false
	}
	s.at++
	return true
}

// key reads the next key and its colon.
func (s *scanner) key() (string, bool) {
	s.skip()
	if s.at < len(s.src) && s.src[s.at] == ',' {
		s.at++
		s.skip()
	}
	if s.at >= len(s.src) || s.src[s.at] != '"' {
		return "", false
	}
	name, ok := text(s.value())
	s.skip()
	if !ok || s.at >= len(s.src) || s.src[s.at] != ':' {
		return "", false
	}
	s.at++
	return name, true
}

// value returns the next value without the blanks around it.
func (s *scanner) value() json.RawMessage {
	s.skip()
	from, depth := s.at, 0
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case '"':
			s.quoted()
			if depth == 0 {
				return s.src[from:s.at]
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.src[from:s.at]
			}
			if depth--; depth == 0 {
				s.at++
				return s.src[from:s.at]
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return s.src[from:s.at]
			}
		}
		s.at++
	}
	return s.src[from:s.at]
}

func (s *scanner) quoted() {
	for s.at++; s.at < len(s.src); s.at++ {
		switch s.src[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return
		}
	}
}

package redact

import (
	"bytes"
	"slices"
	"strings"
	"unsafe"
)

// exempt names hold secret terms but only count things.
var exempt = []string{
	"input_tokens", "output_tokens", "total_tokens", "prompt_tokens", "completion_tokens", "token_usage", "usage",
	"tokens_input_total", "tokens_output_total", "tokens_total", "trace_event_count",
}

// terms by kind. words match a whole segment or begin or end one; pairs match two segments in a row (the last may be plural).
var (
	secretWords = []string{"apikey", "authorization", "bearer", "cookie", "credential", "password", "passwd", "secret", "session", "token"}
	secretPairs = [][2]string{{"api", "key"}, {"ca", "bundle"}, {"client", "cert"}, {"client", "key"}, {"private", "key"}, {"refresh", "token"}, {"set", "cookie"}}
	dataWords   = []string{"email", "ssn"}
	dataPairs   = [][2]string{{"social", "security"}}
)

// Key reports whether the value of an object key of this name is hidden whatever it is.
func Key(name string) bool { return sensitive([]byte(name)) }

func sensitive(name []byte) bool {
	var buf [64]byte
	norm := normalise(buf[:0], name)
	if matches(norm, dataWords, dataPairs) {
		return true
	}
	if slices.ContainsFunc(exempt, func(e string) bool { return string(name) == e }) {
		return false
	}
	return matches(norm, secretWords, secretPairs)
}

// normalise appends name in snake_case.
func normalise(dst, name []byte) []byte {
	for i, c := range name {
		switch {
		case c >= 'a' && c <= 'z' || digit(c):
			dst = append(dst, c)
		case c >= 'A' && c <= 'Z':
			if i > 0 && (lower(name[i-1]) || digit(name[i-1]) || upper(name[i-1]) && i+1 < len(name) && lower(name[i+1])) {
				dst = append(dst, '_')
			}
			dst = append(dst, c|0x20)
		default:
			dst = append(dst, '_')
		}
	}
	return dst
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

func matches(norm []byte, words []string, pairs [][2]string) bool {
	var previous []byte
	for len(norm) > 0 {
		segment := norm
		if i := bytes.IndexByte(norm, '_'); i >= 0 {
			segment, norm = norm[:i], norm[i+1:]
		} else {
			norm = nil
		}
		if len(segment) == 0 {
			continue
		}
		if segmentMatches(segment, words, pairs) || pairMatches(previous, segment, pairs) {
			return true
		}
		previous = segment
	}
	return false
}

func segmentMatches(segment []byte, words []string, pairs [][2]string) bool {
	if string(segment) == "tokens" {
		return false
	}
	s := view(segment)
	for _, w := range words {
		if len(s) >= len(w) && (strings.HasPrefix(s, w) || strings.HasSuffix(s, w)) {
			return true
		}
	}
	for _, p := range pairs {
		n := len(p[0]) + len(p[1])
		if len(s) <= n {
			continue
		}
		if s[:len(p[0])] == p[0] && s[len(p[0]):n] == p[1] {
			return true
		}
		if t := s[len(s)-n:]; t[:len(p[0])] == p[0] && t[len(p[0]):] == p[1] {
			return true
		}
	}
	return false
}

func pairMatches(previous, segment []byte, pairs [][2]string) bool {
	if len(previous) == 0 {
		return false
	}
	s := strings.TrimSuffix(view(segment), "s")
	for _, p := range pairs {
		if (s == p[1] || view(segment) == p[1]) && view(previous) == p[0] {
			return true
		}
	}
	return false
}

// view reads bytes as text without a copy; the text lives no longer than the bytes.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func triggersBytes(b []byte) uint16 { return triggers(view(b)) }

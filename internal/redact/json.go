package redact

import (
	"encoding/json"
	"unicode/utf8"
)

// JSON returns raw with the text rules applied to every string value and the values of sensitive keys hidden, at any depth. Numbers, key order
// and spacing stay as they are. A document that needs no change is returned itself, without a copy; the caller must not write to it. raw must be
// valid JSON; what follows the first malformed byte is hidden.
func JSON(raw []byte) []byte {
	w := writer{src: raw}
	w.run()
	return w.result()
}

// writer scans src and copies to dst only from the first change on.
type writer struct {
	src []byte
	dst []byte
	// kept is the end of the part of src that dst already stands for.
	kept    int
	changed bool
	// objects tells for every open container whether it is an object.
	objects []bool
}

func (w *writer) result() []byte {
	if !w.changed {
		return w.src
	}
	return append(w.dst, w.src[w.kept:]...)
}

// replace puts text in place of src[from:to].
func (w *writer) replace(from, to int, text []byte) {
	if !w.changed {
		w.dst = make([]byte, 0, len(w.src)+64)
		w.changed = true
	}
	w.dst = append(w.dst, w.src[w.kept:from]...)
	w.dst = append(w.dst, text...)
	w.kept = to
}

var maskJSON = []byte(`"` + Mask + `"`)

func (w *writer) run() {
	src := w.src
	key := false
	for i := 0; i < len(src); {
		switch src[i] {
		case '{':
			w.objects = append(w.objects, true)
			key = true
			i++
		case '[':
			w.objects = append(w.objects, false)
			key = false
			i++
		case '}', ']':
			if n := len(w.objects); n > 0 {
				w.objects = w.objects[:n-1]
			}
			key = false
			i++
		case ',':
			key = len(w.objects) > 0 && w.objects[len(w.objects)-1]
			i++
		case '"':
			end, escaped := stringEnd(src, i)
			if key {
				i = w.key(i, end, escaped)
				key = false
				continue
			}
			w.text(i, end, escaped)
			i = end
		default:
			i++
		}
	}
}

// key hides the value of the key at src[from:to] when it is sensitive, and returns where to go on.
func (w *writer) key(from, to int, escaped bool) int {
	name := w.src[from+1 : max(to-1, from+1)]
	if escaped {
		name = []byte(decode(w.src[from:to]))
	}
	if !sensitive(name) {
		return to
	}
	i := to
	for i < len(w.src) && (w.src[i] == ':' || space(w.src[i])) {
		i++
	}
	end := valueEnd(w.src, i)
	w.replace(i, end, maskJSON)
	return end
}

func (w *writer) text(from, to int, escaped bool) {
	if to-from < 8 {
		return
	}
	var s string
	if escaped {
		s = decode(w.src[from:to])
	} else {
		body := w.src[from+1 : to-1]
		if triggersBytes(body) == 0 {
			return
		}
		s = string(body)
	}
	if r := Text(s); r != s {
		w.replace(from, to, AppendString(nil, r))
	}
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// stringEnd returns the index after the string that begins at i, and whether it holds escapes.
func stringEnd(src []byte, i int) (int, bool) {
	escaped := false
	for i++; i < len(src); i++ {
		switch src[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return len(src), escaped
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(src []byte, i int) int {
	depth := 0
	for i < len(src) {
		switch src[i] {
		case '"':
			i, _ = stringEnd(src, i)
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
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		default:
			if depth == 0 && space(src[i]) {
				return i
			}
		}
		i++
	}
	return i
}

func decode(quoted []byte) string {
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return Mask
	}
	return s
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string without escaping HTML or non-ASCII characters.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

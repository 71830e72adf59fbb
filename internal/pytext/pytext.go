// Package pytext renders values the way Python prints them, where that text is part of the contract (reasons of guardrails, the echo of a tool
// without a handler). It imports the standard library only.
package pytext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// Strings renders a list of strings: ['a', 'b'].
func Strings(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Quote renders a string in single quotes, or in double quotes when it holds single ones and no double ones.
func Quote(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}

// JSON renders a JSON document as Python prints the decoded value, keys in their order; text that is not JSON is returned as it is.
func JSON(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var b strings.Builder
	if err := value(&b, d); err != nil {
		return string(raw)
	}
	return b.String()
}

func value(b *strings.Builder, d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		return container(b, d, t)
	case string:
		b.WriteString(Quote(t))
	case json.Number:
		b.WriteString(number(t))
	case bool:
		if t {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	default:
		b.WriteString("None")
	}
	return nil
}

func container(b *strings.Builder, d *json.Decoder, open json.Delim) error {
	b.WriteString(open.String())
	for first := true; d.More(); first = false {
		if !first {
			b.WriteString(", ")
		}
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			b.WriteString(Quote(fmt.Sprint(key)) + ": ")
		}
		if err := value(b, d); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err != nil {
		return err
	}
	b.WriteString(fmt.Sprint(end))
	return nil
}

func number(n json.Number) string {
	s := n.String()
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	f, err := n.Float64()
	if err != nil {
		return s
	}
	return Float(f)
}

// Float renders a number as Python prints a float: 1 is 1.0.
func Float(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e16 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// Dump renders a JSON document with Python's default separators and everything outside ASCII escaped; text that is not JSON is returned as it is.
func Dump(raw json.RawMessage) string {
	var b strings.Builder
	inString := false
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return string(raw)
	}
	escaped := false
	for _, r := range compact.String() {
		switch {
		case r >= 0x7f:
			escapeRune(&b, r)
			escaped = false
			continue
		case inString:
			inString = r != '"' || escaped
			escaped = r == '\\' && !escaped
		case r == '"':
			inString = true
		case r == ',' || r == ':':
			b.WriteRune(r)
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Error renders {"error": message} as Dump does.
func Error(message string) string {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]string{"error": message}); err != nil {
		return `{"error": "unprintable"}`
	}
	return Dump(bytes.TrimSpace(buf.Bytes()))
}

func escapeRune(b *strings.Builder, r rune) {
	if r >= 0x10000 {
		r -= 0x10000
		fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

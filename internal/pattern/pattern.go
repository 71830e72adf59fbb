// Package pattern compiles the regular expressions of guardrails. Specs write them in Python's dialect, with look-around and
// back-references, so the engine is a backtracking one under a time limit (decision X11). It imports the regexp2 library only.
package pattern

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// MatchTimeout bounds one match of a backtracking pattern.
const MatchTimeout = 2 * time.Second

// MaxLength bounds the text of one pattern in bytes.
const MaxLength = 16 << 10

// Compile translates a pattern and compiles it. The error says what is wrong in words for the author of a spec.
func Compile(expr string) (*regexp2.Regexp, error) {
	if len(expr) > MaxLength {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", MaxLength)
	}
	re, err := regexp2.Compile(translate(expr), regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	re.MatchTimeout = MatchTimeout
	return re, nil
}

// translate rewrites what Python spells differently: (?P<name>…), (?P=name), \Z and {,n}.
func translate(expr string) string {
	if !strings.Contains(expr, "(?P") && !strings.Contains(expr, `\Z`) && !strings.Contains(expr, "{,") {
		return expr
	}
	var b strings.Builder
	inClass := false
	for i := 0; i < len(expr); i++ {
		rest := expr[i:]
		switch c := expr[i]; {
		case c == '\\' && i+1 < len(expr):
			if expr[i+1] == 'Z' && !inClass {
				b.WriteString(`\z`)
			} else {
				b.WriteString(rest[:2])
			}
			i++
		case inClass:
			inClass = c != ']'
			b.WriteByte(c)
		case c == '[':
			inClass = true
			b.WriteByte(c)
			// A bracket that comes first in a class is a literal.
			if strings.HasPrefix(rest[1:], "^]") {
				b.WriteString(`^\]`)
				i += 2
			} else if strings.HasPrefix(rest[1:], "]") {
				b.WriteString(`\]`)
				i++
			}
		case strings.HasPrefix(rest, "(?P<"):
			b.WriteString("(?<")
			i += 3
		case strings.HasPrefix(rest, "(?P="):
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				b.WriteString(rest)
				return b.String()
			}
			b.WriteString(`\k<` + rest[4:end] + ">")
			i += end
		case strings.HasPrefix(rest, "{,") && isBound(rest[2:]):
			b.WriteString("{0,")
			i++
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isBound(s string) bool {
	digits := 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
		digits++
	}
	return digits > 0 && digits < len(s) && s[digits] == '}'
}

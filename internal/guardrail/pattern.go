package guardrail

import (
	"errors"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
	lru "github.com/hashicorp/golang-lru/v2"
)

// matchLimit bounds one pattern on one text; a pattern that needs longer counts as a failed check.
const matchLimit = time.Second

// cachedPatterns bounds the compiled patterns that are kept.
const cachedPatterns = 512

var errTooSlow = errors.New("the match took too long")

// patternCache compiles patterns once.
type patternCache struct {
	compiled *lru.Cache[string, *regexp2.Regexp]
	limit    time.Duration
}

func newPatternCache(limit time.Duration) (*patternCache, error) {
	c, err := lru.New[string, *regexp2.Regexp](cachedPatterns)
	if err != nil {
		return nil, err
	}
	return &patternCache{compiled: c, limit: limit}, nil
}

// New returns a checker.
func New() (*Checker, error) {
	c, err := newPatternCache(matchLimit)
	if err != nil {
		return nil, err
	}
	return &Checker{patterns: c}, nil
}

// ValidPattern returns the reason why a pattern cannot be used, or nil.
func ValidPattern(pattern string) error {
	_, err := regexp2.Compile(translate(pattern), regexp2.None)
	return err
}

func (c *patternCache) match(pattern, text string) (bool, error) {
	re, ok := c.compiled.Get(pattern)
	if !ok {
		var err error
		re, err = regexp2.Compile(translate(pattern), regexp2.None)
		if err != nil {
			return false, err
		}
		re.MatchTimeout = c.limit
		c.compiled.Add(pattern, re)
	}
	matched, err := re.MatchString(text)
	if err != nil {
		return false, errTooSlow
	}
	return matched, nil
}

// translate turns Python's spelling of groups and anchors into the engine's: (?P<n>…), (?P=n) and \Z.
func translate(pattern string) string {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			if rest[1] == 'Z' && !inClass {
				b.WriteString(`\z`)
			} else {
				b.WriteString(rest[:2])
			}
			i++
		case inClass:
			inClass = rest[0] != ']'
			b.WriteByte(rest[0])
		case rest[0] == '[':
			inClass = true
			n := classStart(rest)
			b.WriteString(rest[:n])
			i += n - 1
		case strings.HasPrefix(rest, "(?P<"):
			b.WriteString("(?<")
			i += 3
		case strings.HasPrefix(rest, "(?P=") && strings.Contains(rest, ")"):
			end := strings.IndexByte(rest, ')')
			b.WriteString(`\k<` + rest[4:end] + `>`)
			i += end
		default:
			b.WriteByte(rest[0])
		}
	}
	return b.String()
}

// classStart is the length of "[", an optional "^" and a "]" that is literal because it comes first.
func classStart(s string) int {
	n := 1
	if n < len(s) && s[n] == '^' {
		n++
	}
	if n < len(s) && s[n] == ']' {
		n++
	}
	return n
}

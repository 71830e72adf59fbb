package redact

import (
	"regexp"
	"strings"
)

// Bits of the rules that a text may need; see triggers.
const (
	mayEmail uint16 = 1 << iota
	maySSN
	mayCookie
	mayScheme
	mayToken
	maySK
	mayAIza
	mayJWT
	mayAWS
	mayGitHub
	mayPair
	mayAssign
)

// rule is one replacement. It runs only on texts that carry its trigger, so that ordinary texts cost one pass.
type rule struct {
	trigger uint16
	pattern *regexp.Regexp
	// replace is the template; accept, when set, must agree with a match first.
	replace string
	accept  func(string) bool
}

// rules are in the order in which they are applied.
var rules = []rule{
	{trigger: mayEmail, pattern: regexp.MustCompile(`[A-Za-z0-9._%+\-]+@[A-Za-z0-9.\-]+\.[A-Za-z]{2,}`), replace: MaskEmail},
	{trigger: maySSN, pattern: regexp.MustCompile(`\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b`), replace: MaskSSN},
	{trigger: mayCookie | mayAssign, pattern: regexp.MustCompile(`(?i)\b(set-cookie|cookie)(\s*[:=]\s*)[^\r\n]+`), replace: `${1}${2}` + Mask},
	{trigger: mayScheme, pattern: regexp.MustCompile(`(?i)\b(bearer|basic|digest)\s+[A-Za-z0-9._~+/=\-]+`), replace: `${1} ` + Mask},
	{
		trigger: mayToken, pattern: regexp.MustCompile(`(?i)\b(negotiate|ntlm|token)\s+([A-Za-z0-9._~+/=\-]{8,})`),
		replace: `${1} ` + Mask, accept: credentialRun,
	},
	{trigger: maySK, pattern: regexp.MustCompile(`\bsk-[A-Za-z0-9_\-]{12,}`), replace: Mask},
	{trigger: mayAIza, pattern: regexp.MustCompile(`AIza[0-9A-Za-z_\-]{35}`), replace: Mask},
	{trigger: mayJWT, pattern: regexp.MustCompile(`\beyJ[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+`), replace: Mask},
	{trigger: mayAWS, pattern: regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}`), replace: Mask},
	{trigger: mayGitHub, pattern: regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})`), replace: Mask},
	{
		trigger: mayPair | mayAssign, replace: `${1}=` + Mask,
		pattern: regexp.MustCompile(`(?i)\b((?:[A-Za-z0-9_\-]*(?:passwords?|passwd|secrets?|credentials?|api[_\-]?keys?))` +
			`|authorization|token` +
			`|(?:access|refresh|client|secret|private|auth|session|bearer|api)[_\-]?(?:tokens?|keys?))` +
			`["']?\s*[:=]\s*["']?[^\s,;&"']+`),
	},
}

// Text returns s with e-mail addresses, social security numbers and credentials replaced by their tokens.
func Text(s string) string {
	flags := triggers(s)
	if flags == 0 {
		return s
	}
	for _, r := range rules {
		if flags&r.trigger != r.trigger {
			continue
		}
		s = r.apply(s)
	}
	return s
}

func (r rule) apply(s string) string {
	if r.accept == nil {
		return r.pattern.ReplaceAllString(s, r.replace)
	}
	var out []byte
	last := 0
	for _, m := range r.pattern.FindAllStringSubmatchIndex(s, -1) {
		if !r.accept(s[m[4]:m[5]]) {
			continue
		}
		out = append(out, s[last:m[0]]...)
		out = r.pattern.ExpandString(out, r.replace, s, m)
		last = m[1]
	}
	if last == 0 {
		return s
	}
	return string(append(out, s[last:]...))
}

// credentialRun tells a credential from a word: it is long, or has something besides letters.
func credentialRun(run string) bool {
	if len(run) >= 20 {
		return true
	}
	for i := range len(run) {
		if c := run[i] | 0x20; c < 'a' || c > 'z' {
			return true
		}
	}
	return false
}

// seconds holds, for every first letter of a key word, the second letters as a bit set: most positions of a text are dismissed by it.
var seconds = letterPairs("au", "ak", "as", "ai", "be", "ba", "co", "cr", "di", "ey", "gh", "gi", "ke", "ne", "nt", "pa", "sk", "se", "to")

func letterPairs(pairs ...string) (table [256]uint32) {
	for _, p := range pairs {
		bit := uint32(1) << (p[1] - 'a')
		table[p[0]] |= bit
		table[p[0]-0x20] |= bit
	}
	return table
}

// triggers finds in one pass which rules can match s at all. It may name too many rules, never too few.
func triggers(s string) uint16 {
	var flags uint16
	for i := 0; i < len(s); i++ {
		c := s[i]
		if set := seconds[c]; set != 0 {
			if i+1 < len(s) && set>>(((s[i+1]|0x20)-'a')&31)&1 != 0 {
				flags |= wordTrigger(s[i:])
			}
			continue
		}
		switch c {
		case '@':
			flags |= mayEmail
		case ':', '=':
			flags |= mayAssign
		case '-':
			if i >= 3 && i+3 < len(s) && s[i+3] == '-' && digit(s[i-1]) && digit(s[i+1]) {
				flags |= maySSN
			}
		}
	}
	return flags
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// wordTrigger names the rules whose key word begins s.
func wordTrigger(s string) uint16 {
	switch s[0] | 0x20 {
	case 'a':
		return triggerA(s)
	case 'b':
		switch {
		case fold(s, "bearer"):
			return mayScheme | mayPair
		case fold(s, "basic"):
			return mayScheme
		}
	case 'c':
		switch {
		case fold(s, "cookie"):
			return mayCookie
		case fold(s, "credential"):
			return mayPair
		}
	case 'd':
		if fold(s, "digest") {
			return mayScheme
		}
	case 'e':
		if strings.HasPrefix(s, "eyJ") {
			return mayJWT
		}
	case 'g':
		if len(s) > 20 && s[1] == 'h' || strings.HasPrefix(s, "github_pat_") {
			return mayGitHub
		}
	case 'k':
		if fold(s, "key") {
			return mayPair
		}
	case 'n':
		if fold(s, "negotiate") || fold(s, "ntlm") {
			return mayToken
		}
	case 'p':
		if fold(s, "passw") {
			return mayPair
		}
	case 's':
		switch {
		case strings.HasPrefix(s, "sk-"):
			return maySK
		case fold(s, "secret"):
			return mayPair
		}
	case 't':
		if fold(s, "token") {
			return mayToken | mayPair
		}
	}
	return 0
}

func triggerA(s string) uint16 {
	switch {
	case strings.HasPrefix(s, "AIza"):
		return mayAIza
	case strings.HasPrefix(s, "AKIA"), strings.HasPrefix(s, "ASIA"):
		return mayAWS
	case fold(s, "authorization"):
		return mayPair
	}
	return 0
}

// fold reports whether s begins with the lower-case ASCII word, in any case.
func fold(s, word string) bool {
	if len(s) < len(word) {
		return false
	}
	for i := range len(word) {
		if s[i]|0x20 != word[i] {
			return false
		}
	}
	return true
}

var absolutePath = regexp.MustCompile(`(^|[\s"'(\[{=:,;<>])(/[^\s/"'()\[\]{},;:<>]+){2,}/?`)

// Paths returns s with every absolute path of at least two segments replaced, for messages of errors that name files of the server.
func Paths(s string) string {
	if strings.Count(s, "/") < 2 {
		return s
	}
	return absolutePath.ReplaceAllString(s, "${1}"+MaskPath)
}

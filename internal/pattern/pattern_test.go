package pattern

import "testing"

func TestCompile(t *testing.T) {
	for _, tc := range []struct {
		expr, text string
		want       bool
	}{
		{`\d{3}-\d{2}-\d{4}`, "ssn=123-45-6789", true},
		{`(?P<a>x)(?P=a)`, "xx", true},
		{`(?P<a>x)(?P=a)`, "xy", false},
		{`end\Z`, "the end", true},
		{`end\Z`, "the end\n", false},
		{`^a{,2}$`, "aa", true},
		{`^a{,2}$`, "aaa", false},
		{`[]a]b`, "]b", true},
		{`[(?P<]`, "P", true},
		{`(?<!not )secret`, "not secret", false},
		{`(?<!not )secret`, "a secret", true},
		{`(a)\1`, "aa", true},
		{`(?i)LEAK`, "leak", true},
	} {
		re, err := Compile(tc.expr)
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		if got, err := re.MatchString(tc.text); err != nil || got != tc.want {
			t.Errorf("%s on %q: %v, %v, want %v", tc.expr, tc.text, got, err, tc.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, expr := range []string{`(`, `[a`, `*a`, `(?P=a`, `(?P<a>x`, `(?L)x`, `\k<none>`} {
		if _, err := Compile(expr); err == nil {
			t.Errorf("%s: no error", expr)
		}
	}
}

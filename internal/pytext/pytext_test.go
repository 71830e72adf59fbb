package pytext_test

import (
	"encoding/json"
	"testing"

	"github.com/kneo-go/kneo/internal/pytext"
)

func TestStrings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   []string
		want string
	}{
		{nil, "[]"},
		{[]string{"a", "b"}, "['a', 'b']"},
		{[]string{"it's"}, `["it's"]`},
		{[]string{`it's "so"`}, `['it\'s "so"']`},
		{[]string{"a\n\t\\"}, `['a\n\t\\']`},
		{[]string{"é\u0007\u200b"}, `['é\x07\u200b']`},
	}
	for _, tt := range tests {
		if got := pytext.Strings(tt.in); got != tt.want {
			t.Errorf("%q: %s", tt.in, got)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, printed, dumped string }{
		{`{"b":1,"a":[true,null,1.50,"x"]}`, "{'b': 1, 'a': [True, None, 1.5, 'x']}", `{"b": 1, "a": [true, null, 1.50, "x"]}`},
		{`{}`, "{}", "{}"},
		{`[]`, "[]", "[]"},
		{`2.0`, "2.0", "2.0"},
		{`"a:b,c \" é"`, `'a:b,c " é'`, `"a:b,c \" \u00e9"`},
		{`{half`, "{half", "{half"},
	}
	for _, tt := range tests {
		if got := pytext.JSON(json.RawMessage(tt.in)); got != tt.printed {
			t.Errorf("%s printed as %s", tt.in, got)
		}
		if got := pytext.Dump(json.RawMessage(tt.in)); got != tt.dumped {
			t.Errorf("%s dumped as %s", tt.in, got)
		}
	}
	if got := pytext.Error("<a> & \"b\" ü"); got != `{"error": "<a> & \"b\" \u00fc"}` {
		t.Error(got)
	}
	if got := pytext.Float(-1); got != "-1.0" {
		t.Error(got)
	}
}

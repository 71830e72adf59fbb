package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScalars(t *testing.T) {
	for _, c := range []struct {
		text string
		kind Kind
		want string
	}{
		{"yes", Bool, "true"},
		{"Off", Bool, "false"},
		{"y", String, "y"},
		{"TRUE", Bool, "true"},
		{"tRue", String, "tRue"},
		{"~", Null, ""},
		{"null", Null, ""},
		{"nULL", String, "nULL"},
		{"010", Int, "8"},
		{"0x1F", Int, "31"},
		{"0b11", Int, "3"},
		{"0_", Int, "0"},
		{"-0__", Int, "0"},
		{"1_000", Int, "1000"},
		{"1:30", Int, "90"},
		{"-1:30", Int, "-90"},
		{"08", String, "08"},
		{"0o10", String, "0o10"},
		{"+5", Int, "5"},
		{"-0", Int, "0"},
		{"12345678901234567890123", Int, "12345678901234567890123"},
		{"1.0e+3", Float, "1000.0"},
		{"1e3", String, "1e3"},
		{"1.5e3", String, "1.5e3"},
		{".5", Float, "0.5"},
		{"1.", Float, "1.0"},
		{".inf", Float, "Infinity"},
		{"-.INF", Float, "-Infinity"},
		{".nan", Float, "NaN"},
		{"1_0.5", Float, "10.5"},
		{"1:30.5", Float, "90.5"},
		{"2024-01-01", Timestamp, "2024-01-01"},
		{"2024-1-1", String, "2024-1-1"},
		{"2024-01-01T10:00:00Z", Timestamp, "2024-01-01T10:00:00Z"},
		{"2024-01-01 10:00:00 +2", Timestamp, "2024-01-01 10:00:00 +2"},
		{"v1", String, "v1"},
		{"-", String, "-"},
		{"1.2.3", String, "1.2.3"},
		{"1:99", String, "1:99"},
		{"_1", String, "_1"},
		{"0", Int, "0"},
		{"1e+400", String, "1e+400"},
	} {
		kind, text := resolvePlain(c.text)
		if kind != c.kind || text != c.want {
			t.Errorf("%q is %v %q, want %v %q", c.text, kind, text, c.kind, c.want)
		}
	}
}

func TestFloats(t *testing.T) {
	for f, want := range map[float64]string{
		1: "1.0", 100: "100.0", 1e-5: "1e-05", 1e-7: "1e-07", 1e16: "1e+16", 1.5e300: "1.5e+300", 1e22: "1e+22", 0.1: "0.1",
		123456789012345.0: "123456789012345.0", 0.0001: "0.0001", 1e15: "1000000000000000.0",
	} {
		if got := formatFloat(f); got != want {
			t.Errorf("%g is %s, want %s", f, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"quoted", `a: "yes"`, `{"a":"yes"}`},
		{"block", "a: |\n  x\n  y\n", `{"a":"x\ny\n"}`},
		{"empty value", "a:\nb: ''\n", `{"a":null,"b":""}`},
		{"alias", "a: &x {k: 1}\nb: *x\n", `{"a":{"k":1},"b":{"k":1}}`},
		{"merge", "a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3, m: 4}\n", `{"a":{"k":1,"l":2},"b":{"k":1,"l":3,"m":4}}`},
		{"merge list, first wins", "x: &x {k: 1}\ny: &y {k: 2, l: 2}\nb:\n  <<: [*x, *y]\n", `{"x":{"k":1},"y":{"k":2,"l":2},"b":{"k":1,"l":2}}`},
		{"tags", "a: !!str 1\nb: !!float 1\n", `{"a":"1","b":1.0}`},
		{"bool key", "yes: 1\n", `{"true":1}`},
		{"json", `{"a": [1, 1.0, "é"]}`, `{"a":[1,1.0,"é"]}`},
		{"document marks", "---\na: 1\n...\n", `{"a":1}`},
		{"bom", "\ufeffa: 1\n", `{"a":1}`},
	} {
		node, found, err := Parse(c.name, []byte(c.text), Limits{})
		if err != nil || len(found) > 0 {
			t.Errorf("%s: %v %v", c.name, err, found)
			continue
		}
		if got := string(node.JSON()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPositions(t *testing.T) {
	node, _, err := Parse("f.yaml", []byte("a:\n  b: [x, {c: d}]\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Pos{"f.yaml", 2, 14}, node.At("a", "b").Items[1].Get("c").Pos); diff != "" {
		t.Error(diff)
	}
	node, _, err = ParseJSON("f.json", []byte("{\n \"é\": {\"b\": [1,\n  {\"c\": \"d\"}]}}"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Pos{"f.json", 3, 9}, node.At("é", "b").Items[1].Get("c").Pos); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Pos{"f.json", 2, 13}, node.At("é", "b").Pos); diff != "" {
		t.Error(diff)
	}
}

func TestDuplicateKeys(t *testing.T) {
	for name, text := range map[string]string{"f.yaml": "a:\n  n: 1\n  m: 2\n  n: 3\n", "f.json": `{"a": {"n": 1, "m": 2,` + "\n" + ` "n": 3}}`} {
		node, found, err := ParseFile(name, []byte(text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(node.JSON()); got != `{"a":{"n":3,"m":2}}` {
			t.Errorf("%s: %s", name, got)
		}
		if len(found) != 1 || found[0].Code != CodeDuplicateKey || found[0].Path != "a.n" || found[0].Line == 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
	many := strings.Repeat("k: 1\n", 500)
	if _, found, err := Parse("f", []byte(many), Limits{}); err != nil || len(found) != 20 {
		t.Errorf("%d warnings, %v", len(found), err)
	}
}

func TestRefusedText(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		prev := "*a" + itoa(i-1)
		laughs += "a" + itoa(i) + ": &a" + itoa(i) + " [" + strings.Repeat(prev+", ", 9) + prev + "]\n"
	}
	for name, text := range map[string]string{
		"laughs": laughs, "unclosed": "a: [\n", "two documents": "a: 1\n---\nb: 2\n", "unknown tag": "a: !thing 1\n",
		"python tag": "a: !!python/object:x {}\n", "cycle": "a: &x [*x]\n", "deep": strings.Repeat("[", 5000), "map key": "{[1]: 2}: 3\n",
		"deep block": strings.Repeat("- ", 3000), "bad utf-8": "a: \xff\n", "unknown anchor": "a: *x\n", "merge scalar": "a: {<<: 1}\n",
		"large": strings.Repeat("x", 1<<20+1), "many": "[" + strings.Repeat("1,", 450_000) + "]", "tab": "a:\n\tb: 1\n",
		"bad int": "a: !!int x\n", "self merge": "a: &x\n  <<: *x\n",
	} {
		_, _, err := Parse(name, []byte(text), Limits{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"unclosed": "{", "trailing": "{} x", "nan": `{"a": NaN}`, "number": `{"a": 01}`, "huge": `{"a": 1e999}`, "control": "{\"a\": \"\n\"}",
		"escape": `{"a": "\x"}`, "comma": `{"a": 1,}`, "deep": strings.Repeat("[", 5000), "half": `{"a": tru}`, "single": `{'a': 1}`,
		"bad utf-8": "{\"a\": \"\xff\"}",
	} {
		_, _, err := ParseJSON(name, []byte(text), Limits{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Pos.Line == 0 {
			t.Errorf("JSON %s: %v", name, err)
		}
	}
}

func TestJSONText(t *testing.T) {
	node, err := FromJSON([]byte(`{"a":"\u00e9\ud83d\ude00\ud83d\n\/","b":-0,"c":1E5,"d":1e-7,"e":[],"f":{},"g":12345678901234567890}`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":"é😀` + "\ufffd" + `\n/","b":0,"c":100000.0,"d":1e-07,"e":[],"f":{},"g":12345678901234567890}`
	if got := string(node.JSON()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestEmpty(t *testing.T) {
	for _, text := range []string{"", "  \n", "# only a comment\n", "---\n"} {
		if node, _, err := Parse("f", []byte(text), Limits{}); node != nil || err != nil {
			t.Errorf("%q: %v %v", text, node, err)
		}
	}
}

package term

import (
	"bytes"
	"strings"
	"testing"
)

func none(string) (string, bool) { return "", false }

func vars(m map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func TestPipesGetPlainText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := NewScreen(&b, none)
	s.Success("done")
	s.Warn("careful")
	s.Fail("no")
	stop := s.Progress("working")
	stop()
	stop()
	if got := b.String(); got != "✓ done\n⚠ careful\n✗ no\n" {
		t.Errorf("%q", got)
	}
	if s.Width() != 80 || s.Color() || s.Terminal() {
		t.Errorf("width %d, colour %t, terminal %t", s.Width(), s.Color(), s.Terminal())
	}
	if w := NewScreen(&b, vars(map[string]string{"COLUMNS": " 40 "})).Width(); w != 40 {
		t.Errorf("COLUMNS gives %d", w)
	}
}

func TestTableFits(t *testing.T) {
	t.Parallel()
	for _, columns := range []string{"30", "60", "120"} {
		var b bytes.Buffer
		s := NewScreen(&b, vars(map[string]string{"COLUMNS": columns}))
		s.Table(Table{Title: "T", Headers: []string{"Id", "Text", "Wide"}, Keep: []int{0}, Rows: [][]string{
			{"0123456789", strings.Repeat("some words ", 9), "漢字漢字漢字漢字"}, {"x", "two\nlines\x1b[31m", ""}, {"short row"},
		}})
		lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		for _, l := range lines[1:] {
			if Width(l) != Width(lines[1]) {
				t.Errorf("%s columns: %q has %d, the frame %d", columns, l, Width(l), Width(lines[1]))
			}
		}
		if got := Width(lines[1]); columns != "30" && got > map[string]int{"60": 60, "120": 120}[columns] {
			t.Errorf("%s columns: the table has %d", columns, got)
		}
		if !strings.Contains(b.String(), "0123456789") || strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s columns:\n%s", columns, b.String())
		}
	}
}

func TestPanelIsAFrame(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := NewScreen(&b, vars(map[string]string{"COLUMNS": "20"}))
	s.Panel("Run 1", []string{"Output: " + strings.Repeat("long ", 8), "漢字"})
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for _, l := range lines {
		if Width(l) != Width(lines[0]) {
			t.Errorf("%q has %d columns, the frame %d", l, Width(l), Width(lines[0]))
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		w    int
		want string
	}{
		{"", 5, ""}, {"abc", 5, "abc"}, {"ab cd ef", 5, "ab cd|ef"}, {"abcdefgh", 3, "abc|def|gh"}, {"a\nb", 9, "a|b"}, {"漢字漢", 4, "漢字|漢"}, {"a bcdefg", 4, "a|bcde|fg"},
	} {
		if got := strings.Join(Wrap(c.text, c.w), "|"); got != c.want {
			t.Errorf("Wrap(%q, %d) = %q, want %q", c.text, c.w, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	if got := Clean("a\x1b[2J\x07\u009bb\n\tc"); got != "a\uFFFD[2J\uFFFD\uFFFDb\n\tc" {
		t.Errorf("%q", got)
	}
}

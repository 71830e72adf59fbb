package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamedTestsExist: a test that a page names is there.
func TestNamedTestsExist(t *testing.T) {
	written := map[string]bool{}
	walk(t, "../..", "_test.go", func(_, text string) {
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(text, -1) {
			written[found[1]] = true
		}
	})
	if len(written) == 0 {
		t.Fatal("no tests found")
	}
	named := 0
	walk(t, "../../docs", ".md", func(path, text string) {
		for _, found := range regexp.MustCompile("`(Test[A-Za-z0-9_]+)(/[^`]*)?`").FindAllStringSubmatch(text, -1) {
			named++
			if !written[found[1]] {
				t.Errorf("%s names %s, which does not exist", path, found[1])
			}
		}
	})
	if named == 0 {
		t.Error("no page names a test")
	}
}

// TestSymptomsHaveTests: every row of a table with a column for tests names one.
func TestSymptomsHaveTests(t *testing.T) {
	rows := 0
	walk(t, "../../docs", ".md", func(path, text string) {
		within := false
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			switch {
			case !strings.HasPrefix(line, "|"):
				within = false
			case strings.HasSuffix(line, "| Test |"):
				within = true
			case within && !strings.HasPrefix(line, "| ---"):
				rows++
				if !strings.Contains(line, "`Test") {
					t.Errorf("%s: no test for %s", path, line)
				}
			}
		}
	})
	if rows == 0 {
		t.Error("no table has a column for tests")
	}
}

func walk(t *testing.T, root, suffix string, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
				return filepath.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // files of this repository
		visit(path, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

package operations

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testName = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")

// TestPagesNameTestsThatExist holds the runbook, the threat model and the others to the tests that play them.
func TestPagesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, root := range []string{"../../internal", "../../test"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path) //nolint:gosec // a file of this module
			code.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages, err := filepath.Glob("../../docs/operators/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range pages {
		text, err := os.ReadFile(page) //nolint:gosec // a file of this module
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range testName.FindAllStringSubmatch(string(text), -1) {
			named++
			if !strings.Contains(code.String(), "func "+found[1]+"(") {
				t.Errorf("%s names %s, which does not exist", page, found[1])
			}
		}
	}
	if named < 30 {
		t.Errorf("the pages name %d tests only", named)
	}
}

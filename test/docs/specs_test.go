package docs

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kneo-go/kneo/test/live"
)

// shownSpec matches a block that is a whole spec.
var shownSpec = regexp.MustCompile("(?ms)^```yaml\n(version: v1\n.*?)^```$")

// TestSpecsOnPages checks every whole spec that a page for users shows.
func TestSpecsOnPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/user/*.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := live.Start(t, map[string]string{"KNEO_SERV_SPEC_ROOT": dir})
	checked := 0
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Clean(page))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range shownSpec.FindAllStringSubmatch(string(text), -1) {
			if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(b[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			if answer := s.OK(http.MethodPost, "/v1/specs/validate", live.Object{"spec_path": "spec.yaml"}); answer["valid"] != true {
				t.Errorf("%s: %v\n%s", page, answer["diagnostics"], b[1])
			}
			checked++
		}
	}
	if checked < 6 {
		t.Errorf("only %d specs are shown", checked)
	}
}

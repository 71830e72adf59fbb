package service

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/kneo-go/kneo/internal/spec"
)

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func skill(name, description string) string {
	return "---\nname: " + name + "\ndescription: " + description + "\n---\nBody.\n"
}

func TestSkills(t *testing.T) {
	work, home := t.TempDir(), t.TempDir()
	t.Chdir(work)
	t.Setenv("HOME", home)
	write(t, work+"/.agents/skills/tone/SKILL.md", skill("tone", "Keep it warm."))
	write(t, work+"/.agents/skills/a/b/c/deep/SKILL.md", skill("deep", "Found."))
	write(t, work+"/.agents/skills/a/b/c/d/deeper/SKILL.md", skill("deeper", "Too deep."))
	write(t, work+"/.agents/skills/node_modules/x/SKILL.md", skill("x", "Skipped."))
	write(t, work+"/.agents/skills/broken/SKILL.md", "no frontmatter")
	write(t, home+"/.claude/skills/tone/SKILL.md", skill("tone", "Wins."))
	list, err := NewSkills(spec.ReadFrontmatter, slog.New(slog.DiscardHandler)).List(t.Context(), Page{Limit: 100, SortBy: "name"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Skill{{"deep", "Found.", ".agents/skills/a/b/c/deep"}, {"tone", "Wins.", ".claude/skills/tone"}}
	if len(list.Items) != 2 || list.Total != 2 || list.Items[0] != want[0] || list.Items[1] != want[1] {
		t.Fatalf("skills: %+v", list)
	}
}

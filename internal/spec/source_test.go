package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/problem"
)

// tree writes files below a new folder; a name that ends in @ is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, strings.TrimSuffix(name, "@"))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		if strings.HasSuffix(name, "@") {
			err = os.Symlink(text, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestConfinement(t *testing.T) {
	outside := tree(t, map[string]string{"secret.yaml": "version: v1\n"})
	root := tree(t, map[string]string{
		"a.yaml": "version: v1\n", "sub/b.JSON": `{"version":"v1"}`, "empty.yaml": " \n", "list.yaml": "[1]\n", "bad.yaml": "a: [\n",
		"bad.json": "{", "in.yaml@": "a.yaml", "out.yaml@": filepath.Join(outside, "secret.yaml"), "outdir@": outside, "loop@": "loop",
		"abs.yaml@": "PLACEHOLDER",
	})
	if err := os.Remove(filepath.Join(root, "abs.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "a.yaml"), filepath.Join(root, "abs.yaml")); err != nil {
		t.Fatal(err)
	}
	r, err := NewResolver(root, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]problem.Code{
		"a.yaml": "", "sub/b.JSON": "", "./sub/../a.yaml": "", "in.yaml": "", "abs.yaml": "", filepath.Join(root, "a.yaml"): "",
		"absent.yaml": problem.InvalidRequest, "sub": problem.InvalidRequest, "loop": problem.InvalidRequest, "a\x00b": problem.InvalidRequest,
		"a.yaml/x":  problem.InvalidRequest,
		"../x.yaml": problem.SpecPathConfined, "/etc/hostname": problem.SpecPathConfined, "/etc/absent/x": problem.SpecPathConfined,
		"out.yaml": problem.SpecPathConfined, "outdir/secret.yaml": problem.SpecPathConfined, "/dev/zero": problem.SpecPathConfined,
		"outdir/absent": problem.SpecPathConfined, "empty.yaml": problem.SpecInvalid, "list.yaml": problem.SpecInvalid,
		"bad.yaml": problem.SpecInvalid, "bad.json": problem.SpecInvalid,
	} {
		_, _, err := r.Load(path, LabelSpecPath)
		p := problem.As(err)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", path, err)
		case want != "" && (p == nil || p.Code != want):
			t.Errorf("%s: %v, want %s", path, err, want)
		case p != nil && (strings.Contains(p.Message, root) || strings.Contains(p.Message, outside)):
			t.Errorf("%s: the message shows the path: %s", path, p.Message)
		}
	}
	_, _, err = r.Load("../x", LabelOverlay)
	if p := problem.As(err); p == nil || p.Message != "overlay path resolves outside the configured spec root." {
		t.Error(err)
	}
}

func TestInlineSpecWins(t *testing.T) {
	r, err := NewResolver(t.TempDir(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Inputs(Request{Spec: NewMapping(), SpecPath: "absent"}); err != nil {
		t.Error(err)
	}
	if _, err := r.Inputs(Request{}); !problem.Is(err, problem.InvalidRequest) {
		t.Error(err)
	}
}

func TestSkillForms(t *testing.T) {
	strict := "---\nname: tone\ndescription: Warm.\ntags: [a]\nallowed-tools: x\ndefaults: {max_iterations: 3}\n" +
		"tools: [{name: t, description: d, parameters: {}}]\n---\n\n Be kind.\n"
	outside := tree(t, map[string]string{"x": "x"})
	root := tree(t, map[string]string{
		"tone/SKILL.md": strict, "tone/references/b.txt": "", "tone/references/a.txt": "", "tone/assets/i": "", "tone/other": "",
		"renamed/SKILL.md": strict, "plain.md": " text \n", "loose/README.md": "r", "loose/skill.yml": "name: L\ndefaults: {temperature: 1}\n",
		"loose/d/e.txt": "", "bad/skill.yaml": "a: [", "empty/x.txt": "", "leak/f@": filepath.Join(outside, "x"), "round/d@": "../round",
	})
	r, err := NewResolver(root, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	load := func(source string) *LoadedSkill {
		t.Helper()
		s, err := r.LoadSkill("declared", source)
		if err != nil {
			t.Fatal(source, err)
		}
		return s
	}
	s := load("tone")
	if !s.Strict || s.Name != "tone" || s.Instructions != "Be kind." || s.Defaults().Get("max_iterations") == nil || len(s.Tools.Items) != 1 {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff([]string{"references/a.txt", "references/b.txt", "assets/i"}, s.Resources); diff != "" {
		t.Error(diff)
	}
	want := "<skill_content name=\"tone\">\nBe kind.\n\nSkill directory: " + r.Root() + "/tone\n" +
		"Relative paths in this skill are relative to the skill directory.\n\n<skill_resources>\n  <file>references/a.txt</file>\n" +
		"  <file>references/b.txt</file>\n  <file>assets/i</file>\n</skill_resources>\n</skill_content>"
	if diff := cmp.Diff(want, s.SystemFragment); diff != "" {
		t.Error(diff)
	}
	if s := load("tone/SKILL.md"); !s.Strict || s.Name != "tone" {
		t.Errorf("%+v", s)
	}
	if s := load("renamed"); s.Strict || s.Name != "declared" || s.Instructions != strict {
		t.Errorf("%+v", s)
	}
	if s := load("plain.md"); s.Strict || s.Name != "declared" || s.Instructions != " text \n" {
		t.Errorf("%+v", s)
	}
	s = load("loose")
	if s.Name != "L" || s.Instructions != "r" || s.Defaults().Get("temperature") == nil {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff([]string{"d/e.txt"}, s.Resources); diff != "" {
		t.Error(diff)
	}
	if s := load("empty"); s.Instructions != "" {
		t.Errorf("%+v", s)
	}
	load("round")
	for source, code := range map[string]problem.Code{
		"bad": problem.SpecInvalid, "absent": problem.InvalidRequest, "leak": problem.SpecPathConfined, "/etc": problem.SpecPathConfined,
	} {
		if _, err := r.LoadSkill("x", source); !problem.Is(err, code) {
			t.Errorf("%s: %v", source, err)
		}
	}
	if name, description, err := ReadFrontmatter(filepath.Join(root, "tone/SKILL.md")); err != nil || name != "tone" || description != "Warm." {
		t.Error(name, description, err)
	}
	if _, _, err := ReadFrontmatter(filepath.Join(root, "renamed/SKILL.md")); err == nil {
		t.Error("a skill whose name differs from its folder was accepted")
	}
}

package operations

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBundleOfAnotherKey: a bundle is good with the key that signed it, and with no other.
func TestBundleOfAnotherKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte("version: v1\nagent: {name: a}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := func(k string) map[string]string { return map[string]string{"KNEO_SERV_SPEC_SIGNING_KEY": k} }
	kneo(t, dir, key("one"), 0, "spec", "bundle", "sign", "spec.yaml", "-o", "bundle.json", "--env", "prod", "--approved-by", "ann")
	kneo(t, dir, key("one"), 0, "spec", "bundle", "verify", "bundle.json")
	stdout, stderr := kneo(t, dir, key("two"), 1, "spec", "bundle", "verify", "bundle.json")
	if text := strings.ToLower(stdout + stderr); !strings.Contains(text, "signature") && !strings.Contains(text, "invalid") {
		t.Errorf("the refusal says: %s", text)
	}
}

// TestSpecProblemsHavePlaces: validation names code, path and line, and an old spec can be brought up to date.
func TestSpecProblemsHavePlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"bad.yaml": "version: v1\nagent:\n  name: a\n  nonsense: 1\nworkflow:\n  name: w\n  type: sequential\n  steps: [{id: s, kind: agent, ref: none}]\n",
		"old.yaml": "agent: {name: a}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stdout, stderr := kneo(t, dir, nil, 1, "spec", "validate", "bad.yaml", "--json")
	if text := stdout + stderr; !strings.Contains(text, `"code"`) || !strings.Contains(text, `"line"`) {
		t.Errorf("diagnostics: %s", text)
	}
	kneo(t, dir, nil, 0, "spec", "migrate", "old.yaml", "-o", "new.yaml")
	kneo(t, dir, nil, 0, "spec", "validate", "new.yaml")
}

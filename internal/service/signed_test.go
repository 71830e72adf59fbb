package service

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/spec"
)

// TestSigned walks through what an environment with signatures takes and refuses.
func TestSigned(t *testing.T) {
	t.Parallel()
	sign := func(environment, key string) json.RawMessage {
		tree, err := spec.FromJSON([]byte(`{"version":"v1","agent":{"name":"greeter","model":{"provider":"dummy","name":"m","temperature":1.0}}}`), spec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		bundle, _, err := spec.Sign(tree, spec.Approval{ApprovedBy: "alice", Environment: environment, CreatedAt: time.Unix(0, 0)}, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "bundle.json"), sign("prod", "k"), 0o600); err != nil {
		t.Fatal(err)
	}
	resolver, err := spec.NewResolver(root, spec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	compiler := func(key string) *Compiler {
		c, err := NewCompiler(CompilerOptions{Resolver: resolver, CacheEntries: 8, Signatures: Signatures{Key: key, Environments: environments(key)}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	prod, dev := "prod", "dev"
	plain := json.RawMessage(`{"version":"v1","agent":{"name":"greeter"}}`)
	tampered := json.RawMessage(strings.Replace(string(sign("prod", "k")), "greeter", "grabber", 1))
	for name, c := range map[string]struct {
		key  string
		src  SpecSource
		want problem.Code
	}{
		"signed":             {"k", SpecSource{Inline: sign("prod", "k"), Environment: &prod}, ""},
		"signed file":        {"k", SpecSource{Path: "bundle.json", Environment: &prod}, ""},
		"signed for any":     {"k", SpecSource{Inline: sign("", "k"), Environment: &prod}, ""},
		"unsigned":           {"k", SpecSource{Inline: plain, Environment: &prod}, problem.EnvironmentPolicyBlocked},
		"unsigned elsewhere": {"k", SpecSource{Inline: plain, Environment: &dev}, ""},
		"no environment":     {"k", SpecSource{Inline: plain}, ""},
		"overridden":         {"k", SpecSource{Inline: sign("prod", "k"), Environment: &prod, Overrides: json.RawMessage(`{"agent":{"name":"x"}}`)}, problem.EnvironmentPolicyBlocked},
		"empty overrides":    {"k", SpecSource{Inline: sign("prod", "k"), Environment: &prod, Overrides: json.RawMessage(`{}`)}, ""},
		"skills changed":     {"k", SpecSource{Inline: sign("prod", "k"), Environment: &prod, Skills: spec.SkillsOverlay{Disable: []string{"x"}}}, problem.EnvironmentPolicyBlocked},
		"for another":        {"k", SpecSource{Inline: sign("staging", "k"), Environment: &prod}, problem.SpecInvalid},
		"another key":        {"k", SpecSource{Inline: sign("prod", "q"), Environment: &prod}, problem.SpecInvalid},
		"tampered":           {"k", SpecSource{Inline: tampered, Environment: &prod}, problem.SpecInvalid},
		"tampered elsewhere": {"k", SpecSource{Inline: tampered, Environment: &dev}, problem.SpecInvalid},
		"no key here":        {"", SpecSource{Inline: sign("prod", "k"), Environment: &prod}, problem.InvalidRequest},
	} {
		b, err := compiler(c.key).open(c.src, noSpec)
		if err == nil {
			err = b.compiler.o.Signatures.demand(c.src.environment(), b.signed)
		}
		if err == nil {
			_, _, err = b.plan(t.Context(), true)
		}
		if got := problem.As(err); (got == nil) != (c.want == "") || got != nil && got.Code != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := NewCompiler(CompilerOptions{Resolver: resolver, Signatures: Signatures{Environments: []string{"prod"}}}); !errors.Is(err, errNoSigningKey) {
		t.Errorf("a start without the key: %v", err)
	}
}

func environments(key string) []string {
	if key == "" {
		return nil
	}
	return []string{"prod"}
}

package service

import (
	"encoding/json"
	"testing"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/spec"
)

func compiler(t *testing.T, o CompilerOptions) (*Compiler, string) {
	t.Helper()
	root := t.TempDir()
	resolver, err := spec.NewResolver(root, spec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	o.Resolver, o.CacheEntries = resolver, 8
	if o.Handlers == nil {
		o.Handlers = handler.NewRegistry()
	}
	c, err := NewCompiler(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, root
}

const functionSpec = `{"version":"v1","agent":{"name":"root"},"components":{"functions":{"f":{"implementation":"app.f"}}},
"workflow":{"type":"sequential","steps":[{"id":"s","kind":"function","ref":"f"}]}}`

func TestBuildsAreRemembered(t *testing.T) {
	c, _ := compiler(t, CompilerOptions{})
	src := SpecSource{Inline: json.RawMessage(`{"version":"v1","agent":{"name":"g"}}`)}
	first, err := c.open(src, noSpec)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.plan(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	second, err := c.open(src, noSpec)
	if err != nil || second != first {
		t.Fatalf("the same source is read again: %v", err)
	}
	environment := "prod"
	src.Environment = &environment
	if other, err := c.open(src, noSpec); err != nil || other == first {
		t.Fatalf("another environment is the same build: %v", err)
	}
}

func TestAFailedBuildIsTriedAgain(t *testing.T) {
	handlers := handler.NewRegistry()
	c, _ := compiler(t, CompilerOptions{Handlers: handlers})
	src := SpecSource{Inline: json.RawMessage(functionSpec)}
	open := func() error {
		b, err := c.open(src, noSpec)
		if err != nil {
			return err
		}
		_, _, err = b.plan(t.Context(), true)
		return err
	}
	if err := open(); !problem.Is(err, problem.SpecInvalid) {
		t.Fatalf("without the handler: %v", err)
	}
	if err := handlers.Register(handler.Definition{Name: "app.f", Kind: handler.Function}, handler.TextFunc(nil)); err != nil {
		t.Fatal(err)
	}
	if err := open(); err != nil {
		t.Fatalf("with the handler: %v", err)
	}
}

func TestSkillsAreReadEveryTime(t *testing.T) {
	c, root := compiler(t, CompilerOptions{})
	src := SpecSource{Inline: json.RawMessage(`{"version":"v1","agent":{"name":"g","skills":["tone"]},"skills":{"tone":{"source":"tone"}}}`)}
	prompt := func() string {
		b, err := c.open(src, noSpec)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := b.plan(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := b.freeze()
		if err != nil || member(snapshot.Frozen, "skills") == nil {
			t.Fatalf("snapshot: %s, %v", snapshot.Frozen, err)
		}
		return p.Root.SystemPrompt
	}
	write(t, root+"/tone/SKILL.md", skill("tone", "d")+"Warm.")
	before := prompt()
	write(t, root+"/tone/SKILL.md", skill("tone", "d")+"Cold.")
	if after := prompt(); before == after {
		t.Errorf("the skill's old text is used: %q", after)
	}
}

func TestASnapshotOfAnotherFormatIsBuiltAgain(t *testing.T) {
	c, _ := compiler(t, CompilerOptions{})
	b, err := c.open(SpecSource{Inline: json.RawMessage(`{"version":"v1","agent":{"name":"g"}}`)}, noSpec)
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := b.plan(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := b.freeze()
	if err != nil {
		t.Fatal(err)
	}
	for name, stored := range map[string]json.RawMessage{"same format": snapshot.Plan, "other format": json.RawMessage(`{"format_version":0}`)} {
		fresh, _ := compiler(t, CompilerOptions{})
		snapshot.Plan = stored
		got, err := fresh.Plan(t.Context(), snapshot)
		if err != nil || got.Root.Name != want.Root.Name || got.FormatVersion != plan.Version {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestForcedDummyHasItsOwnSnapshots(t *testing.T) {
	src := SpecSource{Inline: json.RawMessage(`{"version":"v1","agent":{"name":"g"}}`)}
	var digests []string
	for _, force := range []bool{false, true} {
		c, _ := compiler(t, CompilerOptions{ForceDummy: force})
		b, err := c.open(src, noSpec)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.plan(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		s, err := b.freeze()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, s.Digest)
	}
	if digests[0] == digests[1] {
		t.Error("a plan bound to the dummy shares the name of the other")
	}
}

func TestRequiredSecrets(t *testing.T) {
	model := func(extra string) SpecSource {
		return SpecSource{Inline: json.RawMessage(`{"version":"v1","agent":{"name":"g","model":{"provider":"openai","name":"m","extra":{` + extra + `}}}}`)}
	}
	for name, test := range map[string]struct {
		source  SpecSource
		secrets secret.Map
		refused bool
	}{
		"key missing":       {model(""), secret.Map{}, true},
		"key present":       {model(""), secret.Map{"OPENAI_API_KEY": "k"}, false},
		"other variable":    {model(`"api_key_ref":"MY_KEY"`), secret.Map{"OPENAI_API_KEY": "k"}, true},
		"key in the spec":   {model(`"api_key":"k"`), secret.Map{}, false},
		"local server":      {model(`"base_url":"http://127.0.0.1:1"`), secret.Map{}, false},
		"server with a key": {model(`"base_url":"http://127.0.0.1:1","api_key_ref":"MY_KEY"`), secret.Map{}, true},
	} {
		c, _ := compiler(t, CompilerOptions{Secrets: test.secrets})
		b, err := c.open(test.source, noSpec)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = b.plan(t.Context(), true); problem.Is(err, problem.MissingSecret) != test.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

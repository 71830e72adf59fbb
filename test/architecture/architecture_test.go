package architecture

import (
	"flag"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the rules into .golangci.yaml")

const (
	root  = "../.."
	begin = "      # begin layers: written by `go test ./test/architecture -update`\n"
	end   = "      # end layers\n"
)

// imports returns, for every package with code that is not a test, the packages of the module that it imports.
func imports(t *testing.T) map[string]map[string]string {
	t.Helper()
	found := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if skipped(rel, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if found[pkg] == nil {
			found[pkg] = map[string]string{}
		}
		for _, spec := range file.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if below, ours := strings.CutPrefix(target, Module+"/"); ours {
				found[pkg][below] = rel
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// skipped names the trees without layers: generated code, other modules, tests and examples.
func skipped(rel, name string) bool {
	if rel == "." {
		return false
	}
	switch rel {
	case "gen", "test", "tools", "third_party", "examples", "docs", "deploy":
		return true
	}
	return strings.HasPrefix(name, ".") || name == "testdata"
}

func TestEveryPackageHasALayer(t *testing.T) {
	for pkg := range imports(t) {
		if _, ok := LayerOf(pkg); !ok {
			t.Errorf("%s is in no layer; add it to Layers", pkg)
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	for pkg, targets := range imports(t) {
		layer, ok := LayerOf(pkg)
		if !ok {
			continue
		}
		for target, file := range targets {
			if !layer.MayImport(target) {
				t.Errorf("%s: %s (layer %s) may not import %s", file, pkg, layer.Name, target)
			}
		}
	}
}

func TestNoPackageIsInTwoLayers(t *testing.T) {
	seen := map[string]string{}
	for _, l := range Layers {
		for _, p := range l.Packages {
			if other, twice := seen[p]; twice {
				t.Errorf("%s is in %s and in %s", p, other, l.Name)
			}
			seen[p] = l.Name
		}
	}
}

// TestLinterAgrees compares the depguard rules in .golangci.yaml with the table.
func TestLinterAgrees(t *testing.T) {
	path := filepath.Join(root, ".golangci.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	if !ok {
		t.Fatalf("%s has no line %q", path, begin)
	}
	got, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no line %q", path, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+LinterRules()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(LinterRules(), got); diff != "" {
		t.Errorf("the rules differ from the layers; run `go test ./test/architecture -update` (-want +got):\n%s", diff)
	}
}

func TestAllowed(t *testing.T) {
	tests := []struct {
		from, to string
		want     bool
	}{
		{"internal/engine", "internal/plan", true},
		{"internal/engine", "internal/store", true},
		{"internal/engine", "internal/store/sqlite", false},
		{"internal/engine", "internal/agent", false},
		{"internal/app", "internal/store/sqlite", true},
		{"internal/cli", "internal/app", true},
		{"internal/app", "internal/cli", false},
		{"internal/run", "internal/plan", false},
		{"internal/run", "gen/go/kneo/v1", true},
		{"internal/transport/rpc", "internal/service", true},
		{"internal/service", "internal/transport/rpc", false},
		{"cmd/kneo", "internal/cli", true},
	}
	for _, tt := range tests {
		layer, ok := LayerOf(tt.from)
		if !ok {
			t.Errorf("%s has no layer", tt.from)
			continue
		}
		if got := layer.MayImport(tt.to); got != tt.want {
			t.Errorf("%s imports %s: got %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

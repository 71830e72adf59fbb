package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const packagesPage = "docs/dev/packages.md"

const packagesHead = `# Packages

Every package by layer, lowest first, with what its package comment promises. Written by ` + "`go test ./test/architecture -update`" + ` from the layers in
` + "`test/architecture/layers.go`" + ` and the comments. A package may import the packages of all layers above it on this page, and generated code;
only ` + "`adapters`" + ` are reserved for the layers that assemble the program. What the layers are for is in [architecture](architecture.md).
`

// TestPackagesPage compares the packages and layers of the page with the code; -update also takes over the comments.
func TestPackagesPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(packagesHead)
	known := imports(t)
	for i := range Layers {
		l := &Layers[i]
		fmt.Fprintf(&b, "\n## %s\n\n| Package | Promise |\n| --- | --- |\n", l.Name)
		for _, path := range l.Packages {
			for found := range known {
				if tree, whole := strings.CutSuffix(path, "/..."); whole && (found == tree || strings.HasPrefix(found, tree+"/")) {
					path = found
				}
			}
			if _, exists := known[path]; !exists {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", path, promise(t, path))
		}
	}
	path := filepath.Join(root, packagesPage)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a page of the repository
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path) //nolint:gosec // a page of the repository
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listed(b.String()), listed(string(have))); diff != "" {
		t.Errorf("%s is out of date; run `go test ./test/architecture -update` (-want +have):\n%s", packagesPage, diff)
	}
}

// listed are the layers and packages of a page, without what is said about them.
func listed(page string) []string {
	var lines []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "## ") {
			lines = append(lines, strings.TrimSpace(line))
		} else if strings.HasPrefix(line, "| `") {
			lines = append(lines, strings.Split(line, "|")[1])
		}
	}
	return lines
}

// promise is the first sentence of a package comment without "Package name".
func promise(t *testing.T, path string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, path, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if text := comment(parsed); text != "" {
			return text
		}
	}
	t.Errorf("%s has no package comment", path)
	return ""
}

func comment(file *ast.File) string {
	if file.Doc == nil {
		return ""
	}
	text := strings.Join(strings.Fields(file.Doc.Text()), " ")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "Package "), "Command ")
	if end := strings.Index(text+" ", ". "); end >= 0 && end < len(text) {
		text = text[:end+1]
	}
	_, said, _ := strings.Cut(text, " ")
	return strings.ReplaceAll(said, "|", "\\|")
}

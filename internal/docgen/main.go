// Command docgen writes the pages of the manual that follow from the program itself: commands, settings, routes and spec fields. Run it from the
// root of the repository (`make docs`); a test of this package fails when a page is out of date.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kneo-go/kneo/internal/cli"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/spec"
)

// page is one generated file.
type page struct {
	path string
	text func(root string) (string, error)
}

var pages = []page{
	{"docs/user/cli.md", func(string) (string, error) { return commands(cli.NewCommand()), nil }},
	{"docs/user/api.md", api},
	{"docs/user/errors.md", errorCodes},
	{"docs/user/spec-reference.md", func(string) (string, error) { return spec.Reference(), nil }},
	{"docs/operators/settings.md", func(string) (string, error) { return config.Markdown(), nil }},
}

func api(root string) (string, error) {
	facts, err := contract.Load()
	if err != nil {
		return "", err
	}
	said, err := comments(root)
	if err != nil {
		return "", err
	}
	return routes(facts, said), nil
}

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	folderMode = 0o755
	fileMode   = 0o644
)

// write writes all pages below a folder.
func write(root string) error {
	for _, p := range pages {
		text, err := p.text(root)
		if err != nil {
			return err
		}
		path := filepath.Join(root, filepath.FromSlash(p.path))
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil { //nolint:gosec // a folder of the repository
			return err
		}
		if err := os.WriteFile(path, []byte(text), fileMode); err != nil { //nolint:gosec // a file of the repository
			return err
		}
	}
	return nil
}

// Package python carries the Python worker library, so that programs can serve Python functions where it is not installed. It imports only the
// standard library.
package python

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

// Name is the name under which Python imports the library.
const Name = "kneo_worker"

//go:embed src/kneo_worker/*.py src/kneo_worker/py.typed
var sources embed.FS

// Unpack writes the library into a folder, which must exist and belongs on Python's import path then.
func Unpack(dir string) error {
	library, err := fs.Sub(sources, "src")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, library)
}

// In reports whether a folder of the import path holds the library.
func In(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, Name, "__init__.py"))
	return err == nil
}

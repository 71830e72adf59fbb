package pgtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// EnvBinaries names the folder with initdb and postgres to use.
const EnvBinaries = "KNEO_TEST_PG_BIN"

// binaries finds a folder with initdb and postgres.
func binaries() (string, error) {
	if dir := os.Getenv(EnvBinaries); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("%s=%s has no initdb and postgres", EnvBinaries, dir)
		}
		return dir, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		sort.Strings(found)
		for i := len(found) - 1; i >= 0; i-- {
			if complete(found[i]) {
				return found[i], nil
			}
		}
	}
	return fetched()
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// fetched downloads a server once and keeps it in the cache of the user. The library can only start what it fetched; as root that fails after
// the files are in place, which is all that is wanted of it.
func fetched() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	root := filepath.Join(cache, "kneo-test-postgres")
	bin := filepath.Join(root, "bin")
	if complete(bin) {
		return bin, nil
	}
	scratch, err := os.MkdirTemp("", "kneopg-fetch")
	if err != nil {
		return "", err
	}
	db := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		BinariesPath(root).CachePath(filepath.Join(root, "archives")).RuntimePath(filepath.Join(scratch, "run")).
		DataPath(filepath.Join(scratch, "data")).Port(freePort()).Logger(io.Discard))
	startErr := db.Start()
	if startErr == nil {
		startErr = db.Stop()
	}
	if err := os.RemoveAll(scratch); err != nil {
		return "", err
	}
	if !complete(bin) {
		return "", errors.Join(fmt.Errorf("no PostgreSQL found: install one, or set %s to the folder of its binaries", EnvBinaries), startErr)
	}
	return bin, nil
}

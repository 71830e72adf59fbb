package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRemoveOld(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	now := time.Now()
	put := func(dir, name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put(root, "old/deep/a.txt", 48*time.Hour)
	put(root, "mixed/old.txt", 48*time.Hour)
	fresh := put(root, "mixed/new.txt", time.Hour)
	elsewhere := put(outside, "x.txt", 48*time.Hour)
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if n, err := removeOld(t.Context(), root, true, now.Add(-24*time.Hour)); err != nil || n != 2 {
		t.Fatalf("counted %d, %v", n, err)
	}
	n, err := removeOld(t.Context(), root, false, now.Add(-24*time.Hour))
	if err != nil || n != 2 {
		t.Fatalf("removed %d, %v", n, err)
	}
	for _, kept := range []string{fresh, elsewhere} {
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("%s: %v", kept, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "old")); !os.IsNotExist(err) {
		t.Error("an emptied folder stays")
	}
	if n, err := removeOld(t.Context(), filepath.Join(root, "none"), false, now); n != 0 || err != nil {
		t.Errorf("no folder: %d, %v", n, err)
	}
}

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Store {
		s := open(b, sqlite.Options{Path: filepath.Join(b.TempDir(), "k.sqlite")})
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		return s
	})
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	b.Run("Fresh", func(b *testing.B) {
		for b.Loop() {
			if err := open(b, sqlite.Options{Path: filepath.Join(b.TempDir(), "k.sqlite")}).Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Existing", func(b *testing.B) {
		for b.Loop() {
			if err := open(b, sqlite.Options{Path: filepath.Join(dir, "k.sqlite")}).Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package postgres_test

import (
	"testing"

	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Store {
		s := open(b, postgres.Options{DSN: server.Database(b)})
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		return s
	})
}

func BenchmarkOpen(b *testing.B) {
	b.Run("Fresh", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dsn := server.Empty(b)
			b.StartTimer()
			if err := open(b, postgres.Options{DSN: dsn}).Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package postgres_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/storetest"
	"github.com/kneo-go/kneo/internal/testkit/pgtest"
)

var server *pgtest.Server

func TestMain(m *testing.M) {
	code := pgtest.Main(m, func(s *pgtest.Server) error {
		server = s
		return s.Template(context.Background(), func(dsn string) error {
			st, err := postgres.New(context.Background(), postgres.Options{DSN: dsn})
			if err != nil {
				return err
			}
			return st.Close()
		})
	})
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func open(t testing.TB, o postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	for name, mode := range map[string]string{"Direct": "", "Pooler": "&default_query_exec_mode=cache_describe"} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, c *storetest.Clock) store.Store {
				return open(t, postgres.Options{DSN: server.Database(t) + mode, Now: c.Now, OwnerTTL: 24 * time.Hour})
			})
		})
	}
}

// TestConformanceThroughPgBouncer: a real pooler in transaction mode stands between, and notifications have a connection of their own.
func TestConformanceThroughPgBouncer(t *testing.T) {
	pooler := server.Pooler(t)
	storetest.Run(t, func(t *testing.T, c *storetest.Clock) store.Store {
		direct := server.Database(t)
		dsn, err := pooler.Through(direct)
		if err != nil {
			t.Fatal(err)
		}
		return open(t, postgres.Options{DSN: dsn, ListenDSN: direct, Now: c.Now, OwnerTTL: 24 * time.Hour})
	})
}

package backup

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.New(t.Context(), sqlite.Options{Path: path, Normal: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func events(t *testing.T, s store.Audit) int64 {
	t.Helper()
	_, n, err := s.AuditEvents(context.Background(), store.AuditFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSQLiteBesideAWriter copies while rows arrive: each copy is whole and holds at least what was there before.
func TestSQLiteBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kneo.db")
	s := open(t, path)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			if err := s.AppendAudit(context.WithoutCancel(ctx), run.AuditEvent{Type: "x"}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var before int64
	copies := []string{filepath.Join(dir, "a", "one.db"), filepath.Join(dir, "two.db")}
	for _, file := range copies {
		before = events(t, s)
		r, err := SQLite(t.Context(), path, file, false)
		if err != nil || r.SchemaVersion != sqlite.KnownVersion() || r.BytesCopied == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	stop()
	writing.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := RestoreSQLite(t.Context(), copies[1], path, true)
	if err != nil || r.Kept == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	s = open(t, path)
	if n := events(t, s); n < before {
		t.Errorf("%d events, %d before the copy", n, before)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(copies[1])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.partial"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestSQLiteInMemoryCannotBeCopied(t *testing.T) {
	if _, err := SQLite(t.Context(), sqlite.Memory, filepath.Join(t.TempDir(), "x.db"), false); err == nil {
		t.Error("copied")
	}
}

func TestConnectionHidesThePassword(t *testing.T) {
	for _, dsn := range []string{
		"postgres://ann:topsecret@db.example:6432/kneo?sslmode=verify-full&sslrootcert=/none&pool_max_conns=9",
		"host=db.example port=6432 user=ann password=topsecret dbname=kneo sslmode=disable",
	} {
		if strings.Contains(dsn, "sslrootcert") {
			dsn = strings.ReplaceAll(dsn, "&sslrootcert=/none", "")
		}
		target, env, err := connection(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if target != "postgres://db.example:6432/kneo" {
			t.Errorf("target %s", target)
		}
		for _, want := range []string{"PGHOST=db.example", "PGPORT=6432", "PGUSER=ann", "PGPASSWORD=topsecret", "PGDATABASE=kneo"} {
			if !slices.Contains(env, want) {
				t.Errorf("%s: no %s in %v", dsn, want, env)
			}
		}
	}
}

package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	migrations "github.com/kneo-go/kneo/sql"
)

func TestSecondWriterIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.sqlite")
	first := open(t, sqlite.Options{Path: path})
	_, err := sqlite.New(t.Context(), sqlite.Options{Path: path})
	var inUse *store.InUseError
	if !errors.As(err, &inUse) || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error is %v", err)
	}
	if inUse.Holder != strconv.Itoa(os.Getpid()) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--service-url") {
		t.Errorf("message is %q", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, sqlite.Options{Path: path})
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCrashedOwner lets a child process die with a lease and the file lock in its hands.
func TestCrashedOwner(t *testing.T) {
	const env = "KNEO_TEST_CRASH_PATH"
	create := func(s *sqlite.Store, owner string) run.Claimed {
		t.Helper()
		c, err := s.CreateRun(t.Context(), store.CreateRun{
			Run:  run.Run{ID: "r-" + owner, Status: run.Running, Target: "agent", CreatedAt: time.Now(), UpdatedAt: time.Now()},
			Mode: run.ModeInline, Owner: owner, Lease: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if path := os.Getenv(env); path != "" {
		s := open(t, sqlite.Options{Path: path})
		create(s, "dead")
		if err := s.AcquireLease(t.Context(), "leader", "dead", time.Hour); err != nil {
			t.Fatal(err)
		}
		os.Exit(3)
	}
	path := filepath.Join(t.TempDir(), "k.sqlite")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashedOwner$")
	cmd.Env = append(os.Environ(), env+"="+path)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("child: %v\n%s", err, out)
	}
	s := open(t, sqlite.Options{Path: path})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	mine := create(s, "live")
	n, err := s.RecoverOwners(t.Context(), "live", time.Minute)
	if err != nil || n != 1 {
		t.Fatalf("recovered %d, %v", n, err)
	}
	if err := s.AcquireLease(t.Context(), "leader", "live", time.Minute); err != nil {
		t.Fatal(err)
	}
	got, err := s.ClaimRuns(t.Context(), "live", time.Minute, 10)
	if err != nil || len(got) != 1 || got[0].Run.ID != "r-dead" {
		t.Fatalf("claimed %v, %v", got, err)
	}
	if err := s.CommitStep(t.Context(), mine.Fence, store.Progress{}); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.sqlite")
	if _, err := sqlite.New(t.Context(), sqlite.Options{Path: path, ReadOnly: true}); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("error is %v", err)
	}
	w := open(t, sqlite.Options{Path: path})
	r := open(t, sqlite.Options{Path: path, ReadOnly: true})
	check := func(want int64) {
		t.Helper()
		if n, err := r.CountRuns(t.Context(), store.RunFilter{}); err != nil || n != want {
			t.Fatalf("count is %d, %v", n, err)
		}
	}
	check(0)
	_, err := w.CreateRun(t.Context(), store.CreateRun{Run: run.Run{ID: "r", Status: run.Running}, Mode: run.ModeInline, Owner: "o", Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	check(1)
	if err := r.AppendAudit(t.Context(), run.AuditEvent{Type: "x"}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error is %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	check(1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, sqlite.Options{Path: path, ReadOnly: true})
	check(1)
	if err := r.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSchemaVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.sqlite")
	if err := open(t, sqlite.Options{Path: path}).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	var version int64
	if err := db.QueryRowContext(t.Context(), "SELECT max(version_id) FROM goose_db_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(migrations.Migrations, "sqlite/migrations/*.sql")
	if err != nil || int64(len(files)) != version {
		t.Errorf("%d migrations, schema version %d, %v", len(files), version, err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		_, err := sqlite.New(context.Background(), sqlite.Options{Path: path, ReadOnly: readOnly})
		if !errors.Is(err, store.ErrSchemaTooNew) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.sqlite")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.New(t.Context(), sqlite.Options{Path: path}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error is %v", err)
	}
	if _, err := sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(path, "below", "k.sqlite")}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error is %v", err)
	}
}

// TestForeignFile refuses a database of another program and leaves it as it is.
func TestForeignFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kneo_runs.sqlite")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE runs (id TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := sqlite.New(t.Context(), sqlite.Options{Path: path}); !errors.Is(err, store.ErrForeign) || !strings.Contains(err.Error(), path) {
		t.Fatalf("%v %v", s, err)
	}
	if db, err = sql.Open("sqlite", path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var tables int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil || tables != 1 {
		t.Errorf("%d tables, %v", tables, err)
	}
}

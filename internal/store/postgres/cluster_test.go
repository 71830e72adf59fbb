package postgres_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	migrations "github.com/kneo-go/kneo/sql"
)

func closing(t *testing.T, s *postgres.Store) *postgres.Store {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func create(t *testing.T, s store.Store, mode, owner string) run.Claimed {
	t.Helper()
	now := time.Now()
	c, err := s.CreateRun(t.Context(), store.CreateRun{
		Run:  run.Run{ID: uuid.NewString(), Status: run.Queued, Target: "agent", CreatedAt: now, UpdatedAt: now},
		Mode: mode, Owner: owner, Lease: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReplicasMigrateTogether starts several replicas on an empty database at once.
func TestReplicasMigrateTogether(t *testing.T) {
	dsn := server.Empty(t)
	var wg sync.WaitGroup
	stores := make([]*postgres.Store, 4)
	errs := make([]error, len(stores))
	for i := range stores {
		wg.Go(func() { stores[i], errs[i] = postgres.New(t.Context(), postgres.Options{DSN: dsn}) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		closing(t, stores[i])
	}
	files, err := fs.Glob(migrations.Migrations, "postgres/migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	var version int
	if err := conn.QueryRow(t.Context(), "SELECT max(version_id) FROM goose_db_version").Scan(&version); err != nil || version != len(files) {
		t.Errorf("version %d, %v", version, err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.New(t.Context(), postgres.Options{DSN: dsn}); !errors.Is(err, store.ErrSchemaTooNew) {
		t.Errorf("error is %v", err)
	}
}

// TestOtherProcessesHear checks wake-ups and changes between two stores.
func TestOtherProcessesHear(t *testing.T) {
	dsn := server.Database(t)
	a := closing(t, open(t, postgres.Options{DSN: dsn}))
	b := closing(t, open(t, postgres.Options{DSN: dsn}))
	// The first value says that the listener is there.
	<-b.Wake()
	ctx, cancel := context.WithCancel(t.Context())
	changed, err := b.Changed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := create(t, a, run.ModeQueued, "")
	<-b.Wake()
	if id := <-changed; id != c.Run.ID {
		t.Errorf("changed run is %s", id)
	}
	cancel()
	for range changed {
		continue
	}
}

// TestPollsWithoutListener gives the listener an address where nobody answers.
func TestPollsWithoutListener(t *testing.T) {
	dsn := server.Database(t)
	a := closing(t, open(t, postgres.Options{DSN: dsn}))
	b := closing(t, open(t, postgres.Options{DSN: dsn, ListenDSN: "postgres://kneo@127.0.0.1:1/kneo?connect_timeout=1"}))
	changed, err := b.Changed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := create(t, a, run.ModeQueued, "")
	<-b.Wake()
	if id := <-changed; id != c.Run.ID {
		t.Errorf("changed run is %s", id)
	}
}

// TestDeadOwner lets an owner fall silent without a word: another process gets its runs although the lease is long.
func TestDeadOwner(t *testing.T) {
	dsn := server.Database(t)
	a := closing(t, open(t, postgres.Options{DSN: dsn}))
	mine := create(t, a, run.ModeInline, "alive")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	dead := create(t, a, run.ModeInline, "dead")
	silence := func(owner string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "UPDATE owners SET beat_at = now() - interval '11 seconds' WHERE owner = $1", owner); err != nil {
			t.Fatal(err)
		}
	}
	silence("dead")
	got, err := a.ClaimRuns(t.Context(), "worker", time.Minute, 10)
	if err != nil || len(got) != 1 || got[0].Run.ID != dead.Run.ID || got[0].Fence.Attempt != 2 {
		t.Fatalf("claimed %v, %v", got, err)
	}
	if err := a.CommitStep(t.Context(), dead.Fence, store.Progress{}); !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("error is %v", err)
	}
	silence("alive")
	n, err := a.RecoverOwners(t.Context(), "worker", 10*time.Second)
	if err != nil || n != 1 {
		t.Fatalf("recovered %d, %v", n, err)
	}
	if err := a.CommitStep(t.Context(), mine.Fence, store.Progress{}); !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("error is %v", err)
	}
}

// TestClosedOwner hands the leases of a process that stopped to the next one at once.
func TestClosedOwner(t *testing.T) {
	dsn := server.Database(t)
	a := open(t, postgres.Options{DSN: dsn})
	c := create(t, a, run.ModeInline, "stopped")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := closing(t, open(t, postgres.Options{DSN: dsn}))
	got, err := b.ClaimRuns(t.Context(), "next", time.Minute, 10)
	if err != nil || len(got) != 1 || got[0].Run.ID != c.Run.ID {
		t.Fatalf("claimed %v, %v", got, err)
	}
}

func TestUnreachable(t *testing.T) {
	for _, dsn := range []string{
		"postgres://kneo:topsecret@127.0.0.1:1/kneo?connect_timeout=2", server.DSN("missing"), "postgres://kneo:topsecret@:bad/",
	} {
		_, err := postgres.New(t.Context(), postgres.Options{DSN: dsn})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: error is %v", dsn, err)
		}
		if err != nil && strings.Contains(err.Error(), "topsecret") {
			t.Errorf("password in %q", err)
		}
	}
}

// TestServerGoesAway ends all sessions under a working store: it says so, and works again afterwards.
func TestServerGoesAway(t *testing.T) {
	dsn := server.Database(t)
	s := closing(t, open(t, postgres.Options{DSN: dsn}))
	c := create(t, s, run.ModeInline, "o")
	err := server.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kneo'")
	if err != nil {
		t.Fatal(err)
	}
	for {
		err := s.CommitStep(t.Context(), c.Fence, store.Progress{Checkpoints: []run.Checkpoint{{Type: "x"}}})
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
	}
}

// TestRefusedStatementSpoilsNothing mixes an operation that the server refuses with good ones.
func TestRefusedStatementSpoilsNothing(t *testing.T) {
	s := closing(t, open(t, postgres.Options{DSN: server.Database(t)}))
	first := create(t, s, run.ModeQueued, "")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			r := run.Run{ID: uuid.NewString(), Status: run.Queued, Target: "agent"}
			if i%8 == 0 {
				r.ID = first.Run.ID
			}
			_, err := s.CreateRun(t.Context(), store.CreateRun{Run: r, Mode: run.ModeQueued})
			if i%8 == 0 {
				if !errors.Is(err, store.ErrConflict) {
					t.Errorf("error is %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, err := s.CountRuns(t.Context(), store.RunFilter{}); err != nil || n != 36 {
		t.Errorf("%d runs, %v", n, err)
	}
}

// TestDepthAcrossProcesses keeps the limit exact while two processes create.
func TestDepthAcrossProcesses(t *testing.T) {
	dsn := server.Database(t)
	stores := []*postgres.Store{closing(t, open(t, postgres.Options{DSN: dsn})), closing(t, open(t, postgres.Options{DSN: dsn}))}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := stores[i%2].CreateRun(t.Context(), store.CreateRun{
				Run: run.Run{ID: uuid.NewString(), Status: run.Queued}, Mode: run.ModeQueued, MaxDepth: 10,
			})
			var full *store.QueueFullError
			if err != nil && !errors.As(err, &full) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, err := stores[0].CountRuns(t.Context(), store.RunFilter{}); err != nil || n != 10 {
		t.Errorf("%d runs, %v", n, err)
	}
}

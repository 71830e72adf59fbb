// Package crash plays every scenario again and again, each time killing the process after another commit: the run must end as if nothing had
// happened, and no finished call may be made twice.
package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
	"github.com/kneo-go/kneo/internal/testkit/pgtest"
)

var server *pgtest.Server

func TestMain(m *testing.M) {
	code := pgtest.Main(m, func(s *pgtest.Server) error {
		server = s
		return nil
	})
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestMatrixSQLite(t *testing.T) {
	matrix(t, [][]int{{}, {1}, {2}, {1, 1}}, func(t *testing.T) (store.Store, error) {
		return sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.sqlite"), Normal: true})
	})
}

func TestMatrixPostgreSQL(t *testing.T) {
	matrix(t, [][]int{{}, {2}}, func(t *testing.T) (store.Store, error) {
		return postgres.New(t.Context(), postgres.Options{DSN: server.Empty(t)})
	})
}

// matrix kills the process after every commit of every scenario; next are the lives of the processes that follow. The database outlives all.
func matrix(t *testing.T, next [][]int, open func(*testing.T) (store.Store, error)) {
	if !thorough {
		next = next[:1]
	}
	s, err := open(t)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	points := 0
	for _, sc := range testkit.LoadScenarios(t, "../scenario") {
		if sc.Crash == nil || *sc.Crash {
			t.Run(sc.Name, func(t *testing.T) { points += killAfterEach(t, s, &sc, next) })
		}
	}
	t.Logf("%d crash points", points)
}

// killAfterEach plays a scenario once for every commit that it makes and every way to go on. It returns how often a process died.
func killAfterEach(t *testing.T, s store.Store, sc *testkit.Scenario, next [][]int) int {
	whole := testkit.NewBenchOn(t, s).Play(sc)
	points := 0
	for n := 1; n <= whole.Commits; n++ {
		for _, more := range next {
			lives := append([]int{n}, more...)
			b := testkit.NewBenchOn(t, s)
			r := b.Play(sc, lives...)
			if r.Crashes == 0 && sc.InFlight == 0 { // branches share commits as it happens
				t.Fatalf("commit %d of %d: the process did not die", n, whole.Commits)
			}
			points += r.Crashes
			b.Check(sc, r)
			if r.Calls > whole.Calls+r.Crashes*max(sc.InFlight, 1) {
				t.Errorf("%d calls, %d without a crash", r.Calls, whole.Calls)
			}
			if t.Failed() {
				t.Fatalf("processes lived %v of %d commits", lives, whole.Commits)
			}
		}
	}
	if legs, err := testkit.NewBenchOn(t, s).Executor(0).Store.ClaimRuns(context.Background(), "auditor", 0, 10); err != nil || len(legs) > 0 {
		t.Errorf("%d legs are still open, %v", len(legs), err)
	}
	return points
}

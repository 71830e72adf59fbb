// Package crash plays every scenario again and again, each time killing the process after another commit: the run must end as if nothing had
// happened, and no finished call may be made twice.
package crash

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMatrix kills the process after every commit of every scenario.
func TestMatrix(t *testing.T) {
	points := 0
	for _, s := range testkit.LoadScenarios(t, "../scenario") {
		if s.Crash != nil && !*s.Crash {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			whole := testkit.NewBench(t).Play(&s, 0)
			for n := 1; n <= whole.Commits; n++ {
				b := testkit.NewBench(t)
				r := b.Play(&s, n)
				if r.Crashes == 0 && s.InFlight == 0 { // branches share commits as it happens
					t.Fatalf("commit %d of %d: the process did not die", n, whole.Commits)
				}
				points += r.Crashes
				b.Check(&s, r)
				if r.Calls > whole.Calls+max(s.InFlight, 1) {
					t.Errorf("commit %d: %d calls, %d without a crash", n, r.Calls, whole.Calls)
				}
				if t.Failed() {
					t.Fatalf("after commit %d of %d", n, whole.Commits)
				}
			}
		})
	}
	t.Logf("%d crash points", points)
}

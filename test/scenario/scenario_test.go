// Package scenario plays the YAML scenarios of this folder.
package scenario

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios plays every scenario without a crash.
func TestScenarios(t *testing.T) {
	for _, s := range testkit.LoadScenarios(t, ".") {
		t.Run(s.Name, func(t *testing.T) {
			b := testkit.NewBench(t)
			b.Check(&s, b.Play(&s))
		})
	}
}

// Package scenario plays the YAML scenarios of this folder.
package scenario

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios plays every scenario without a crash.
func TestScenarios(t *testing.T) {
	s, err := sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.sqlite"), Normal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, sc := range testkit.LoadScenarios(t, ".") {
		t.Run(sc.Name, func(t *testing.T) {
			b := testkit.NewBenchOn(t, s)
			b.Check(&sc, b.Play(&sc))
		})
	}
}

package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/store/sqlite"
)

// TestMeasure runs every operation on a small store; it says nothing about time.
func TestMeasure(t *testing.T) {
	s, err := sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.db"), Normal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	table, err := Measure(t.Context(), s, []int{100, 300}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| stored runs | 100 | 300 |", "| claim |", "| resume |", "| list by session |"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

package id_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kneo-go/kneo/internal/id"
)

func TestSequenceSortsByTime(t *testing.T) {
	var s id.Sequence
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	times := []time.Time{now, now, now.Add(-time.Second), now.Add(time.Microsecond), now.Add(time.Hour), now.AddDate(80, 0, 0)}
	last := ""
	for _, at := range times {
		got := s.New(at)
		if got <= last {
			t.Errorf("%s at %s does not sort after %s", got, at, last)
		}
		u, err := uuid.Parse(got)
		if err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 || u.String() != got {
			t.Errorf("%s is not a lower-case UUID of version 4 (%v)", got, err)
		}
		last = got
	}
}

func TestSequenceIsUnique(t *testing.T) {
	var s id.Sequence
	var mu sync.Mutex
	seen := map[string]bool{}
	now := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				got := s.New(now)
				mu.Lock()
				if seen[got] {
					t.Errorf("%s was made twice", got)
				}
				seen[got] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestDerived(t *testing.T) {
	if id.Derived("a", "bc") == id.Derived("ab", "c") {
		t.Error("parts run together")
	}
	if id.Derived("a", "b") != id.Derived("a", "b") {
		t.Error("the same parts give different ids")
	}
	if id.New() == id.New() {
		t.Error("random ids repeat")
	}
}

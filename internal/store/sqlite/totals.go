package sqlite

import (
	"fmt"
	"sync"
)

// maxTotals bounds the memory of known totals; beyond it they start anew.
const maxTotals = 256

// totals remembers how many runs match a filter until a run changes. Only this process writes, so it knows when that is.
type totals struct {
	mu    sync.Mutex
	epoch uint64
	known map[string]int64
}

// changed forgets everything.
func (t *totals) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch++
	clear(t.known)
}

// get returns the total of a query, or the epoch with which to put it.
func (t *totals) get(key string) (n int64, ok bool, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok = t.known[key]
	return n, ok, t.epoch
}

// put keeps a total unless a run changed since the epoch.
func (t *totals) put(key string, n int64, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if epoch != t.epoch {
		return
	}
	if t.known == nil || len(t.known) >= maxTotals {
		t.known = map[string]int64{}
	}
	t.known[key] = n
}

func totalKey(query string, args []any) string { return fmt.Sprintf("%s %q", query, args) }

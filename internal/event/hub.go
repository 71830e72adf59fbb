// Package event tells watchers in this process that a run has changed. It carries no data: a watcher reads the run's event log from the
// store. It imports the standard library only.
package event

import "sync"

// Hub fans out "run changed" signals. The zero value is ready.
type Hub struct {
	mu   sync.Mutex
	runs map[string]map[chan struct{}]struct{}
}

// Watch returns a channel that has a value after each Notify of the run (several may fold into one), and a function that ends the watch.
func (h *Hub) Watch(runID string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runs == nil {
		h.runs = map[string]map[chan struct{}]struct{}{}
	}
	if h.runs[runID] == nil {
		h.runs[runID] = map[chan struct{}]struct{}{}
	}
	h.runs[runID][ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.runs[runID], ch)
		if len(h.runs[runID]) == 0 {
			delete(h.runs, runID)
		}
	}
}

// Notify signals the watchers of a run.
func (h *Hub) Notify(runID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.runs[runID] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// NotifyAll signals every watcher, for a listener that may have missed changes.
func (h *Hub) NotifyAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, set := range h.runs {
		for ch := range set {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}

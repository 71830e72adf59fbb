package sqlite

import "sync"

// maxDigests bounds the memory of known snapshots; beyond it the set starts anew.
const maxDigests = 4096

// digests remembers which snapshots are stored, so that a run of a known spec does not send its plan again.
type digests struct {
	mu    sync.RWMutex
	known map[string]struct{}
}

func newDigests() *digests { return &digests{known: map[string]struct{}{}} }

func (d *digests) has(digest string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.known[digest]
	return ok
}

func (d *digests) add(digest string) {
	if digest == "" || d.has(digest) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxDigests {
		clear(d.known)
	}
	d.known[digest] = struct{}{}
}

// forget empties the set; called inside the transaction that deletes snapshots.
func (d *digests) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.known)
}

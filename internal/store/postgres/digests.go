package postgres

import (
	"sync"
	"time"
)

const (
	// snapshotTrust is how long a stored snapshot is taken to be there still; another process may prune it after snapshotKeep.
	snapshotTrust = 10 * time.Minute
	snapshotKeep  = time.Hour
	// maxDigests bounds the memory of known snapshots; beyond it the set starts anew.
	maxDigests = 4096
)

// digests remembers which snapshots were stored lately, so that a run of a known spec does not send its plan again.
type digests struct {
	mu    sync.RWMutex
	known map[string]time.Time
}

func (d *digests) fresh(digest string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	at, ok := d.known[digest]
	return ok && time.Since(at) < snapshotTrust
}

func (d *digests) sent(digest string) {
	if digest == "" || d.fresh(digest) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxDigests {
		d.known = map[string]time.Time{}
	}
	d.known[digest] = time.Now()
}

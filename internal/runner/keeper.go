package runner

import (
	"context"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// Keeper knows the legs that this process executes, extends their leases and stops those that were lost, cancelled or are overdue.
type Keeper struct {
	owner string
	mu    sync.Mutex
	held  map[string]holding
}

type holding struct {
	fence  run.Fence
	cancel context.CancelCauseFunc
	// closing tells that the last write of the leg is on its way; news about the run are its own then.
	closing bool
	// seen is when the lease was known to be held, by the clock of this process.
	seen time.Time
}

func newKeeper(owner string) *Keeper {
	return &Keeper{owner: owner, held: map[string]holding{}}
}

// Hold keeps the lease of a claim until release is called; cancel is told when the run may not go on. A second Hold of the same claim replaces
// the first.
func (k *Keeper) Hold(f run.Fence, cancel context.CancelCauseFunc) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[f.RunID] = holding{fence: f, cancel: cancel, seen: time.Now()}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.held[f.RunID].fence == f {
			delete(k.held, f.RunID)
		}
	}
}

// closing marks a leg whose last write has begun.
func (k *Keeper) closing(f run.Fence) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[f.RunID]; h.fence == f {
		h.closing = true
		k.held[f.RunID] = h
	}
}

// Cancel stops the leg of a run that this process executes, with a cause of this package. It reports whether there was one.
func (k *Keeper) Cancel(runID string, cause error) bool {
	k.mu.Lock()
	h, ok := k.held[runID]
	k.mu.Unlock()
	if ok {
		h.cancel(cause)
	}
	return ok
}

// Held returns the fences of all claims of this process.
func (k *Keeper) Held() []run.Fence {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]run.Fence, 0, len(k.held))
	for _, h := range k.held {
		out = append(out, h.fence)
	}
	return out
}

// Beat extends the leases of everything that is held, and stops what may not go on.
func (k *Keeper) Beat(ctx context.Context, q store.Queue, lease time.Duration) (store.Beat, error) {
	begun, held := time.Now(), k.Held()
	beat, err := q.Heartbeat(ctx, k.owner, lease, held)
	if err != nil {
		return beat, err
	}
	k.heard(held, begun)
	for _, f := range beat.Lost {
		k.Cancel(f.RunID, ErrLost)
	}
	for _, id := range beat.Cancelled {
		k.Cancel(id, ErrCancelled)
	}
	for _, id := range beat.Overdue {
		k.Cancel(id, ErrOverdue)
	}
	return beat, nil
}

// heard notes that leases were extended.
func (k *Keeper) heard(held []run.Fence, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range held {
		if h, ok := k.held[f.RunID]; ok && h.fence == f && h.seen.Before(at) {
			h.seen = at
			k.held[f.RunID] = h
		}
	}
}

// doubtful tells that nothing was heard of a lease for so long that another process may have taken the run, as after a long stop of this one.
func (k *Keeper) doubtful(f run.Fence, lease time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.held[f.RunID]
	return ok && h.fence == f && time.Since(h.seen) > min(lease, silence)*3/4
}

// silence is how long a process may be silent before others take its runs, whatever the lease is.
const silence = 10 * time.Second

// Watch stops legs whose runs became terminal elsewhere as soon as the store tells about it. It returns when the context ends.
func (k *Keeper) Watch(ctx context.Context, s store.Store) error {
	changed, err := s.Changed(ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case runID, ok := <-changed:
			if !ok {
				return nil
			}
			k.check(ctx, s, runID)
		}
	}
}

func (k *Keeper) check(ctx context.Context, s store.Store, runID string) {
	k.mu.Lock()
	h, ok := k.held[runID]
	k.mu.Unlock()
	if !ok || h.closing {
		return
	}
	r, err := s.Run(ctx, runID)
	if err == nil && r.Status.Terminal() {
		h.cancel(ErrCancelled)
	}
}

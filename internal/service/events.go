package service

import (
	"context"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

const (
	// eventBatch is how many events one read takes.
	eventBatch = 500
	// eventPoll is how long a watcher trusts in being told about changes.
	eventPoll = 5 * time.Second
)

// Events follows runs while they work.
type Events struct {
	store store.Store

	mu       sync.Mutex
	watchers map[string]map[chan struct{}]struct{}
}

// NewEvents returns the use case; Run must be running for prompt news.
func NewEvents(s store.Store) *Events {
	return &Events{store: s, watchers: map[string]map[chan struct{}]struct{}{}}
}

// Run hands the store's change notices to the watchers until the context ends.
func (e *Events) Run(ctx context.Context) error {
	changed, err := e.store.Changed(ctx)
	if err != nil {
		return storeError(err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case id, ok := <-changed:
			if !ok {
				return nil
			}
			e.notify(id)
		}
	}
}

func (e *Events) notify(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.watchers[id] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Watched reports whether somebody follows the run in this process.
func (e *Events) Watched(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.watchers[id]) > 0
}

// subscribe returns a channel that gets a value when the run may have changed.
func (e *Events) subscribe(id string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watchers[id] == nil {
		e.watchers[id] = map[chan struct{}]struct{}{}
	}
	e.watchers[id][c] = struct{}{}
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.watchers[id], c)
		if len(e.watchers[id]) == 0 {
			delete(e.watchers, id)
		}
	}
}

// Watch sends the events of a run after a sequence number, the stored ones first. It returns when the run has ended and everything was sent.
func (e *Events) Watch(ctx context.Context, id string, after int64, send func(run.Event) error) error {
	news, cancel := e.subscribe(id)
	defer cancel()
	for {
		// The row is read before the events: a terminal row's last event is then among them.
		r, err := e.store.Run(ctx, id)
		if err != nil {
			return storeError(err)
		}
		if after, err = e.drain(ctx, id, after, send); err != nil {
			return err
		}
		if r.Status.Terminal() && after >= r.EventSeq {
			return nil
		}
		if err := wait(ctx, news, eventPoll); err != nil {
			return err
		}
	}
}

func (e *Events) drain(ctx context.Context, id string, after int64, send func(run.Event) error) (int64, error) {
	for {
		events, err := e.store.Events(ctx, id, after, eventBatch)
		if err != nil {
			return after, storeError(err)
		}
		for _, event := range events {
			if err := send(event); err != nil {
				return after, err
			}
			after = event.Sequence
		}
		if len(events) < eventBatch {
			return after, nil
		}
	}
}

// Settled returns the run when it has ended or waits for a person, or when the time is up; settled tells which.
func (e *Events) Settled(ctx context.Context, id string, timeout time.Duration) (r run.Run, settled bool, err error) {
	news, cancel := e.subscribe(id)
	defer cancel()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		if r, err = e.store.Run(ctx, id); err != nil {
			return run.Run{}, false, storeError(err)
		}
		if r.Status.Terminal() || r.Status == run.Blocked {
			return r, true, nil
		}
		poll := time.NewTimer(eventPoll)
		select {
		case <-ctx.Done():
			poll.Stop()
			return run.Run{}, false, ctx.Err()
		case <-deadline.C:
			poll.Stop()
			return r, false, nil
		case <-news:
		case <-poll.C:
		}
		poll.Stop()
	}
}

func wait(ctx context.Context, news <-chan struct{}, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-news:
	case <-t.C:
	}
	return nil
}

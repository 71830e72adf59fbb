// Package fanout spreads the ids of changed runs to subscribers inside one process. It imports only the standard library.
package fanout

import (
	"context"
	"sync"
)

// Hub delivers every published id to every subscriber at least once after the publication. A slow subscriber sees an id that changed several
// times once; it never blocks the publisher. The zero value is ready.
type Hub struct {
	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	closed bool
	wg     sync.WaitGroup
}

type subscriber struct {
	mu      sync.Mutex
	pending []string
	queued  map[string]struct{}
	wake    chan struct{}
	done    chan struct{}
}

// Publish tells all subscribers that the runs changed.
func (h *Hub) Publish(ids ...string) {
	if len(ids) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.add(ids)
	}
}

// Subscribe returns a channel of ids; it is closed when ctx ends or the hub is closed.
func (h *Hub) Subscribe(ctx context.Context) <-chan string {
	out := make(chan string)
	s := &subscriber{queued: map[string]struct{}{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(out)
		return out
	}
	if h.subs == nil {
		h.subs = map[*subscriber]struct{}{}
	}
	h.subs[s] = struct{}{}
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		defer close(out)
		s.pump(ctx, out)
		h.mu.Lock()
		delete(h.subs, s)
		h.mu.Unlock()
	}()
	return out
}

// Close ends all subscriptions and waits for them.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		for s := range h.subs {
			close(s.done)
		}
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (s *subscriber) add(ids []string) {
	s.mu.Lock()
	for _, id := range ids {
		if _, ok := s.queued[id]; !ok {
			s.queued[id] = struct{}{}
			s.pending = append(s.pending, id)
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.pending
	s.pending = nil
	clear(s.queued)
	return ids
}

func (s *subscriber) pump(ctx context.Context, out chan<- string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.done:
			return
		case <-s.wake:
		}
		for _, id := range s.take() {
			select {
			case out <- id:
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
		}
	}
}

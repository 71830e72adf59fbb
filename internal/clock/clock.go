// Package clock is injected time: the system's, or one that a test moves by hand. It imports the standard library only.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time and wakes callers.
type Clock interface {
	// Now is the current time in UTC, cut to microseconds, the precision that is stored.
	Now() time.Time
	// AfterFunc calls fn in its own goroutine after d; the returned function stops it.
	AfterFunc(d time.Duration, fn func()) (stop func())
}

// System is the clock of the machine.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// AfterFunc implements Clock.
func (System) AfterFunc(d time.Duration, fn func()) func() {
	t := time.AfterFunc(d, fn)
	return func() { t.Stop() }
}

// Manual is a clock that stands still until Advance moves it.
type Manual struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]struct{}
}

type timer struct {
	at time.Time
	fn func()
}

// NewManual returns a clock that shows start.
func NewManual(start time.Time) *Manual {
	return &Manual{now: start.UTC(), timers: map[*timer]struct{}{}}
}

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// AfterFunc implements Clock.
func (m *Manual) AfterFunc(d time.Duration, fn func()) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &timer{m.now.Add(d), fn}
	m.timers[t] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.timers, t)
	}
}

// Advance moves the clock and starts what has become due.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	m.now = m.now.Add(d)
	var due []*timer
	for t := range m.timers {
		if !t.at.After(m.now) {
			due = append(due, t)
			delete(m.timers, t)
		}
	}
	m.mu.Unlock()
	for _, t := range due {
		go t.fn()
	}
}

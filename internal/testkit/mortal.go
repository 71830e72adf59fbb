package testkit

import (
	"context"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// Mortal is a store of a process that dies after a number of commits: the commit lands, and nothing works any more.
type Mortal struct {
	store.Store
	mu    sync.Mutex
	left  int
	dead  bool
	count int
	// immortal stores do not serialise their writers.
	immortal bool
}

// NewMortal wraps a store; dieAfter 0 never dies.
func NewMortal(s store.Store, dieAfter int) *Mortal {
	return &Mortal{Store: s, left: dieAfter, immortal: dieAfter == 0}
}

// Dead reports whether the process has died.
func (m *Mortal) Dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// Kill ends the process now.
func (m *Mortal) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

// Commits is how many commits landed.
func (m *Mortal) Commits() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// commit runs one write; the one that uses up the lifetime lands, but its caller never hears of it.
func (m *Mortal) commit(write func() error) error {
	if m.immortal {
		if err := m.alive(); err != nil {
			return err
		}
		err := write()
		if err == nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.count++
		}
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDead
	}
	if err := write(); err != nil {
		return err
	}
	m.count++
	if m.left > 0 {
		m.left--
		if m.left == 0 {
			m.dead = true
			return errDead
		}
	}
	return nil
}

func (m *Mortal) alive() error {
	if m.Dead() {
		return errDead
	}
	return nil
}

// CreateRun implements store.Runs.
func (m *Mortal) CreateRun(ctx context.Context, c store.CreateRun) (out run.Claimed, err error) {
	err = m.commit(func() error { out, err = m.Store.CreateRun(ctx, c); return err })
	return out, err
}

// RecordCall implements store.Legs.
func (m *Mortal) RecordCall(ctx context.Context, f run.Fence, p store.Progress) error {
	return m.commit(func() error { return m.Store.RecordCall(ctx, f, p) })
}

// CommitStep implements store.Legs.
func (m *Mortal) CommitStep(ctx context.Context, f run.Fence, p store.Progress) error {
	return m.commit(func() error { return m.Store.CommitStep(ctx, f, p) })
}

// BlockRun implements store.Legs.
func (m *Mortal) BlockRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	return m.commit(func() error { return m.Store.BlockRun(ctx, f, e) })
}

// FinishRun implements store.Legs.
func (m *Mortal) FinishRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	return m.commit(func() error { return m.Store.FinishRun(ctx, f, e) })
}

// StartClaimed implements store.Legs; it is not counted, for it says nothing that a later commit does not.
func (m *Mortal) StartClaimed(ctx context.Context, f run.Fence, p store.Progress) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Store.StartClaimed(ctx, f, p)
}

// ReleaseRun implements store.Legs.
func (m *Mortal) ReleaseRun(ctx context.Context, f run.Fence) error {
	return m.commit(func() error { return m.Store.ReleaseRun(ctx, f) })
}

// ResumeRun implements store.Legs.
func (m *Mortal) ResumeRun(ctx context.Context, l store.StartLeg) (out run.Claimed, err error) {
	err = m.commit(func() error { out, err = m.Store.ResumeRun(ctx, l); return err })
	return out, err
}

// ContinueRun implements store.Legs.
func (m *Mortal) ContinueRun(ctx context.Context, l store.StartLeg) (out run.Claimed, err error) {
	err = m.commit(func() error { out, err = m.Store.ContinueRun(ctx, l); return err })
	return out, err
}

// ClaimRuns implements store.Queue.
func (m *Mortal) ClaimRuns(ctx context.Context, owner string, lease time.Duration, n int) (out []run.Claimed, err error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.Store.ClaimRuns(ctx, owner, lease, n)
}

// Run implements store.Runs.
func (m *Mortal) Run(ctx context.Context, id string) (run.Run, error) {
	if err := m.alive(); err != nil {
		return run.Run{}, err
	}
	return m.Store.Run(ctx, id)
}

// Package worker executes queued runs: it claims what is due, keeps the leases of everything this process executes, and gives claims back
// when the process stops. It imports the runner, the store's port and the records below them.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/store"
)

const (
	// claimAhead is how many quick runs are claimed at most before a slot is free for them, and aheadTime how much work they may amount to.
	claimAhead = 64
	aheadTime  = 250 * time.Millisecond
	// patience is how long a run claimed ahead waits for a slot before other processes may have it.
	patience = time.Second
	// behind bounds runs whose last write is still on its way.
	behind = 256
	// beatEvery is the longest pause between heartbeats, so that others notice a dead process soon whatever the lease is.
	beatEvery = 3 * time.Second
)

// Options are the settings of a pool.
type Options struct {
	// Concurrency is how many queued runs execute at once; 0 executes none and only keeps leases.
	Concurrency int
	// Lease is how long a claim lives without a heartbeat.
	Lease time.Duration
	// IdlePoll is the pause of an idle pool that nobody wakes.
	IdlePoll time.Duration
	// MaxAttempts is how often a run may be claimed before it is dead-lettered; 0 means no limit.
	MaxAttempts int64
	// DrainTimeout is how long executing runs may go on after the pool was told to stop.
	DrainTimeout time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Pool claims and executes queued runs.
type Pool struct {
	Options
	store  store.Store
	runner *runner.Runner

	ready   chan run.Claimed
	freed   chan struct{}
	ending  chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	busy    int
	waiting map[string]waiting
	since   time.Time
	// took is how long a run occupies a slot, recent ones counting most.
	took time.Duration
}

// waiting is a claim without a slot yet, and what ends the keeping of its lease.
type waiting struct {
	fence   run.Fence
	release func()
}

// New returns a pool; Run starts it.
func New(s store.Store, r *runner.Runner, o Options) *Pool {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Lease <= 0 {
		o.Lease = r.LeaseTime()
	}
	if o.IdlePoll <= 0 {
		o.IdlePoll = time.Second
	}
	return &Pool{
		Options: o, store: s, runner: r, ready: make(chan run.Claimed, claimAhead+max(o.Concurrency, 1)), freed: make(chan struct{}, 1),
		ending: make(chan struct{}, o.Concurrency+behind), waiting: map[string]waiting{}, took: aheadTime + 1,
	}
}

// Run works until the context ends, then drains: executing runs may finish for DrainTimeout, then they are given back. It returns when
// nothing executes any more.
func (p *Pool) Run(ctx context.Context) error {
	legs, stopLegs := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopLegs(nil)
	beats, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeats()
	var keepers sync.WaitGroup
	keepers.Go(func() { p.beat(beats) })
	keepers.Go(func() {
		if err := p.runner.Keeper().Watch(beats, p.store); err != nil && beats.Err() == nil {
			p.Log.WarnContext(ctx, "changes of runs are not watched", "error", err)
		}
	})
	var slots sync.WaitGroup
	for range p.Concurrency {
		slots.Go(func() { p.slot(ctx, legs) })
	}
	if p.Concurrency > 0 {
		p.feed(ctx)
	} else {
		<-ctx.Done()
	}
	p.drain(ctx, &slots, stopLegs)
	stopBeats()
	keepers.Wait()
	return nil
}

// feed claims runs whenever there is room for them.
func (p *Pool) feed(ctx context.Context) {
	idle := time.NewTicker(p.IdlePoll)
	defer idle.Stop()
	more := true // more runs may be due
	for ctx.Err() == nil {
		if n := p.room(); more && n > 0 {
			claimed, err := p.store.ClaimRuns(ctx, p.runner.OwnerID(), p.Lease, n)
			if err != nil && ctx.Err() == nil {
				p.Log.WarnContext(ctx, "runs could not be claimed", "error", err)
			}
			p.admit(claimed)
			if more = len(claimed) == n; more {
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-p.store.Wake():
			more = true
		case <-p.freed:
		case <-idle.C:
			more = true
			p.giveWaiting(ctx)
		}
	}
}

// room is how many runs to claim now: free slots, and some more while runs are quick.
func (p *Pool) room() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.Concurrency - p.busy - len(p.waiting)
	ahead := min(claimAhead, int(aheadTime/max(p.took, time.Microsecond))*p.Concurrency)
	if ahead == 0 {
		return free
	}
	if len(p.waiting) > ahead/2 {
		return 0
	}
	return free + ahead
}

// admit queues claims for the slots. Their leases are kept meanwhile, and a run that may not go on is forgotten.
func (p *Pool) admit(claimed []run.Claimed) {
	p.mu.Lock()
	if len(p.waiting) == 0 {
		p.since = time.Now()
	}
	for _, c := range claimed {
		p.waiting[c.Run.ID] = waiting{c.Fence, p.runner.Keeper().Hold(c.Fence, func(error) { p.forget(c.Fence) })}
	}
	p.mu.Unlock()
	for _, c := range claimed {
		p.ready <- c
	}
}

// forget drops a claim that waits for a slot; its turn passes without being executed.
func (p *Pool) forget(f run.Fence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := p.waiting[f.RunID]; ok && w.fence == f {
		w.release()
		delete(p.waiting, f.RunID)
	}
}

// giveWaiting returns runs that were claimed ahead and now wait behind a slow one.
func (p *Pool) giveWaiting(ctx context.Context) {
	p.mu.Lock()
	stuck := len(p.waiting) > 0 && p.busy >= p.Concurrency && time.Since(p.since) > patience
	if stuck {
		p.took = aheadTime + 1
	}
	p.mu.Unlock()
	if stuck {
		p.giveBack(ctx)
	}
}

// giveBack releases everything that waits for a slot.
func (p *Pool) giveBack(ctx context.Context) {
	for {
		select {
		case c := <-p.ready:
			release := p.started(c)
			if release == nil {
				continue
			}
			release()
			if err := p.store.ReleaseRun(ctx, c.Fence); err != nil && !errors.Is(err, store.ErrLeaseLost) {
				p.Log.WarnContext(ctx, "claim could not be given back", "run_id", c.Run.ID, "error", err)
			}
		default:
			return
		}
	}
}

// started takes a claim off the waiting ones; nil means that it was forgotten. The release ends the keeping of its lease.
func (p *Pool) started(c run.Claimed) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
	w, ok := p.waiting[c.Run.ID]
	if !ok || w.fence != c.Fence {
		return nil
	}
	delete(p.waiting, c.Run.ID)
	return w.release
}

// slot executes one run after another. It takes the next one while the last write of the one before is on its way.
func (p *Pool) slot(ctx, legs context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-p.ready:
			if ctx.Err() != nil {
				p.ready <- c // drain gives it back
				return
			}
			p.execute(legs, c)
		}
	}
}

func (p *Pool) execute(legs context.Context, c run.Claimed) {
	release := p.started(c)
	if release == nil {
		return
	}
	p.mu.Lock()
	p.busy++
	p.mu.Unlock()
	p.ending <- struct{}{}
	quiet := make(chan struct{})
	begun := time.Now()
	p.running.Go(func() {
		defer func() { <-p.ending }()
		defer release()
		var once sync.Once
		done := func() { once.Do(func() { close(quiet) }) }
		defer done()
		p.leg(legs, c, done)
	})
	<-quiet
	p.mu.Lock()
	p.busy--
	if d := time.Since(begun); p.took > aheadTime {
		p.took = d
	} else {
		p.took += (d - p.took) / 8
	}
	p.mu.Unlock()
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

func (p *Pool) leg(ctx context.Context, c run.Claimed, quiet func()) {
	if attempts := c.Fence.Attempt - c.Released; p.MaxAttempts > 0 && attempts > p.MaxAttempts {
		if err := p.runner.DeadLetter(ctx, c, attempts, p.MaxAttempts); err != nil {
			p.Log.WarnContext(ctx, "run could not be dead-lettered", "run_id", c.Run.ID, "error", err)
		}
		return
	}
	out := p.runner.Execute(ctx, c, quiet)
	if out.Err != nil && !errors.Is(out.Err, runner.ErrDrain) && !errors.Is(out.Err, store.ErrLeaseLost) {
		p.Log.WarnContext(ctx, "leg did not end", "run_id", c.Run.ID, "error", out.Err)
	}
}

// beat extends the leases of executing and waiting runs.
func (p *Pool) beat(ctx context.Context) {
	tick := time.NewTicker(max(min(p.Lease/3, beatEvery), 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := p.runner.Keeper().Beat(ctx, p.store, p.Lease); err != nil && ctx.Err() == nil {
			p.Log.WarnContext(ctx, "leases could not be extended", "error", err)
		}
	}
}

// drain gives back what waits, lets executing runs finish for a while, then stops them.
func (p *Pool) drain(ctx context.Context, slots *sync.WaitGroup, stop context.CancelCauseFunc) {
	ctx = context.WithoutCancel(ctx)
	p.giveBack(ctx)
	done := make(chan struct{})
	go func() {
		slots.Wait()
		p.running.Wait()
		close(done)
	}()
	limit := time.NewTimer(p.DrainTimeout)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		stop(runner.ErrDrain)
		<-done
	}
	p.giveBack(ctx)
}

// Package dispatch gives calls of handlers to remote workers: it knows which workers are connected and what they serve, leases invocations to
// them, takes lost ones back, and refuses late answers. It knows no transport; a server moves its messages. It imports internal/handler.
package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/handler"
)

// Defaults of Config.
const (
	DefaultTimeout   = 60 * time.Second
	DefaultHeartbeat = 5 * time.Second
	DefaultLease     = 20 * time.Second
	DefaultRemember  = 10 * time.Minute
)

// Config steers a Dispatcher. Zero values mean the defaults.
type Config struct {
	// Timeout bounds the wait for a worker that takes the call (KNEO_SERV_HANDLER_TIMEOUT_SECONDS). The work itself is bounded by the
	// call's deadline and context: a worker that lives and says so may take as long as it needs.
	Timeout time.Duration
	// Heartbeat is what workers are told; Lease is how long an invocation stays with a silent worker.
	Heartbeat, Lease time.Duration
	// Remember is how long a handler counts as known after its last worker left, so that a restart of a worker refuses no spec.
	Remember time.Duration
	// Now is the clock and NewID makes ids of workers and invocations. Both are required.
	Now   func() time.Time
	NewID func() string
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	c.Lease = max(cmp.Or(c.Lease, DefaultLease), 2*c.Heartbeat)
	c.Remember = cmp.Or(c.Remember, DefaultRemember)
	return c
}

// Registration is what a worker says of itself.
type Registration struct {
	// Name and Client are for people.
	Name, Client string
	Handlers     []handler.Definition
	// MaxConcurrency is how many invocations it works on at a time; 0 counts as 1.
	MaxConcurrency int
}

type key struct {
	kind handler.Kind
	name string
}

func (k key) String() string { return string(k.kind) + " " + k.name }

// Dispatcher is the server side of the worker protocol and a handler.Source. It is safe for concurrent use.
type Dispatcher struct {
	config Config

	mu       sync.Mutex
	workers  map[*Worker]struct{}
	calls    map[string]*call
	waiting  map[key][]*call
	known    map[key]knowledge
	sequence int64
	draining bool
}

// knowledge is a handler that some worker serves or served.
type knowledge struct {
	def handler.Definition
	// workers counts those that serve it; seen is when the last one left.
	workers int
	seen    time.Time
}

// New returns a dispatcher without workers. Run must be running for leases to lapse.
func New(c Config) *Dispatcher {
	return &Dispatcher{
		config: c.withDefaults(), workers: map[*Worker]struct{}{}, calls: map[string]*call{}, waiting: map[key][]*call{}, known: map[key]knowledge{},
	}
}

// Run takes lapsed leases back until the context ends.
func (d *Dispatcher) Run(ctx context.Context) {
	tick := time.NewTicker(max(d.config.Lease/8, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.Expire()
		}
	}
}

// call is one invocation.
type call struct {
	Invocation
	key      key
	sequence int64
	// worker works on it, or is nil while it waits.
	worker *Worker
	lease  time.Time
	// lost counts workers that were lost while they worked on it.
	lost int
	done chan answer
	// taken is closed when the first worker takes it; since is when it began to wait for the next one.
	taken   chan struct{}
	started bool
	since   time.Time
}

type answer struct {
	output json.RawMessage
	err    error
}

// maxLost bounds how often an invocation is given to another worker, so that a call that kills its worker cannot kill all of them.
const maxLost = 3

// Call implements handler.Caller. It waits for a worker that serves the handler, and for its answer. The failure codes are unavailable when
// no worker took it or the workers were lost, timeout when none answered in time, and the worker's own.
func (d *Dispatcher) Call(ctx context.Context, kind handler.Kind, name string, input json.RawMessage, m handler.Meta) (json.RawMessage, error) {
	c := d.enqueue(kind, name, input, m)
	limit := time.NewTimer(d.config.Timeout)
	defer limit.Stop()
	select {
	case <-c.taken:
	case a := <-c.done:
		return a.output, a.err
	case <-ctx.Done():
		d.abandon(c, "The call was cancelled.")
		return nil, ctx.Err()
	case <-limit.C:
		if d.abandonWaiting(c) {
			return nil, d.unavailable(c.key)
		}
	}
	var deadline <-chan time.Time
	if !m.Deadline.IsZero() {
		limit.Reset(max(m.Deadline.Sub(d.config.Now()), 0))
		deadline = limit.C
	}
	select {
	case a := <-c.done:
		return a.output, a.err
	case <-ctx.Done():
		d.abandon(c, "The call was cancelled.")
		return nil, ctx.Err()
	case <-deadline:
		d.abandon(c, "The time limit of the call has passed.")
		err := handler.NewError(handler.CodeTimeout, "The %s %s did not answer in time.", c.key.kind, c.key.name)
		err.Retryable = true
		return nil, err
	}
}

func (d *Dispatcher) unavailable(k key) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.untaken(k)
}

func (d *Dispatcher) untaken(k key) error {
	hint := " The workers that serve it are busy or away."
	if _, known := d.known[k]; !known {
		hint = handler.Hint(handler.Nearest(k.name, d.names(), 3))
	}
	err := handler.NewError(handler.CodeUnavailable, "No worker took the %s %s within %s.%s", k.kind, k.name, d.config.Timeout, hint)
	err.Retryable = true
	return err
}

func (d *Dispatcher) enqueue(kind handler.Kind, name string, input json.RawMessage, m handler.Meta) *call {
	m.Attempt = max(m.Attempt, 1)
	c := &call{
		Invocation: Invocation{ID: d.config.NewID(), Kind: kind, Name: handler.Canonical(name), Input: input, Meta: m},
		done:       make(chan answer, 1), taken: make(chan struct{}),
	}
	c.key = key{kind, c.Name}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sequence++
	c.sequence = d.sequence
	d.calls[c.ID] = c
	if w := d.pick(c.key); w != nil {
		d.assign(w, c)
	} else {
		d.waiting[c.key] = append(d.waiting[c.key], c)
	}
	return c
}

// pick returns the worker with the most free slots that serves a handler, the longest connected one among equals.
func (d *Dispatcher) pick(k key) *Worker {
	var best *Worker
	for w := range d.workers {
		if !w.takes(k) {
			continue
		}
		if best == nil || w.free() > best.free() || w.free() == best.free() && w.order < best.order {
			best = w
		}
	}
	return best
}

func (d *Dispatcher) assign(w *Worker, c *call) {
	c.worker, c.lease = w, d.config.Now().Add(d.config.Lease)
	w.held[c.ID] = c
	if !c.started {
		c.started = true
		close(c.taken)
	}
	// A copy: the attempt of the call may grow while the message is on its way.
	inv := c.Invocation
	w.send(Message{Invocation: &inv})
}

// feed gives waiting calls to a worker, the oldest first, as long as it has free slots.
func (d *Dispatcher) feed(w *Worker) {
	for w.free() > 0 && !w.gone {
		var oldest *call
		for k, list := range d.waiting {
			if w.takes(k) && (oldest == nil || list[0].sequence < oldest.sequence) {
				oldest = list[0]
			}
		}
		if oldest == nil {
			return
		}
		d.unqueue(oldest)
		d.assign(w, oldest)
	}
}

func (d *Dispatcher) unqueue(c *call) {
	list := slices.DeleteFunc(d.waiting[c.key], func(o *call) bool { return o == c })
	if len(list) == 0 {
		delete(d.waiting, c.key)
		return
	}
	d.waiting[c.key] = list
}

// abandonWaiting forgets a call that no worker holds; it reports false when one took it meanwhile.
func (d *Dispatcher) abandonWaiting(c *call) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.started {
		return false
	}
	d.unqueue(c)
	delete(d.calls, c.ID)
	return true
}

// abandon forgets a call and tells its worker.
func (d *Dispatcher) abandon(c *call, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.calls[c.ID] != c {
		return
	}
	delete(d.calls, c.ID)
	if c.worker == nil {
		d.unqueue(c)
		return
	}
	w := c.worker
	d.release(c)
	w.send(Message{Cancel: &Cancel{ID: c.ID, Attempt: c.Meta.Attempt, Reason: reason}})
	d.feed(w)
}

func (d *Dispatcher) release(c *call) {
	delete(c.worker.held, c.ID)
	c.worker = nil
}

// finish answers a call whose worker holds it.
func (d *Dispatcher) finish(c *call, a answer) {
	delete(d.calls, c.ID)
	if c.worker != nil {
		d.release(c)
	}
	c.done <- a
}

// takeBack gives a call whose worker was lost to another one, under a higher attempt. A call that must not be repeated fails instead.
func (d *Dispatcher) takeBack(c *call, reason string) {
	d.release(c)
	c.lost++
	k := d.known[c.key]
	switch {
	case !k.def.Idempotent:
		d.finish(c, answer{err: handler.NewError(handler.CodeUnavailable,
			"%s The %s %s is not idempotent, so the call was not repeated.", reason, c.key.kind, c.key.name)})
		return
	case c.lost >= maxLost:
		d.finish(c, answer{err: handler.NewError(handler.CodeUnavailable, "%s That was worker number %d for this call.", reason, c.lost)})
		return
	}
	c.Meta.Attempt++
	c.since = d.config.Now()
	if w := d.pick(c.key); w != nil {
		d.assign(w, c)
		return
	}
	d.waiting[c.key] = append([]*call{c}, d.waiting[c.key]...)
}

// Expire takes back the invocations whose leases have lapsed, and forgets handlers that nobody has served for long.
func (d *Dispatcher) Expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.config.Now()
	for w := range d.workers {
		if now.Sub(w.heard) > d.config.Lease {
			w.silent = true
		}
	}
	var lapsed []*call
	for _, c := range d.calls {
		if c.worker != nil && now.After(c.lease) {
			lapsed = append(lapsed, c)
		}
	}
	slices.SortFunc(lapsed, func(a, b *call) int { return cmp.Compare(b.sequence, a.sequence) })
	for _, c := range lapsed {
		c.worker.send(Message{Cancel: &Cancel{ID: c.ID, Attempt: c.Meta.Attempt, Reason: "The lease has lapsed."}})
		d.takeBack(c, "The worker fell silent.")
	}
	d.giveUp(now)
	for k, v := range d.known {
		if v.workers == 0 && now.Sub(v.seen) > d.config.Remember {
			delete(d.known, k)
		}
	}
}

// giveUp fails the calls that lost their worker and found no other one in time.
func (d *Dispatcher) giveUp(now time.Time) {
	for _, list := range d.waiting {
		for _, c := range slices.Clone(list) {
			if c.started && now.Sub(c.since) > d.config.Timeout {
				d.unqueue(c)
				d.finish(c, answer{err: d.untaken(c.key)})
			}
		}
	}
}

// Drain tells all workers to connect elsewhere and takes no new ones. Calls in progress go on.
func (d *Dispatcher) Drain(reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining = true
	for w := range d.workers {
		w.send(Message{Drain: &reason})
	}
}

// Has implements handler.Catalog: a worker serves the handler, or did so a short while ago.
func (d *Dispatcher) Has(kind handler.Kind, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[key{kind, handler.Canonical(name)}]
	return ok
}

// Names implements handler.Catalog.
func (d *Dispatcher) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names()
}

func (d *Dispatcher) names() []string {
	out := make([]string, 0, len(d.known))
	for k := range d.known {
		out = append(out, k.name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Definitions implements handler.Source.
func (d *Dispatcher) Definitions() []handler.Definition {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]handler.Definition, 0, len(d.known))
	for _, k := range d.known {
		out = append(out, k.def)
	}
	handler.SortDefinitions(out)
	return out
}

// Stats are the numbers of connected workers, of invocations that workers hold, and of those that wait for one.
type Stats struct{ Workers, Running, Waiting int }

// Stats counts.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{Workers: len(d.workers)}
	for _, list := range d.waiting {
		s.Waiting += len(list)
	}
	s.Running = len(d.calls) - s.Waiting
	return s
}

var (
	errNoHandlers = errors.New("a worker must register at least one handler")
	// ErrDraining refuses a worker because the server goes away.
	ErrDraining = errors.New("the server is draining")
)

// RegistrationError says what is wrong with a registration.
type RegistrationError struct{ Reason error }

// Error returns the reason.
func (e *RegistrationError) Error() string { return "registration refused: " + e.Reason.Error() }

// Unwrap returns the reason.
func (e *RegistrationError) Unwrap() error { return e.Reason }

func checked(r Registration) (map[key]handler.Definition, error) {
	if len(r.Handlers) == 0 {
		return nil, &RegistrationError{errNoHandlers}
	}
	out := make(map[key]handler.Definition, len(r.Handlers))
	for _, h := range r.Handlers {
		h.Name = handler.Canonical(h.Name)
		switch {
		case h.Name == "" || len(h.Name) > 512 || strings.ContainsAny(h.Name, " \t\r\n"):
			return nil, &RegistrationError{fmt.Errorf("%q is no handler name", h.Name)}
		case !h.Kind.Valid():
			return nil, &RegistrationError{fmt.Errorf("handler %s: unknown kind %q", h.Name, h.Kind)}
		}
		out[key{h.Kind, h.Name}] = h
	}
	return out, nil
}

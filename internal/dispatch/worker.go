package dispatch

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/kneo-go/kneo/internal/handler"
)

// Message is what the server sends to a worker; exactly one field is set.
type Message struct {
	Invocation *Invocation
	Cancel     *Cancel
	Refused    *Refusal
	// Drain is the reason why the server goes away.
	Drain *string
}

// Invocation is work for a handler.
type Invocation struct {
	// ID is the same for every attempt.
	ID    string
	Kind  handler.Kind
	Name  string
	Input json.RawMessage
	// Meta.Attempt fences the answer.
	Meta handler.Meta
}

// Cancel tells that a result is not wanted any more.
type Cancel struct {
	ID      string
	Attempt int
	Reason  string
}

// Codes of refused answers.
const (
	RefusedStale   = "stale_attempt"
	RefusedUnknown = "unknown_invocation"
	RefusedInvalid = "invalid_answer"
)

// Refusal tells that an answer was not accepted.
type Refusal struct {
	ID      string
	Attempt int
	Code    string
	Message string
}

// slack is the room for cancels and refusals beside the invocations of a worker.
const slack = 256

// maxSlots bounds what one worker may hold.
const maxSlots = 1024

// Worker is one connected worker. The transport reads Messages and passes on what the worker says; Close ends the connection.
type Worker struct {
	// ID was given by the server.
	ID   string
	Name string

	d        *Dispatcher
	order    int64
	slots    int
	handlers map[key]handler.Definition
	out      chan Message

	// guarded by d.mu
	held     map[string]*call
	heard    time.Time
	draining bool
	silent   bool
	gone     bool
}

// Terms are what a worker is told when it registers.
type Terms struct {
	WorkerID         string
	Heartbeat, Lease time.Duration
}

// Connect registers a worker. The error is a *RegistrationError or ErrDraining.
func (d *Dispatcher) Connect(r Registration) (*Worker, Terms, error) {
	handlers, err := checked(r)
	if err != nil {
		return nil, Terms{}, err
	}
	slots := min(max(r.MaxConcurrency, 1), maxSlots)
	w := &Worker{
		ID: d.config.NewID(), Name: r.Name, d: d, slots: slots, handlers: handlers,
		out: make(chan Message, slots+slack), held: map[string]*call{}, heard: d.config.Now(),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		return nil, Terms{}, ErrDraining
	}
	d.sequence++
	w.order = d.sequence
	d.workers[w] = struct{}{}
	for k, def := range handlers {
		v := d.known[k]
		d.known[k] = knowledge{def: def, workers: v.workers + 1}
	}
	d.feed(w)
	return w, Terms{WorkerID: w.ID, Heartbeat: d.config.Heartbeat, Lease: d.config.Lease}, nil
}

// Messages is what to send to the worker, in order. It is closed by Close, and when the worker does not read what it is sent.
func (w *Worker) Messages() <-chan Message { return w.out }

func (w *Worker) free() int { return w.slots - len(w.held) }

func (w *Worker) takes(k key) bool {
	_, serves := w.handlers[k]
	return serves && !w.draining && !w.silent && !w.gone && w.free() > 0
}

// send never blocks: a worker that does not read is cut off, and its invocations go elsewhere when their leases lapse.
func (w *Worker) send(m Message) {
	if w.gone {
		return
	}
	select {
	case w.out <- m:
	default:
		w.gone = true
		close(w.out)
	}
}

// hear notes a sign of life.
func (w *Worker) hear() {
	w.heard, w.silent = w.d.config.Now(), false
}

// Result passes on the output of an invocation.
func (w *Worker) Result(id string, attempt int, output json.RawMessage) {
	w.answer(id, attempt, func() (answer, bool) {
		if !json.Valid(output) {
			return answer{err: handler.NewError(handler.CodeFailed, "The worker's answer is not JSON.")}, false
		}
		return answer{output: output}, true
	})
}

// Fail passes on the failure of an invocation.
func (w *Worker) Fail(id string, attempt int, failure *handler.Error) {
	w.answer(id, attempt, func() (answer, bool) {
		if failure.Code == "" {
			failure.Code = handler.CodeFailed
		}
		return answer{err: failure}, true
	})
}

// answer accepts an answer under the current attempt of an invocation that this worker holds, and refuses every other.
func (w *Worker) answer(id string, attempt int, build func() (answer, bool)) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.hear()
	c := w.d.calls[id]
	switch {
	case c == nil:
		w.send(Message{Refused: &Refusal{ID: id, Attempt: attempt, Code: RefusedUnknown, Message: "Nobody waits for this invocation."}})
	case c.worker != w || c.Meta.Attempt != attempt:
		w.send(Message{Refused: &Refusal{ID: id, Attempt: attempt, Code: RefusedStale, Message: "The invocation was given to another worker."}})
	default:
		a, valid := build()
		if !valid {
			w.send(Message{Refused: &Refusal{ID: id, Attempt: attempt, Code: RefusedInvalid, Message: a.err.Error()}})
		}
		w.d.finish(c, a)
	}
	w.d.feed(w)
}

// Heartbeat renews the leases of the invocations that the worker still works on.
func (w *Worker) Heartbeat(ids []string) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.hear()
	until := w.d.config.Now().Add(w.d.config.Lease)
	for _, id := range ids {
		if c := w.held[id]; c != nil {
			c.lease = until
		}
	}
	w.d.feed(w)
}

// Drain gives the worker no further invocations; it answers those it has.
func (w *Worker) Drain() {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.hear()
	w.draining = true
}

// Close ends the connection: what the worker still holds goes to others.
func (w *Worker) Close() {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, connected := d.workers[w]; !connected {
		return
	}
	delete(d.workers, w)
	if !w.gone {
		w.gone = true
		close(w.out)
	}
	now := d.config.Now()
	held := slices.SortedFunc(maps.Values(w.held), func(a, b *call) int { return cmp.Compare(b.sequence, a.sequence) })
	for _, c := range held {
		// The youngest goes first: each is put in front of those that wait.
		d.takeBack(c, "The worker was lost.")
	}
	for k := range w.handlers {
		v := d.known[k]
		v.workers--
		v.seen = now
		d.known[k] = v
	}
}

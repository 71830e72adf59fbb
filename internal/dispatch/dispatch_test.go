package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kneo-go/kneo/internal/handler"
)

// newDispatcher must be called inside a synctest bubble.
func newDispatcher(t *testing.T) *Dispatcher {
	t.Helper()
	var mu sync.Mutex
	n := 0
	d := New(Config{
		Timeout: 30 * time.Second, Heartbeat: time.Second, Lease: 4 * time.Second, Now: time.Now,
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Sprintf("id%d", n)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

func registration(slots int, names ...string) Registration {
	r := Registration{Name: "w", MaxConcurrency: slots}
	for _, n := range names {
		r.Handlers = append(r.Handlers, handler.Definition{Name: n, Kind: handler.Function, Idempotent: n != "m.once"})
	}
	return r
}

func connect(t *testing.T, d *Dispatcher, r Registration) *Worker {
	t.Helper()
	w, _, err := d.Connect(r)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

type outcome struct {
	output string
	err    error
}

func start(ctx context.Context, d *Dispatcher, name string, m handler.Meta) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		data, err := d.Call(ctx, handler.Function, name, json.RawMessage(`"in"`), m)
		out <- outcome{string(data), err}
	}()
	return out
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e := handler.AsError(err); e == nil || e.Code != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func wantRefused(t *testing.T, w *Worker, code string) {
	t.Helper()
	for m := range w.Messages() {
		if m.Refused != nil {
			if m.Refused.Code != code {
				t.Errorf("refused with %s, want %s", m.Refused.Code, code)
			}
			return
		}
	}
	t.Error("no refusal")
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(1, "m:f"))
		got := start(t.Context(), d, "m.f", handler.Meta{RunID: "r", IdempotencyKey: "k"})
		inv := (<-w.Messages()).Invocation
		if inv.Name != "m.f" || inv.Meta.RunID != "r" || inv.Meta.IdempotencyKey != "k" || inv.Meta.Attempt != 1 || string(inv.Input) != `"in"` {
			t.Errorf("invocation %+v", inv)
		}
		w.Result(inv.ID, 1, json.RawMessage(`"out"`))
		if o := <-got; o.err != nil || o.output != `"out"` {
			t.Errorf("%+v", o)
		}
		w.Result(inv.ID, 1, json.RawMessage(`"again"`))
		wantRefused(t, w, RefusedUnknown)
		if s := d.Stats(); s != (Stats{Workers: 1}) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(1, "m.f"))
		got := start(t.Context(), d, "m.f", handler.Meta{})
		inv := (<-w.Messages()).Invocation
		w.Fail(inv.ID, 1, &handler.Error{Code: "my_code", Message: "broken", Retryable: true})
		o := <-got
		wantCode(t, o.err, "my_code")
		if e := handler.AsError(o.err); !e.Retryable || e.Message != "broken" {
			t.Errorf("%+v", e)
		}
		got = start(t.Context(), d, "m.f", handler.Meta{})
		inv = (<-w.Messages()).Invocation
		w.Result(inv.ID, 1, json.RawMessage(`{`))
		wantCode(t, (<-got).err, handler.CodeFailed)
		wantRefused(t, w, RefusedInvalid)
	})
}

func TestWaitForAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		began := time.Now()
		got := start(t.Context(), d, "m.f", handler.Meta{})
		wantCode(t, (<-got).err, handler.CodeUnavailable)
		if waited := time.Since(began); waited != 30*time.Second {
			t.Errorf("waited %s", waited)
		}
		got = start(t.Context(), d, "m.f", handler.Meta{})
		synctest.Wait()
		w := connect(t, d, registration(1, "m.f"))
		w.Result((<-w.Messages()).Invocation.ID, 1, json.RawMessage(`1`))
		if o := <-got; o.output != "1" {
			t.Errorf("%+v", o)
		}
	})
}

func TestOrderAndSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(2, "m.f", "m.g"))
		var results []<-chan outcome
		for i := range 5 {
			name := "m.f"
			if i%2 == 1 {
				name = "m.g"
			}
			results = append(results, start(t.Context(), d, name, handler.Meta{RunID: fmt.Sprint(i)}))
			synctest.Wait()
		}
		if s := d.Stats(); s.Running != 2 || s.Waiting != 3 {
			t.Errorf("stats %+v", s)
		}
		for i := range 5 {
			inv := (<-w.Messages()).Invocation
			if inv.Meta.RunID != fmt.Sprint(i) {
				t.Errorf("call %d came as number %d", i, i)
			}
			w.Result(inv.ID, 1, json.RawMessage(`1`))
		}
		for _, r := range results {
			<-r
		}
	})
}

func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		a, b := connect(t, d, registration(2, "m.f")), connect(t, d, registration(2, "m.f"))
		ctx, cancel := context.WithCancel(t.Context())
		for range 4 {
			start(ctx, d, "m.f", handler.Meta{})
			synctest.Wait()
		}
		if len(a.out) != 2 || len(b.out) != 2 {
			t.Errorf("%d and %d invocations", len(a.out), len(b.out))
		}
		cancel()
	})
}

func TestLostWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		a := connect(t, d, registration(1, "m.f"))
		got := start(t.Context(), d, "m.f", handler.Meta{IdempotencyKey: "k"})
		first := (<-a.Messages()).Invocation
		id := first.ID
		b := connect(t, d, registration(1, "m.f"))
		a.Close()
		second := (<-b.Messages()).Invocation
		if second.ID != id || second.Meta.Attempt != 2 || second.Meta.IdempotencyKey != "k" {
			t.Errorf("second %+v", second)
		}
		b.Result(id, 1, json.RawMessage(`"old"`))
		wantRefused(t, b, RefusedStale)
		b.Result(id, 2, json.RawMessage(`"new"`))
		if o := <-got; o.output != `"new"` {
			t.Errorf("%+v", o)
		}
	})
}

func TestLapsedLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		a, b := connect(t, d, registration(1, "m.f")), connect(t, d, registration(1, "m.f"))
		got := start(t.Context(), d, "m.f", handler.Meta{})
		inv := (<-a.Messages()).Invocation
		for range 3 {
			time.Sleep(2 * time.Second)
			a.Heartbeat([]string{inv.ID})
			b.Heartbeat(nil)
		}
		if len(b.out) != 0 {
			t.Fatal("taken away although the heartbeats named it")
		}
		time.Sleep(3 * time.Second)
		b.Heartbeat(nil)
		time.Sleep(2 * time.Second)
		second := (<-b.Messages()).Invocation
		a.Result(inv.ID, 1, json.RawMessage(`"late"`))
		if m := <-a.Messages(); m.Cancel == nil || m.Cancel.Attempt != 1 {
			t.Errorf("message %+v", m)
		}
		wantRefused(t, a, RefusedStale)
		b.Result(inv.ID, second.Meta.Attempt, json.RawMessage(`"new"`))
		if o := <-got; o.output != `"new"` {
			t.Errorf("%+v", o)
		}
	})
}

func TestNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		a, _ := connect(t, d, registration(1, "m.once")), connect(t, d, registration(1, "m.once"))
		got := start(t.Context(), d, "m.once", handler.Meta{})
		<-a.Messages()
		a.Close()
		wantCode(t, (<-got).err, handler.CodeUnavailable)
	})
}

func TestACallThatKillsItsWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		got := start(t.Context(), d, "m.f", handler.Meta{})
		for range maxLost {
			w := connect(t, d, registration(1, "m.f"))
			<-w.Messages()
			w.Close()
		}
		wantCode(t, (<-got).err, handler.CodeUnavailable)
	})
}

func TestNoOtherWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(1, "m.f"))
		got := start(t.Context(), d, "m.f", handler.Meta{})
		inv := (<-w.Messages()).Invocation
		for range 60 {
			time.Sleep(time.Second)
			w.Heartbeat([]string{inv.ID})
		}
		select {
		case o := <-got:
			t.Fatalf("a worker that lives may take its time: %+v", o)
		default:
		}
		began := time.Now()
		w.Close()
		wantCode(t, (<-got).err, handler.CodeUnavailable)
		if waited := time.Since(began); waited < 30*time.Second || waited > 31*time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestTimeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(2, "m.f"))
		beat := func(id string, seconds int) {
			for range seconds {
				time.Sleep(time.Second)
				w.Heartbeat([]string{id})
			}
		}
		got := start(t.Context(), d, "m.f", handler.Meta{Deadline: time.Now().Add(90 * time.Second)})
		inv := (<-w.Messages()).Invocation
		beat(inv.ID, 89)
		select {
		case o := <-got:
			t.Fatalf("before the deadline: %+v", o)
		default:
		}
		beat(inv.ID, 2)
		wantCode(t, (<-got).err, handler.CodeTimeout)
		if m := <-w.Messages(); m.Cancel == nil || m.Cancel.ID != inv.ID {
			t.Errorf("message %+v", m)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got = start(ctx, d, "m.f", handler.Meta{})
		<-w.Messages()
		cancel()
		if o := <-got; !errors.Is(o.err, context.Canceled) {
			t.Errorf("%+v", o)
		}
		if m := <-w.Messages(); m.Cancel == nil {
			t.Errorf("message %+v", m)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		a, b := connect(t, d, registration(1, "m.f")), connect(t, d, registration(1, "m.f"))
		a.Drain()
		got := start(t.Context(), d, "m.f", handler.Meta{})
		inv := (<-b.Messages()).Invocation
		d.Drain("going down")
		if m := <-b.Messages(); m.Drain == nil || *m.Drain != "going down" {
			t.Errorf("message %+v", m)
		}
		b.Result(inv.ID, 1, json.RawMessage(`1`))
		if o := <-got; o.err != nil {
			t.Error(o.err)
		}
		if _, _, err := d.Connect(registration(1, "m.f")); !errors.Is(err, ErrDraining) {
			t.Errorf("error %v", err)
		}
	})
}

func TestKnownHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(1, "m.f", "m.g"))
		if !d.Has(handler.Function, "m:f") || d.Has(handler.Tool, "m.f") || len(d.Definitions()) != 2 {
			t.Error("catalog is wrong")
		}
		w.Close()
		w.Close()
		time.Sleep(5 * time.Minute)
		if !d.Has(handler.Function, "m.f") {
			t.Error("forgotten too early")
		}
		time.Sleep(6 * time.Minute)
		if d.Has(handler.Function, "m.f") || len(d.Names()) != 0 {
			t.Error("remembered for too long")
		}
	})
}

func TestRegistration(t *testing.T) {
	d := New(Config{Now: time.Now, NewID: func() string { return "x" }})
	for _, r := range []Registration{
		{},
		{Handlers: []handler.Definition{{Name: "", Kind: handler.Tool}}},
		{Handlers: []handler.Definition{{Name: "m.f", Kind: "robot"}}},
		{Handlers: []handler.Definition{{Name: "m f", Kind: handler.Tool}}},
	} {
		var refused *RegistrationError
		if _, _, err := d.Connect(r); !errors.As(err, &refused) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestAWorkerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		w := connect(t, d, registration(1, "m.f"))
		for i := range slack + 2 {
			w.Result(fmt.Sprint(i), 1, json.RawMessage(`1`))
		}
		n := 0
		for range w.Messages() {
			n++
		}
		if n != slack+1 {
			t.Errorf("%d messages before the end", n)
		}
	})
}

// pipe is a Conn made of channels.
type pipe struct {
	in         chan Inbound
	out        chan Message
	registered chan Terms
}

func (p *pipe) Recv() (Inbound, error) {
	in, ok := <-p.in
	if !ok {
		return Inbound{}, io.EOF
	}
	return in, nil
}
func (p *pipe) Registered(t Terms) error { p.registered <- t; return nil }
func (p *pipe) Send(m Message) error     { p.out <- m; return nil }

func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t)
		p := &pipe{in: make(chan Inbound), out: make(chan Message), registered: make(chan Terms, 1)}
		ended := make(chan error, 1)
		go func() { ended <- d.Serve(t.Context(), p) }()
		r := registration(1, "m.f")
		p.in <- Inbound{Register: &r}
		if terms := <-p.registered; terms.WorkerID == "" || terms.Heartbeat != time.Second || terms.Lease != 4*time.Second {
			t.Errorf("terms %+v", terms)
		}
		got := start(t.Context(), d, "m.f", handler.Meta{})
		inv := (<-p.out).Invocation
		p.in <- Inbound{Heartbeat: &Heartbeat{IDs: []string{inv.ID}}}
		p.in <- Inbound{Result: &Result{ID: inv.ID, Attempt: 1, Output: []byte(`2`)}}
		if o := <-got; o.output != "2" {
			t.Errorf("%+v", o)
		}
		got = start(t.Context(), d, "m.f", handler.Meta{})
		inv = (<-p.out).Invocation
		p.in <- Inbound{Failure: &Failure{ID: inv.ID, Attempt: 1, Error: &handler.Error{Message: "no"}}}
		wantCode(t, (<-got).err, handler.CodeFailed)
		bye := "bye"
		p.in <- Inbound{Drain: &bye}
		close(p.in)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s := d.Stats(); s.Workers != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestServeRefuses(t *testing.T) {
	d := New(Config{Now: time.Now, NewID: func() string { return "x" }})
	p := &pipe{in: make(chan Inbound, 1)}
	p.in <- Inbound{Heartbeat: &Heartbeat{}}
	if err := d.Serve(t.Context(), p); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
}

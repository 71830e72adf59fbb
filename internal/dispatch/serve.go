package dispatch

import (
	"context"
	"errors"
	"io"

	"github.com/kneo-go/kneo/internal/handler"
)

// Inbound is what a worker says after it registered; exactly one field is set.
type Inbound struct {
	Register  *Registration
	Result    *Result
	Failure   *Failure
	Heartbeat *Heartbeat
	// Drain is the reason why the worker leaves.
	Drain *string
}

// Result is the output of an invocation.
type Result struct {
	ID      string
	Attempt int
	Output  []byte
}

// Failure is a failed invocation.
type Failure struct {
	ID      string
	Attempt int
	Error   *handler.Error
}

// Heartbeat names the invocations in progress.
type Heartbeat struct{ IDs []string }

// Conn is a stream of messages with one worker. Recv returns io.EOF when the worker closed its side. Send is called by one goroutine at a
// time, Recv by another one.
type Conn interface {
	Recv() (Inbound, error)
	Registered(Terms) error
	Send(Message) error
}

// ErrProtocol is a message out of turn.
var ErrProtocol = errors.New("the first message must be register, and no other one")

// Serve speaks with one worker until either side ends. It returns nil when the worker left in order, and else the reason: the context's, the
// connection's, ErrProtocol, ErrDraining or a *RegistrationError.
func (d *Dispatcher) Serve(ctx context.Context, conn Conn) error {
	first, err := conn.Recv()
	if err != nil {
		return ignoreEOF(err)
	}
	if first.Register == nil {
		return ErrProtocol
	}
	w, terms, err := d.Connect(*first.Register)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := conn.Registered(terms); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- listen(w, conn) }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-received:
			return ignoreEOF(err)
		case m, open := <-w.Messages():
			if !open {
				return errors.New("the worker does not read its messages")
			}
			if err := conn.Send(m); err != nil {
				return err
			}
		}
	}
}

func listen(w *Worker, conn Conn) error {
	for {
		in, err := conn.Recv()
		switch {
		case err != nil:
			return err
		case in.Result != nil:
			w.Result(in.Result.ID, in.Result.Attempt, in.Result.Output)
		case in.Failure != nil:
			w.Fail(in.Failure.ID, in.Failure.Attempt, in.Failure.Error)
		case in.Heartbeat != nil:
			w.Heartbeat(in.Heartbeat.IDs)
		case in.Drain != nil:
			w.Drain()
		default:
			return ErrProtocol
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

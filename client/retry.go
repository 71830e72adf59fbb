package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/id"
)

// Retry bounds how a call is repeated. Only calls that cannot do harm are: reads, and changes under an idempotency key, which the client draws
// itself. What the service has decided is never repeated.
type Retry struct {
	// Attempts is the number of tries, the first included.
	Attempts int
	// Base is the pause before the second try; it doubles with each further one unless Linear is set.
	Base time.Duration
	// Linear makes the pause Base times the number of the try.
	Linear bool
	// Max bounds one pause. A service that asks for a longer one is not waited for.
	Max time.Duration
}

// DefaultRetry is used when the options name none.
var DefaultRetry = Retry{Attempts: 3, Base: 200 * time.Millisecond, Max: 30 * time.Second}

// NoRetry tries once.
var NoRetry = Retry{Attempts: 1}

// pause is the time before a try after the n-th one.
func (r Retry) pause(n int) time.Duration {
	d := r.Base * time.Duration(n)
	if !r.Linear {
		d = r.Base << min(n-1, 16)
	}
	d = min(d, r.Max)
	const tenth = 0.1
	return d + time.Duration((rand.Float64()*2-1)*tenth*float64(d)) //nolint:gosec // spreads callers, guards nothing
}

// Metadata keys of the contract.
const (
	metaKey         = "authorization"
	metaIdempotency = "idempotency-key"
	metaRequestID   = "x-request-id"
)

// conn adds credentials, keys and retries to a connection.
type conn struct {
	grpc.ClientConnInterface
	o     Options
	keyed map[string]bool
}

// Wrap returns a connection that adds credentials, idempotency keys, time limits and retries to every call, and whose errors are *Error.
func Wrap(c grpc.ClientConnInterface, o Options) grpc.ClientConnInterface {
	if o.Retry == (Retry{}) {
		o.Retry = DefaultRetry
	}
	if o.Retry.Max == 0 {
		o.Retry.Max = DefaultRetry.Max
	}
	w := &conn{ClientConnInterface: c, o: o, keyed: map[string]bool{}}
	if facts, err := contract.Load(); err == nil {
		for _, m := range facts.Methods() {
			w.keyed[m.FullName] = m.IdempotencyScope != ""
		}
	}
	return w
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if _, bounded := ctx.Deadline(); !bounded && c.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.o.Timeout)
		defer cancel()
	}
	ctx = c.outgoing(ctx, method)
	for n := 1; ; n++ {
		err := asError(c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...))
		if err == nil || n >= c.o.Retry.Attempts || !again(err) {
			return err
		}
		if !c.wait(ctx, n, err) {
			return err
		}
	}
}

// NewStream implements grpc.ClientConnInterface.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.ClientConnInterface.NewStream(c.outgoing(ctx, method), desc, method, opts...)
	if err != nil {
		return nil, asError(err)
	}
	return &stream{s}, nil
}

type stream struct{ grpc.ClientStream }

// RecvMsg implements grpc.ClientStream.
func (s *stream) RecvMsg(m any) error { return asError(s.ClientStream.RecvMsg(m)) }

// outgoing adds what the caller has not set: the same key and request id go with every try of a call.
func (c *conn) outgoing(ctx context.Context, method string) context.Context {
	given, _ := metadata.FromOutgoingContext(ctx)
	md := given.Copy()
	if md == nil {
		md = metadata.MD{}
	}
	set := func(key, value string) {
		if value != "" && len(md.Get(key)) == 0 {
			md.Set(key, value)
		}
	}
	if c.o.APIKey != "" {
		set(metaKey, "Bearer "+c.o.APIKey)
	}
	set(metaRequestID, id.New())
	if c.keyed[method] {
		set(metaIdempotency, c.o.IdempotencyKey)
		set(metaIdempotency, "kneo-"+id.New())
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// again tells whether a failure says nothing about the call itself.
func again(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "queue_full", "store_unavailable", "idempotency_key_in_progress":
		return true
	case "":
		return e.status != nil && e.status.Code() == codes.Unavailable
	}
	return false
}

// wait pauses before another try; false means that there will be none.
func (c *conn) wait(ctx context.Context, n int, err error) bool {
	pause := c.o.Retry.pause(n)
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		if e.RetryAfter > c.o.Retry.Max {
			return false
		}
		pause = e.RetryAfter
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

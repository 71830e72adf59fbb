package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// Run connects to the server and serves calls until the context ends; it then takes no further calls, answers those in progress and returns
// nil. A lost connection is opened again. An error means that the server will not take this worker, or that a handler was registered wrongly.
func (w *Worker) Run(ctx context.Context, conn grpc.ClientConnInterface) error {
	switch {
	case w.err != nil:
		return w.err
	case len(w.order) == 0:
		return errors.New("worker: no handlers are registered")
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 15*time.Second
	for {
		registered, err := w.session(ctx, kneov1.NewWorkerServiceClient(conn))
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller asked for the end; how the stream ended does not matter
		}
		if permanent(err) {
			return fmt.Errorf("worker: %w", err)
		}
		if registered {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		w.options.Logger.WarnContext(ctx, "connection to the server ended", "error", err, "retry_in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// permanent reports whether another try cannot help.
func permanent(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return true
	}
	return false
}

// session is one connection.
type session struct {
	w      *Worker
	stream grpc.BidiStreamingClient[kneov1.WorkerMessage, kneov1.ServerMessage]

	// drained gets a value when the server goes away.
	drained chan struct{}

	mu      sync.Mutex
	running map[string]*running
	calls   sync.WaitGroup
	// send keeps messages apart; a gRPC stream takes one at a time.
	send sync.Mutex
}

type running struct {
	attempt int32
	cancel  context.CancelCauseFunc
}

var (
	errDrained = errors.New("the server goes away")
	errUnasked = errors.New("the server did not confirm the registration")
)

func (w *Worker) session(ctx context.Context, client kneov1.WorkerServiceClient) (registered bool, err error) {
	// The stream outlives the context for as long as calls in progress need to answer.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if w.options.APIKey != "" {
		streamCtx = metadata.AppendToOutgoingContext(streamCtx, "authorization", "Bearer "+w.options.APIKey)
	}
	// Nothing runs before the registration is confirmed, so until then the stream ends with the context.
	stop := context.AfterFunc(ctx, cancel)
	stream, err := client.Connect(streamCtx)
	if err != nil {
		stop()
		return false, err
	}
	s := &session{w: w, stream: stream, running: map[string]*running{}, drained: make(chan struct{}, 1)}
	terms, err := s.register()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return false, err
	}
	w.options.Logger.InfoContext(ctx, "registered with the server", "worker_id", terms.GetWorkerId(), "handlers", len(w.order))
	if w.options.Registered != nil {
		w.options.Registered()
	}
	return true, s.serve(ctx, streamCtx, terms)
}

func (s *session) register() (*kneov1.WorkerRegistered, error) {
	r := &kneov1.WorkerRegistration{
		WorkerName: s.w.options.Name, Client: s.w.options.Client, MaxConcurrency: int32(min(s.w.options.MaxConcurrency, math.MaxInt32)), //nolint:gosec // clamped
	}
	for _, h := range s.w.order {
		idempotent := !h.NotIdempotent
		r.Handlers = append(r.Handlers, &kneov1.Handler{
			Name: h.Name, Kind: h.Kind, Description: h.Description, InputSchema: object(h.InputSchema), Idempotent: &idempotent,
		})
	}
	if err := s.stream.Send(&kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Register{Register: r}}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	m, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	if m.GetRegistered() == nil {
		return nil, errUnasked
	}
	return m.GetRegistered(), nil
}

func object(data json.RawMessage) *kneov1.JsonObject {
	if len(data) == 0 {
		return nil
	}
	return &kneov1.JsonObject{Raw: data}
}

// serve moves messages until the stream ends, the server drains or the context ends, and then waits for the calls in progress.
func (s *session) serve(ctx, streamCtx context.Context, terms *kneov1.WorkerRegistered) error {
	ended := make(chan error, 1)
	go func() { ended <- s.listen(streamCtx) }()
	beat := time.NewTicker(max(time.Duration(terms.GetHeartbeatSeconds()*float64(time.Second)), 10*time.Millisecond))
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			s.heartbeat()
		case err := <-ended:
			s.cancelAll(err)
			return err
		case <-s.drained:
			s.leave("The server goes away.", beat, ended)
			return errDrained
		case <-ctx.Done():
			s.leave("The worker stops.", beat, ended)
			return nil
		}
	}
}

// farewell bounds the wait for the server to confirm the end of the stream; cutting it at once could lose the last answers.
const farewell = 2 * time.Second

// leave takes no further calls, waits for those in progress while the heartbeats go on, and closes the stream.
func (s *session) leave(reason string, beat *time.Ticker, ended <-chan error) {
	defer s.cancelAll(errDrained)
	s.write(&kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Drain{Drain: &kneov1.WorkerDrain{Reason: reason}}})
	done := make(chan struct{})
	go func() { defer close(done); s.calls.Wait() }()
	limit := time.NewTimer(s.w.options.DrainTimeout)
	defer limit.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case err := <-ended:
			s.w.options.Logger.Debug("the stream ended before the last answers", "error", err)
			return
		case <-limit.C:
			return
		case <-beat.C:
			s.heartbeat()
		}
	}
	s.closeSend()
	limit.Reset(farewell)
	select {
	case err := <-ended:
		s.w.options.Logger.Debug("left the server", "error", err)
	case <-limit.C:
	}
}

func (s *session) closeSend() {
	s.send.Lock()
	defer s.send.Unlock()
	if err := s.stream.CloseSend(); err != nil {
		s.w.options.Logger.Debug("closing the stream failed", "error", err)
	}
}

func (s *session) cancelAll(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		r.cancel(cause)
	}
}

func (s *session) heartbeat() {
	s.mu.Lock()
	ids := make([]string, 0, len(s.running))
	for id := range s.running {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	s.write(&kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Heartbeat{Heartbeat: &kneov1.WorkerHeartbeat{InvocationIds: ids}}})
}

// write sends a message. A failure ends the stream, which listen sees.
func (s *session) write(m *kneov1.WorkerMessage) {
	s.send.Lock()
	defer s.send.Unlock()
	if err := s.stream.Send(m); err != nil {
		s.w.options.Logger.Debug("sending failed", "error", err)
	}
}

func (s *session) listen(ctx context.Context) error {
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.GetMessage().(type) {
		case *kneov1.ServerMessage_Invocation:
			s.start(ctx, m.Invocation)
		case *kneov1.ServerMessage_Cancel:
			s.cancel(m.Cancel)
		case *kneov1.ServerMessage_Refused:
			s.w.options.Logger.WarnContext(ctx, "an answer was refused", "invocation_id", m.Refused.GetInvocationId(),
				"attempt", m.Refused.GetAttempt(), "code", m.Refused.GetCode())
		case *kneov1.ServerMessage_Drain:
			select {
			case s.drained <- struct{}{}:
			default:
			}
		}
	}
}

func (s *session) cancel(c *kneov1.InvocationCancel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.running[c.GetInvocationId()]; r != nil && r.attempt == c.GetAttempt() {
		r.cancel(errors.New(c.GetReason()))
	}
}

func (s *session) start(ctx context.Context, inv *kneov1.Invocation) {
	c := Call{
		ID: inv.GetInvocationId(), Kind: inv.GetKind(), Name: inv.GetName(), Input: inv.GetInput().GetRaw(), Attempt: int(inv.GetAttempt()),
		IdempotencyKey: inv.GetIdempotencyKey(), RunID: inv.GetRunId(), TraceParent: inv.GetTraceparent(),
	}
	if len(c.Input) == 0 {
		c.Input = json.RawMessage("null")
	}
	if t, err := time.Parse(time.RFC3339Nano, inv.GetDeadline()); err == nil {
		c.Deadline = t
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &running{inv.GetAttempt(), cancel}
	s.mu.Lock()
	s.running[c.ID] = r
	s.mu.Unlock()
	s.calls.Go(func() {
		defer cancel(nil)
		if !c.Deadline.IsZero() {
			var stop context.CancelFunc
			ctx, stop = context.WithDeadline(ctx, c.Deadline)
			defer stop()
		}
		output, err := s.w.call(ctx, c)
		s.mu.Lock()
		if s.running[c.ID] == r {
			delete(s.running, c.ID)
		}
		s.mu.Unlock()
		s.write(reply(inv, output, err))
	})
}

// call runs a handler; a panic fails the call, not the worker.
func (w *Worker) call(ctx context.Context, c Call) (output json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.options.Logger.ErrorContext(ctx, "a handler panicked", "name", c.Name, "panic", p, "stack", string(debug.Stack()))
			output, err = nil, &Error{Code: "handler_error", Message: "The handler panicked."}
		}
	}()
	fn := w.handlers[handlerKey{c.Kind, canonical(c.Name)}]
	if fn == nil {
		return nil, &Error{Code: "handler_unavailable", Message: fmt.Sprintf("This worker serves no %s named %s.", c.Kind, c.Name)}
	}
	return fn(ctx, c)
}

func reply(inv *kneov1.Invocation, output json.RawMessage, err error) *kneov1.WorkerMessage {
	if err == nil && !json.Valid(output) {
		err = errors.New("the handler did not return JSON")
	}
	if err == nil {
		return &kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Result{Result: &kneov1.InvocationResult{
			InvocationId: inv.GetInvocationId(), Attempt: inv.GetAttempt(), Output: &kneov1.JsonValue{Raw: output},
		}}}
	}
	var failure *Error
	if !errors.As(err, &failure) {
		// Nothing is known about an ordinary error, so another try may succeed.
		failure = &Error{Code: "handler_error", Message: err.Error(), Retryable: true}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			failure.Code = "timeout"
		case errors.Is(err, context.Canceled):
			failure.Code = "cancelled"
		}
	}
	return &kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Error{Error: &kneov1.InvocationError{
		InvocationId: inv.GetInvocationId(), Attempt: inv.GetAttempt(), Code: failure.Code, Message: failure.Message,
		Retryable: failure.Retryable, Details: object(failure.Details),
	}}}
}

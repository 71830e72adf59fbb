package rpc

import (
	"errors"
	"math"
	"time"

	"google.golang.org/grpc"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/dispatch"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/problem"
)

// WorkerServer connects remote workers to the dispatcher.
type WorkerServer struct {
	kneov1.UnimplementedWorkerServiceServer
	Dispatcher *dispatch.Dispatcher
}

// Connect implements kneov1.WorkerServiceServer.
func (s *WorkerServer) Connect(stream grpc.BidiStreamingServer[kneov1.WorkerMessage, kneov1.ServerMessage]) error {
	err := s.Dispatcher.Serve(stream.Context(), workerConn{stream})
	var refused *dispatch.RegistrationError
	switch {
	case errors.As(err, &refused), errors.Is(err, dispatch.ErrProtocol):
		return problem.Wrap(err, problem.InvalidRequest, "%s", err.Error())
	case errors.Is(err, dispatch.ErrDraining):
		return problem.Wrap(err, problem.NotReady, "%s", err.Error()).After(1)
	}
	return err
}

type workerConn struct {
	stream grpc.BidiStreamingServer[kneov1.WorkerMessage, kneov1.ServerMessage]
}

// Recv implements dispatch.Conn.
func (c workerConn) Recv() (dispatch.Inbound, error) {
	m, err := c.stream.Recv()
	if err != nil {
		return dispatch.Inbound{}, err
	}
	switch m := m.GetMessage().(type) {
	case *kneov1.WorkerMessage_Register:
		return dispatch.Inbound{Register: registration(m.Register)}, nil
	case *kneov1.WorkerMessage_Result:
		output := m.Result.GetOutput().GetRaw()
		if len(output) == 0 {
			output = []byte("null")
		}
		return dispatch.Inbound{Result: &dispatch.Result{ID: m.Result.GetInvocationId(), Attempt: int(m.Result.GetAttempt()), Output: output}}, nil
	case *kneov1.WorkerMessage_Error:
		e := m.Error
		return dispatch.Inbound{Failure: &dispatch.Failure{ID: e.GetInvocationId(), Attempt: int(e.GetAttempt()), Error: &handler.Error{
			Code: e.GetCode(), Message: e.GetMessage(), Retryable: e.GetRetryable(), Details: raw(e.GetDetails()),
		}}}, nil
	case *kneov1.WorkerMessage_Heartbeat:
		return dispatch.Inbound{Heartbeat: &dispatch.Heartbeat{IDs: m.Heartbeat.GetInvocationIds()}}, nil
	case *kneov1.WorkerMessage_Drain:
		reason := m.Drain.GetReason()
		return dispatch.Inbound{Drain: &reason}, nil
	}
	return dispatch.Inbound{}, nil
}

func registration(r *kneov1.WorkerRegistration) *dispatch.Registration {
	out := &dispatch.Registration{Name: r.GetWorkerName(), Client: r.GetClient(), MaxConcurrency: int(r.GetMaxConcurrency())}
	for _, h := range r.GetHandlers() {
		out.Handlers = append(out.Handlers, handler.Definition{
			Name: h.GetName(), Kind: handler.Kind(h.GetKind()), Description: h.GetDescription(), InputSchema: raw(h.GetInputSchema()),
			Idempotent: h.Idempotent == nil || h.GetIdempotent(),
		})
	}
	return out
}

// Registered implements dispatch.Conn.
func (c workerConn) Registered(t dispatch.Terms) error {
	return c.stream.Send(&kneov1.ServerMessage{Message: &kneov1.ServerMessage_Registered{Registered: &kneov1.WorkerRegistered{
		WorkerId: t.WorkerID, HeartbeatSeconds: t.Heartbeat.Seconds(), LeaseSeconds: t.Lease.Seconds(),
	}}})
}

// Send implements dispatch.Conn.
func (c workerConn) Send(m dispatch.Message) error {
	out := &kneov1.ServerMessage{}
	switch {
	case m.Invocation != nil:
		out.Message = &kneov1.ServerMessage_Invocation{Invocation: invocation(m.Invocation)}
	case m.Cancel != nil:
		out.Message = &kneov1.ServerMessage_Cancel{Cancel: &kneov1.InvocationCancel{
			InvocationId: m.Cancel.ID, Attempt: attempt(m.Cancel.Attempt), Reason: m.Cancel.Reason,
		}}
	case m.Refused != nil:
		out.Message = &kneov1.ServerMessage_Refused{Refused: &kneov1.AnswerRefused{
			InvocationId: m.Refused.ID, Attempt: attempt(m.Refused.Attempt), Code: m.Refused.Code, Message: m.Refused.Message,
		}}
	case m.Drain != nil:
		out.Message = &kneov1.ServerMessage_Drain{Drain: &kneov1.ServerDrain{Reason: *m.Drain}}
	}
	return c.stream.Send(out)
}

func invocation(i *dispatch.Invocation) *kneov1.Invocation {
	out := &kneov1.Invocation{
		InvocationId: i.ID, Kind: string(i.Kind), Name: i.Name, Input: value(i.Input), Attempt: attempt(i.Meta.Attempt),
		IdempotencyKey: i.Meta.IdempotencyKey, RunId: i.Meta.RunID, Traceparent: optional(i.Meta.TraceParent),
	}
	if !i.Meta.Deadline.IsZero() {
		text := i.Meta.Deadline.UTC().Format(time.RFC3339Nano)
		out.Deadline = &text
	}
	return out
}

func attempt(n int) int32 {
	return int32(min(n, math.MaxInt32)) //nolint:gosec // clamped
}

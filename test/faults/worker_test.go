package faults

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/test/live"
)

// rawWorker speaks the worker protocol message by message.
type rawWorker struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[kneov1.WorkerMessage, kneov1.ServerMessage]
	leave  context.CancelFunc
	// function is what it serves.
	function string
}

// connect registers a worker for one function.
func connect(t *testing.T, s *live.Service, name string, idempotent bool) *rawWorker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := kneov1.NewWorkerServiceClient(s.Dial()).Connect(ctx)
	if err != nil {
		t.Error(err)
	}
	w := &rawWorker{t, stream, cancel, name}
	w.send(&kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Register{Register: &kneov1.WorkerRegistration{
		WorkerName: t.Name(), Handlers: []*kneov1.Handler{{Name: name, Kind: "function", Idempotent: &idempotent}},
	}}})
	if w.receive().GetRegistered() == nil {
		t.Error("the worker is not registered")
	}
	return w
}

func (w *rawWorker) send(m *kneov1.WorkerMessage) {
	if err := w.stream.Send(m); err != nil {
		w.t.Error(err)
	}
}

func (w *rawWorker) receive() *kneov1.ServerMessage {
	m, err := w.stream.Recv()
	if err != nil {
		w.t.Error(err)
		return &kneov1.ServerMessage{}
	}
	return m
}

func (w *rawWorker) result(i *kneov1.Invocation, output string) {
	w.send(&kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Result{Result: &kneov1.InvocationResult{
		InvocationId: i.GetInvocationId(), Attempt: i.GetAttempt(), Output: &kneov1.JsonValue{Raw: []byte(output)},
	}}})
}

// refused waits for the refusal of an answer, passing over cancels.
func (w *rawWorker) refused(code string) {
	for {
		m := w.receive()
		if m.GetCancel() != nil {
			continue
		}
		if got := m.GetRefused().GetCode(); got != code {
			w.t.Errorf("refusal %q, want %q", got, code)
		}
		return
	}
}

// oneStep runs a workflow of one step on a function while the script plays its worker.
func oneStep(name string, step live.Object, script func(t *testing.T, s *live.Service, w *rawWorker)) fault {
	return fault{name, func(t *testing.T, s *live.Service) (int, live.Object) {
		t.Helper()
		w := connect(t, s, "faults."+id(name), !strings.Contains(name, "not idempotent"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			script(t, s, w)
		}()
		code, answer := callFunction(s, w.function, step)
		<-done
		return code, answer
	}}
}

func callFunction(s *live.Service, function string, step live.Object) (int, live.Object) {
	line := live.Object{"id": "x", "kind": "function", "ref": "f"}
	for k, v := range step {
		line[k] = v
	}
	return s.Call(http.MethodPost, "/v1/runs", live.Object{"input": "hi", "spec": live.Object{
		"version": "v1", "agent": live.Object{"name": "root"},
		"components": live.Object{"functions": live.Object{"f": live.Object{"implementation": function}}},
		"workflow":   live.Object{"type": "sequential", "name": "w", "steps": []any{line}},
	}})
}

func id(name string) string {
	out := []byte(name)
	for i, c := range out {
		if c < 'a' || c > 'z' {
			out[i] = '_'
		}
	}
	return string(out)
}

var workerFaults = []fault{
	oneStep("worker leaves during a call, another one is there", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		w.receive()
		second := connect(t, s, w.function, true)
		w.leave()
		i := second.receive().GetInvocation()
		if i.GetAttempt() != 2 {
			t.Errorf("attempt %d", i.GetAttempt())
		}
		second.result(i, `"from the second worker"`)
	}),
	oneStep("worker leaves during a call, no other one", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		w.receive()
		w.leave()
	}),
	oneStep("worker leaves during a call that is not idempotent", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		w.receive()
		w.leave()
	}),
	oneStep("worker answers twice", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		i := w.receive().GetInvocation()
		w.result(i, `"the first answer"`)
		w.result(i, `"the second answer"`)
		w.refused("unknown_invocation")
	}),
	oneStep("worker answers late", live.Object{"timeout_seconds": 1}, func(t *testing.T, s *live.Service, w *rawWorker) {
		i := w.receive().GetInvocation()
		if w.receive().GetCancel() == nil {
			t.Error("the worker was not told that the call is over")
		}
		w.result(i, `"too late"`)
		w.refused("unknown_invocation")
	}),
	oneStep("worker answers an attempt that was taken from it", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		old := w.receive().GetInvocation()
		second := connect(t, s, w.function, true)
		w.leave()
		i := second.receive().GetInvocation()
		back := connect(t, s, w.function, true)
		back.result(old, `"stale"`)
		back.refused("stale_attempt")
		second.result(i, `"current"`)
	}),
	oneStep("worker answers without JSON", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		w.result(w.receive().GetInvocation(), `{half`)
		if _, err := w.stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("the worker is told %v", err)
		}
	}),
	oneStep("worker reports an error", nil, func(t *testing.T, s *live.Service, w *rawWorker) {
		i := w.receive().GetInvocation()
		w.send(&kneov1.WorkerMessage{Message: &kneov1.WorkerMessage_Error{Error: &kneov1.InvocationError{
			InvocationId: i.GetInvocationId(), Attempt: i.GetAttempt(), Code: "own_code", Message: "no luck today",
		}}})
	}),
	{"the only worker has left", func(t *testing.T, s *live.Service) (int, live.Object) {
		w := connect(t, s, "faults.left", true)
		if err := w.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("the server does not let the worker go: %v", err)
		}
		return callFunction(s, w.function, nil)
	}},
}

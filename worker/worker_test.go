package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/dispatch"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/transport/rpc"
	"github.com/kneo-go/kneo/worker"
)

// server is a real gRPC server in this process.
type server struct {
	*dispatch.Dispatcher
	conn *grpc.ClientConn
}

func newServer(t *testing.T) *server {
	t.Helper()
	d := dispatch.New(dispatch.Config{
		Timeout: 10 * time.Second, Heartbeat: 50 * time.Millisecond, Lease: time.Second, Now: time.Now, NewID: uuid.NewString,
	})
	lis := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	kneov1.RegisterWorkerServiceServer(s, &rpc.WorkerServer{Dispatcher: d})
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///worker", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan struct{})
	go func() { defer close(running); d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-running
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		<-served
	})
	return &server{d, conn}
}

// run starts a worker and returns a function that stops it and waits.
func run(t *testing.T, s *server, w *worker.Worker) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, s.conn) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func call(t *testing.T, s *server, kind handler.Kind, name, input string) (string, error) {
	t.Helper()
	out, err := s.Call(t.Context(), kind, name, json.RawMessage(input), handler.Meta{RunID: "r", IdempotencyKey: "k", Deadline: time.Now().Add(5 * time.Second)})
	return string(out), err
}

func TestKinds(t *testing.T) {
	s := newServer(t)
	w := worker.New(worker.Options{Name: "test"})
	w.Function("m:f", func(_ context.Context, text string) (string, error) { return "f" + text, nil })
	w.Summarizer("m.s", func(_ context.Context, text string) (string, error) { return "s" + text, nil })
	w.Guardrail("m.g", func(_ context.Context, text string) (worker.Verdict, error) {
		return worker.Verdict{Passed: text == "ok"}, nil
	})
	w.Retriever("m.r", func(_ context.Context, text string, topK int) (string, error) { return text[:topK], nil })
	type arguments struct {
		Query string `json:"query"`
	}
	worker.Tool(w, worker.Handler{Name: "m.t", Description: "d", InputSchema: json.RawMessage(`{"type":"object"}`), NotIdempotent: true},
		func(_ context.Context, a arguments) (any, error) { return map[string]string{"hit": a.Query}, nil })
	w.Function("m.fails", func(context.Context, string) (string, error) { return "", errors.New("no luck") })
	w.Function("m.own", func(context.Context, string) (string, error) {
		return "", &worker.Error{Code: "own", Message: "m", Retryable: true}
	})
	w.Function("m.panics", func(context.Context, string) (string, error) { panic("secret") })
	run(t, s, w)
	for _, tc := range []struct {
		kind              handler.Kind
		name, input, want string
	}{
		{handler.Function, "m.f", `"a"`, `"fa"`},
		{handler.Summarizer, "m.s", `"a"`, `"sa"`},
		{handler.Guardrail, "m.g", `"ok"`, `{"passed":true}`},
		{handler.Retriever, "m.r", `{"text":"abc","top_k":2}`, `"ab"`},
		{handler.Tool, "m.t", `{"query":"q"}`, `{"hit":"q"}`},
	} {
		if got, err := call(t, s, tc.kind, tc.name, tc.input); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v", tc.name, got, err)
		}
	}
	for name, code := range map[string]string{"m.fails": "handler_error", "m.own": "own", "m.panics": "handler_error"} {
		_, err := call(t, s, handler.Function, name, `"a"`)
		if e := handler.AsError(err); e == nil || e.Code != code || e.Retryable != (name != "m.panics") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := call(t, s, handler.Tool, "m.t", `[]`); handler.AsError(err) == nil || handler.AsError(err).Code != "invalid_input" {
		t.Errorf("error %v", err)
	}
	for _, d := range s.Definitions() {
		if d.Name == "m.t" && (d.Idempotent || d.Description != "d" || string(d.InputSchema) != `{"type":"object"}`) {
			t.Errorf("definition %+v", d)
		}
	}
}

func TestCancelReachesTheHandler(t *testing.T) {
	s := newServer(t)
	w := worker.New(worker.Options{})
	started, ended := make(chan struct{}), make(chan error, 1)
	w.Function("m.f", func(ctx context.Context, _ string) (string, error) {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	})
	run(t, s, w)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := s.Call(ctx, handler.Function, "m.f", json.RawMessage(`"a"`), handler.Meta{})
		got <- err
	}()
	<-started
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestStopAnswersWhatIsInProgress(t *testing.T) {
	s := newServer(t)
	w := worker.New(worker.Options{})
	started, release := make(chan struct{}), make(chan struct{})
	w.Function("m.f", func(context.Context, string) (string, error) {
		close(started)
		<-release
		return "done", nil
	})
	stop := run(t, s, w)
	got := make(chan string, 1)
	go func() {
		out, err := s.Call(t.Context(), handler.Function, "m.f", json.RawMessage(`"a"`), handler.Meta{})
		if err != nil {
			out = json.RawMessage(err.Error())
		}
		got <- string(out)
	}()
	<-started
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	close(release)
	<-stopped
	if out := <-got; out != `"done"` {
		t.Error(out)
	}
	if s.Stats().Running != 0 {
		t.Errorf("stats %+v", s.Stats())
	}
}

func TestRefusedRegistration(t *testing.T) {
	s := newServer(t)
	w := worker.New(worker.Options{})
	if err := w.Run(t.Context(), s.conn); err == nil {
		t.Error("no handlers: no error")
	}
	w.Handle(worker.Handler{Name: "m.f", Kind: worker.KindFunction}, nil)
	if err := w.Run(t.Context(), s.conn); err == nil {
		t.Error("nil function: no error")
	}
}

package childworker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/childworker"
	"github.com/kneo-go/kneo/internal/dispatch"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/transport/rpc"
	"github.com/kneo-go/kneo/worker"
)

const roleVariable = "KNEO_TEST_CHILD"

// TestMain lets the test binary play the child process.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		child(role)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child speaks the protocol in one of several ways.
func child(role string) {
	switch role {
	case "silent":
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	case "noise":
		fmt.Println("hello")
		return
	case "ends":
		return
	}
	fmt.Println(`{"type":"register","client":"test/1","max_concurrency":2,"handlers":[{"name":"m.f","kind":"function","description":"d","idempotent":false}]}`)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var m struct {
			Type    string          `json:"type"`
			ID      string          `json:"invocation_id"`
			Attempt int             `json:"attempt"`
			Input   json.RawMessage `json:"input"`
		}
		if json.Unmarshal(in.Bytes(), &m) != nil {
			return
		}
		switch {
		case m.Type == "cancel":
			fmt.Fprintln(os.Stderr, "cancelled")
			fmt.Printf(`{"type":"error","invocation_id":%q,"attempt":%d,"code":"cancelled","message":"c"}`+"\n", m.ID, m.Attempt)
		case string(m.Input) == `"die"`:
			os.Exit(1)
		case string(m.Input) == `"wait"`:
			fmt.Fprintln(os.Stderr, "waiting")
		case string(m.Input) == `"fail"`:
			fmt.Printf(`{"type":"error","invocation_id":%q,"attempt":%d,"code":"own","message":"m","retryable":true}`+"\n", m.ID, m.Attempt)
		default:
			fmt.Printf(`{"type":"result","invocation_id":%q,"attempt":%d,"output":%s}`+"\n", m.ID, m.Attempt, m.Input)
		}
	}
}

type server struct {
	*dispatch.Dispatcher
	conn *grpc.ClientConn
}

func newServer(t *testing.T) *server {
	t.Helper()
	d := dispatch.New(dispatch.Config{Timeout: 15 * time.Second, Heartbeat: 50 * time.Millisecond, Lease: time.Second, Now: time.Now, NewID: uuid.NewString})
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
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		<-served
	})
	return &server{d, conn}
}

func options(role string) childworker.Options {
	return childworker.Options{
		Command: []string{os.Args[0], "-test.run=^$"}, Env: append(os.Environ(), roleVariable+"="+role),
		StartTimeout: 10 * time.Second, Worker: worker.Options{DrainTimeout: 5 * time.Second},
	}
}

func start(t *testing.T, s *server, o childworker.Options) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- childworker.Run(ctx, s.conn, o) }()
	t.Cleanup(cancel)
	return func() error {
		cancel()
		return <-done
	}
}

func call(ctx context.Context, s *server, kind handler.Kind, name, input string) (string, error) {
	out, err := s.Call(ctx, kind, name, json.RawMessage(input), handler.Meta{RunID: "r", Deadline: time.Now().Add(10 * time.Second)})
	return string(out), err
}

func TestCalls(t *testing.T) {
	s := newServer(t)
	stop := start(t, s, options("plain"))
	if out, err := call(t.Context(), s, handler.Function, "m.f", `"a"`); err != nil || out != `"a"` {
		t.Errorf("%s, %v", out, err)
	}
	if d := s.Definitions(); len(d) != 1 || d[0].Idempotent || d[0].Description != "d" {
		t.Errorf("definitions %+v", d)
	}
	_, err := call(t.Context(), s, handler.Function, "m.f", `"fail"`)
	if e := handler.AsError(err); e == nil || e.Code != "own" || !e.Retryable {
		t.Errorf("error %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	s := newServer(t)
	o := options("plain")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o.Stderr = writer
	said := bufio.NewScanner(reader)
	stop := start(t, s, o)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := call(ctx, s, handler.Function, "m.f", `"wait"`)
		got <- err
	}()
	if !said.Scan() || said.Text() != "waiting" {
		t.Errorf("child said %q", said.Text())
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !said.Scan() || said.Text() != "cancelled" {
		t.Errorf("child said %q", said.Text())
	}
	if out, err := call(t.Context(), s, handler.Function, "m.f", `"b"`); err != nil || out != `"b"` {
		t.Errorf("%s, %v", out, err)
	}
	if err := errors.Join(stop(), writer.Close(), reader.Close()); err != nil {
		t.Error(err)
	}
}

func TestChildThatDies(t *testing.T) {
	s := newServer(t)
	ended := make(chan error, 1)
	go func() { ended <- childworker.Run(t.Context(), s.conn, options("plain")) }()
	if _, err := call(t.Context(), s, handler.Function, "m.f", `"die"`); handler.AsError(err) == nil {
		t.Errorf("error %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

func TestChildThatDoesNotRegister(t *testing.T) {
	s := newServer(t)
	for _, role := range []string{"silent", "noise", "ends"} {
		o := options(role)
		if role == "silent" {
			o.StartTimeout = 200 * time.Millisecond
		}
		if err := childworker.Run(t.Context(), s.conn, o); err == nil {
			t.Errorf("%s: no error", role)
		}
	}
	if err := childworker.Run(t.Context(), s.conn, childworker.Options{Command: []string{filepath.Join(t.TempDir(), "none")}}); err == nil {
		t.Error("missing program: no error")
	}
	if err := childworker.Run(t.Context(), s.conn, childworker.Options{}); err == nil {
		t.Error("no program: no error")
	}
}

// TestPython serves a module with the Python library.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on this machine")
	}
	library, err := filepath.Abs("../../workers/python")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(library, "src") + string(os.PathListSeparator) + filepath.Join(library, "tests", "modules")
	s := newServer(t)
	stop := start(t, s, childworker.Options{
		Command: childworker.Python(python, []string{"sample"}, []string{"sample_pkg.inner:deep"}, nil, 4, "py"),
		Env:     append(os.Environ(), "PYTHONPATH="+path, "PYTHONDONTWRITEBYTECODE=1"),
	})
	for _, tc := range []struct {
		kind              handler.Kind
		name, input, want string
	}{
		{handler.Function, "sample.shout", `"a"`, `"A"`},
		{handler.Function, "sample.nothing", `"a"`, `"None"`},
		{handler.Tool, "sample:lookup", `{"query":"q"}`, `{"hit":"q","n":1}`},
		{handler.Guardrail, "sample.short", `"abc"`, `true`},
		{handler.Retriever, "sample.notes", `{"text":"n","top_k":2}`, `"n; n"`},
		{handler.Function, "sample_pkg.inner.deep", `"a"`, `"deep a"`},
	} {
		if got, err := call(t.Context(), s, tc.kind, tc.name, tc.input); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v", tc.name, got, err)
		}
	}
	_, err = call(t.Context(), s, handler.Function, "sample.fails", `"a"`)
	if e := handler.AsError(err); e == nil || e.Message != "no luck" {
		t.Errorf("error %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

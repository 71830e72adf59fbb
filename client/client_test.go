package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/client"
	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// answer is one scripted answer of a fake service.
type answer struct {
	code       string
	grpc       codes.Code
	retryAfter string
}

// fakeRuns answers from a script and remembers what it was told.
type fakeRuns struct {
	kneov1.UnimplementedRunServiceServer
	script []answer
	seen   []metadata.MD
}

func (f *fakeRuns) next(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	f.seen = append(f.seen, md)
	if len(f.script) == 0 {
		return nil
	}
	a := f.script[0]
	f.script = f.script[1:]
	if a.grpc == codes.OK {
		return nil
	}
	s := status.New(a.grpc, "scripted")
	if a.code != "" {
		detail := &kneov1.ErrorDetail{Code: a.code, HttpStatus: 503, Extras: &kneov1.JsonObject{Raw: []byte(`{"run_id":"r1"}`)}}
		if a.retryAfter != "" {
			detail.Headers = append(detail.Headers, &kneov1.ErrorHeader{Name: "Retry-After", Value: a.retryAfter})
		}
		full, err := s.WithDetails(detail)
		if err != nil {
			return err
		}
		s = full
	}
	return s.Err()
}

func (f *fakeRuns) CreateRun(ctx context.Context, _ *kneov1.RunCreateRequest) (*kneov1.RunCreateResponse, error) {
	id := "r1"
	return &kneov1.RunCreateResponse{RunId: &id, Status: "completed"}, f.next(ctx)
}

func (f *fakeRuns) GetRun(ctx context.Context, _ *kneov1.GetRunRequest) (*kneov1.RunStatusResponse, error) {
	return &kneov1.RunStatusResponse{RunId: "r1"}, f.next(ctx)
}

// fakeEvents breaks its stream after every second event.
type fakeEvents struct {
	kneov1.UnimplementedEventServiceServer
	last int64
}

func (f *fakeEvents) WatchRun(r *kneov1.WatchRunRequest, s grpc.ServerStreamingServer[kneov1.RunEvent]) error {
	for n := r.GetAfter() + 1; n <= f.last; n++ {
		if err := s.Send(&kneov1.RunEvent{Sequence: n, Kind: "step"}); err != nil {
			return err
		}
		if n%2 == 0 && n < f.last {
			return status.Error(codes.Unavailable, "the connection was lost")
		}
	}
	return nil
}

func serve(t *testing.T, register func(grpc.ServiceRegistrar), o client.Options) *client.Client {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	if o.Retry == (client.Retry{}) {
		o.Retry = client.Retry{Attempts: 3, Base: time.Millisecond, Max: 2 * time.Second}
	}
	c, err := client.Dial("http://"+l.Addr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestRetries(t *testing.T) {
	full := answer{code: "queue_full", grpc: codes.Unavailable, retryAfter: "1"}
	long := answer{code: "queue_full", grpc: codes.Unavailable, retryAfter: "90"}
	lost := answer{grpc: codes.Unavailable}
	open := answer{code: "idempotency_key_in_progress", grpc: codes.Aborted}
	broken := answer{code: "internal_error", grpc: codes.Internal}
	down := answer{code: "store_unavailable", grpc: codes.Unavailable}
	for name, c := range map[string]struct {
		script []answer
		calls  int
		code   string
	}{
		"a success is final":                          {nil, 1, ""},
		"a lost connection is tried again":            {[]answer{lost, lost}, 3, ""},
		"an open key is waited for":                   {[]answer{open}, 2, ""},
		"the store comes back":                        {[]answer{down}, 2, ""},
		"a full queue is waited for":                  {[]answer{full}, 2, ""},
		"a longer wait than allowed is not":           {[]answer{long}, 1, "queue_full"},
		"an internal error is final":                  {[]answer{broken}, 1, "internal_error"},
		"an unknown run is final":                     {[]answer{{code: "not_found", grpc: codes.NotFound}}, 1, "not_found"},
		"after the last try the failure is told":      {[]answer{down, down, down}, 3, "store_unavailable"},
		"an internal error of the runtime is no call": {[]answer{{grpc: codes.Internal}}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeRuns{script: c.script}
			cl := serve(t, func(r grpc.ServiceRegistrar) { kneov1.RegisterRunServiceServer(r, f) }, client.Options{APIKey: "secret"})
			_, err := cl.Run(t.Context(), client.RunRequest{SpecPath: "a.yaml", Input: "x"})
			if len(f.seen) != c.calls {
				t.Errorf("%d calls, want %d", len(f.seen), c.calls)
			}
			if got := client.Code(err); got != c.code {
				t.Errorf("code %q, want %q (%v)", got, c.code, err)
			}
			keys := map[string]bool{}
			for _, md := range f.seen {
				if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer secret" {
					t.Errorf("authorization is %v", got)
				}
				keys[first(md.Get("idempotency-key"))] = true
			}
			if len(keys) != 1 || keys[""] {
				t.Errorf("the keys of the tries are %v, want one", keys)
			}
		})
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func TestReadsCarryNoKey(t *testing.T) {
	f := &fakeRuns{}
	c := serve(t, func(r grpc.ServiceRegistrar) { kneov1.RegisterRunServiceServer(r, f) }, client.Options{})
	if _, err := c.Runs().GetRun(t.Context(), &kneov1.GetRunRequest{RunId: "r1"}); err != nil {
		t.Fatal(err)
	}
	if got := f.seen[0].Get("idempotency-key"); len(got) > 0 {
		t.Errorf("a read carries the key %v", got)
	}
	if got := f.seen[0].Get("x-request-id"); len(got) != 1 {
		t.Errorf("the request id is %v", got)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	f := &fakeRuns{script: []answer{{code: "run_state_conflict", grpc: codes.FailedPrecondition}}}
	c := serve(t, func(r grpc.ServiceRegistrar) { kneov1.RegisterRunServiceServer(r, f) }, client.Options{})
	_, err := c.Runs().GetRun(t.Context(), &kneov1.GetRunRequest{RunId: "r1"})
	var e *client.Error
	if !errors.As(err, &e) || e.RunID() != "r1" || e.HTTPStatus != 503 || status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %#v", err)
	}
	if !errors.Is(err, &client.Error{Code: "run_state_conflict"}) || errors.Is(err, &client.Error{Code: "not_found"}) {
		t.Error("codes do not compare")
	}
}

func TestWatchOpensABrokenStreamAgain(t *testing.T) {
	c := serve(t, func(r grpc.ServiceRegistrar) { kneov1.RegisterEventServiceServer(r, &fakeEvents{last: 7}) }, client.Options{})
	var got []int64
	for event, err := range c.Watch(t.Context(), "r1", 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.GetSequence())
	}
	for i, n := range got {
		if n != int64(i+1) {
			t.Fatalf("sequence is %v", got)
		}
	}
	if len(got) != 7 {
		t.Errorf("got %v, want seven events", got)
	}
	for range c.Watch(t.Context(), "r1", 0) {
		break
	}
}

func TestTarget(t *testing.T) {
	for in, want := range map[string]struct {
		address string
		secure  bool
	}{
		"http://a:8000": {"a:8000", false}, "https://a": {"a:443", true}, "grpcs://a:1": {"a:1", true}, "a:9": {"a:9", false}, "http://[::1]": {"[::1]:80", false},
	} {
		address, secure, err := client.Target(in)
		if err != nil || address != want.address || secure != want.secure {
			t.Errorf("%s: %s %t %v", in, address, secure, err)
		}
	}
	for _, in := range []string{"", "ftp://a", "http://", "http://%zz"} {
		if _, _, err := client.Target(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

func TestFromEnv(t *testing.T) {
	t.Setenv(client.EnvURL, "")
	if _, err := client.FromEnv(client.Options{}); err == nil {
		t.Error("no address was accepted")
	}
	t.Setenv(client.EnvURL, "http://localhost:1")
	t.Setenv(client.EnvTimeout, "soon")
	if _, err := client.FromEnv(client.Options{}); err == nil {
		t.Error("a bad time limit was accepted")
	}
	t.Setenv(client.EnvTimeout, "0.5")
	c, err := client.FromEnv(client.Options{Retry: client.NoRetry})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Ready(t.Context()); err == nil || errors.Is(err, io.EOF) {
		t.Error("a service that is not there is ready")
	}
}

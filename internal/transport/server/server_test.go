package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/inproc"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/testkit/certs"
	"github.com/kneo-go/kneo/internal/transport/gateway"
	"github.com/kneo-go/kneo/internal/transport/interceptor"
	"github.com/kneo-go/kneo/internal/transport/server"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type noKeys struct{}

func (noKeys) Idempotency(context.Context, string, string) (run.IdempotencyRecord, error) {
	return run.IdempotencyRecord{}, store.ErrNotFound
}

type fakeRuns struct {
	kneov1.UnimplementedRunServiceServer
	entered, release chan struct{}
}

func (f *fakeRuns) GetRun(_ context.Context, r *kneov1.GetRunRequest) (*kneov1.RunStatusResponse, error) {
	switch r.GetRunId() {
	case "absent":
		return nil, problem.New(problem.NotFound, "The requested resource was not found.")
	case "slow":
		f.entered <- struct{}{}
		<-f.release
	}
	return &kneov1.RunStatusResponse{RunId: r.GetRunId()}, nil
}

type fakeEvents struct {
	kneov1.UnimplementedEventServiceServer
}

func (fakeEvents) WatchRun(r *kneov1.WatchRunRequest, stream grpc.ServerStreamingServer[kneov1.RunEvent]) error {
	if r.GetRunId() == "absent" {
		return problem.New(problem.NotFound, "The requested resource was not found.")
	}
	for n := r.GetAfter() + 1; n <= 3; n++ {
		if err := stream.Send(&kneov1.RunEvent{Sequence: n, Kind: "step", Data: &kneov1.JsonObject{Raw: []byte("{\"n\":\n1}")}, CreatedAt: "t"}); err != nil {
			return err
		}
	}
	if r.GetRunId() == "open" {
		<-stream.Context().Done()
	}
	return nil
}

type running struct {
	server *server.Server
	runs   *fakeRuns
	done   chan error
}

func start(t *testing.T, change func(*server.Options, *server.HandlerOptions)) *running {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Settings{APIKeys: "v:view:viewer"})
	if err != nil {
		t.Fatal(err)
	}
	codec, logger := wirejson.New(c), slog.New(slog.DiscardHandler)
	chain, err := interceptor.New(interceptor.Options{Contract: c, Codec: codec, Authenticator: a, Validator: validate.New(c, validate.DefaultLimits()), Keys: noKeys{}, Logger: logger, MaxBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{runs: &fakeRuns{entered: make(chan struct{}), release: make(chan struct{})}, done: make(chan error, 1)}
	register := func(to grpc.ServiceRegistrar) {
		kneov1.RegisterRunServiceServer(to, r.runs)
		kneov1.RegisterEventServiceServer(to, fakeEvents{})
	}
	conn := inproc.New(chain.Unary(), chain.Stream())
	register(conn)
	api, err := gateway.New(gateway.Options{Contract: c, Codec: codec, Conn: conn, Authenticator: a})
	if err != nil {
		t.Fatal(err)
	}
	h := server.HandlerOptions{API: api, MaxBody: 1000, Logger: logger, Plain: map[string]http.Handler{
		"/metrics": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "kneo_runs 1\n") }),
		"/panic":   http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no") }),
	}}
	o := server.Options{Addr: "127.0.0.1:0", Unary: chain.Unary(), Stream: chain.Stream(), Register: register, MaxBytes: 1000, Stopping: api.EndStreams, Logger: logger}
	if change != nil {
		change(&o, &h)
	}
	o.HTTP = server.Handler(h)
	if r.server, err = server.New(o); err != nil {
		t.Fatal(err)
	}
	if err := r.server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.server.Serve() }()
	t.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) url(path string) string { return "http://" + r.server.Addr().String() + path }

// client makes connections that do not outlive the test.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r *running) do(t *testing.T, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url(path), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Kneo-Api-Key", "view")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func dial(t *testing.T, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestOnePort(t *testing.T) {
	r := start(t, nil)
	resp, text := r.do(t, "GET", "/v1/runs/a", nil)
	if resp.StatusCode != 200 || !strings.HasPrefix(text, `{"run_id":"a"`) || resp.Header.Get("X-Request-Id") == "" {
		t.Error(resp.Status, text)
	}
	conn := dial(t, r.server.Addr().String(), insecure.NewCredentials())
	if _, err := kneov1.NewRunServiceClient(conn).GetRun(t.Context(), &kneov1.GetRunRequest{RunId: "a"}); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "kneo.v1.RunService"})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Error(health, err)
	}
	if err := conn.Invoke(t.Context(), "/kneo.v1.Nobody/Knows", &kneov1.GetRunRequest{}, &kneov1.RunStatusResponse{}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestOwnPort(t *testing.T) {
	r := start(t, func(o *server.Options, _ *server.HandlerOptions) { o.GRPCAddr = "127.0.0.1:0" })
	if resp, _ := r.do(t, "GET", "/v1/runs/a", nil); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	conn := dial(t, r.server.GRPCAddr().String(), insecure.NewCredentials())
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

func TestEveryAnswerHasARequestID(t *testing.T) {
	r := start(t, nil)
	for _, path := range []string{"/v1/runs/a", "/nowhere", "/metrics", "/panic", "/metrics/", "/v1/runs/absent"} {
		resp, _ := r.do(t, "GET", path, nil, "X-Request-ID", "mine")
		if resp.Header.Get("X-Request-Id") != "mine" {
			t.Errorf("%s: %s %v", path, resp.Status, resp.Header)
		}
	}
	if resp, text := r.do(t, "GET", "/panic", nil); resp.StatusCode != 500 || !strings.Contains(text, "internal_error") {
		t.Error(resp.Status, text)
	}
	if resp, _ := r.do(t, "POST", "/metrics", nil); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Error(resp.Status)
	}
	if resp, _ := r.do(t, "GET", "/metrics?x=1", nil); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestBodyLimit(t *testing.T) {
	r := start(t, nil)
	for _, path := range []string{"/v1/runs", "/nowhere", "/v1/runs/a/cancel"} {
		for name, body := range map[string]io.Reader{"declared": strings.NewReader(strings.Repeat("x", 1001)), "chunked": io.MultiReader(strings.NewReader(strings.Repeat("x", 1001)))} {
			resp, text := r.do(t, "POST", path, body)
			if resp.StatusCode != 413 || text != `{"detail":{"error":"payload_too_large","message":"Request body exceeds maximum size of 1000 bytes.","max_body_bytes":1000}}` {
				t.Errorf("%s %s: %s %s", path, name, resp.Status, text)
			}
		}
	}
	if resp, text := r.do(t, "POST", "/nowhere", strings.NewReader(strings.Repeat("x", 1000))); resp.StatusCode != 404 {
		t.Error(resp.Status, text)
	}
	conn := dial(t, r.server.Addr().String(), insecure.NewCredentials())
	_, err := kneov1.NewRunServiceClient(conn).CreateRun(t.Context(), &kneov1.RunCreateRequest{Input: strings.Repeat("x", 1001)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
}

func TestCrossOrigin(t *testing.T) {
	r := start(t, func(_ *server.Options, h *server.HandlerOptions) { h.Origins = []string{"https://studio.example"} })
	resp, _ := r.do(t, "OPTIONS", "/v1/runs", nil, "Origin", "https://studio.example", "Access-Control-Request-Method", "POST")
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "https://studio.example" {
		t.Error(resp.Status, resp.Header)
	}
	resp, _ = r.do(t, "OPTIONS", "/v1/runs", nil, "Origin", "https://other.example", "Access-Control-Request-Method", "POST")
	if resp.StatusCode != 405 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error(resp.Status, resp.Header)
	}
	if resp, _ = start(t, nil).do(t, "GET", "/v1/runs/a", nil, "Origin", "https://studio.example"); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("off unless configured")
	}
}

func TestEvents(t *testing.T) {
	r := start(t, nil)
	const one = "id: 3\nevent: step\ndata: {\"sequence\":3,\"kind\":\"step\",\"data\":{\"n\": 1},\"created_at\":\"t\"}\n\n"
	if resp, text := r.do(t, "GET", "/v1/runs/a/events", nil, "Last-Event-ID", "2"); resp.StatusCode != 200 || text != one || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("%s %q", resp.Status, text)
	}
	if _, text := r.do(t, "GET", "/runs/a/events?after=2", nil); text != one {
		t.Errorf("%q", text)
	}
	for path, want := range map[string]int{"/v1/runs/a/events?after=3": 204, "/v1/runs/absent/events": 404, "/v1/runs/a/events?x=1": 422, "/v1/runs/a/events?after=x": 422, "/v1/runs/a/events?after=-1": 422} {
		if resp, text := r.do(t, "GET", path, nil); resp.StatusCode != want {
			t.Error(path, resp.Status, text)
		}
	}
	if resp, _ := r.do(t, "GET", "/v1/runs/a/events", nil, "X-Kneo-Api-Key", "no"); resp.StatusCode != 401 {
		t.Error(resp.Status)
	}
	if resp, _ := r.do(t, "POST", "/v1/runs/a/events", nil); resp.StatusCode != 405 {
		t.Error(resp.Status)
	}
}

func TestShutdownWaitsForRequestsAndEndsEventStreams(t *testing.T) {
	r := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.url("/v1/runs/open/events"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Kneo-Api-Key", "view")
	events, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if _, err := bufio.NewReader(events.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		resp, _ := r.do(t, "GET", "/v1/runs/slow", nil)
		answered <- resp.StatusCode
	}()
	<-r.runs.entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.server.Shutdown(context.Background()) }()
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Error(err)
	}
	select {
	case err := <-stopped:
		t.Fatal("did not wait", err)
	default:
	}
	close(r.runs.release)
	if code := <-answered; code != 200 {
		t.Error(code)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", r.server.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

func TestShutdownGivesUp(t *testing.T) {
	r := start(t, nil)
	conn := dial(t, r.server.Addr().String(), insecure.NewCredentials())
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _ = healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	})
	ctx, cancel := context.WithCancel(context.Background())
	asking.Go(func() {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url("/v1/runs/slow"), nil)
		req.Header.Set("X-Kneo-Api-Key", "view")
		if resp, err := client(t).Do(req); err == nil {
			_ = resp.Body.Close()
		}
	})
	<-r.runs.entered
	cancel()
	if err := r.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(r.runs.release)
	asking.Wait()
}

func TestTLS(t *testing.T) {
	cert, key, pool := certs.Write(t, t.TempDir(), 1, time.Now())
	for name, separate := range map[string]string{"shared": "", "separate": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(o *server.Options, _ *server.HandlerOptions) {
				o.TLS, o.GRPCAddr = server.TLS{CertFile: cert, KeyFile: key}, separate
			})
			config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
			transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+r.server.Addr().String()+"/metrics", nil)
			resp, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
				t.Error(resp.Status, resp.Proto)
			}
			conn := dial(t, r.server.GRPCAddr().String(), credentials.NewTLS(config.Clone()))
			if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Error(err)
			}
			_ = conn.Close()
			transport.CloseIdleConnections()
			if err := r.server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClientCertificates(t *testing.T) {
	cert, key, pool := certs.Write(t, t.TempDir(), 1, time.Now())
	r := start(t, func(o *server.Options, _ *server.HandlerOptions) {
		o.TLS = server.TLS{CertFile: cert, KeyFile: key, ClientCAFile: cert}
	})
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	get := func(certificates []tls.Certificate) error {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12}}
		defer transport.CloseIdleConnections()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+r.server.Addr().String()+"/metrics", nil)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	if err := get([]tls.Certificate{pair}); err != nil {
		t.Error(err)
	}
	if get(nil) == nil {
		t.Error("a client without a certificate must be refused")
	}
}

func TestBadTLSFiles(t *testing.T) {
	for _, files := range []server.TLS{{CertFile: "absent", KeyFile: "absent"}, {CertFile: "x"}, {ClientCAFile: "x"}} {
		if _, err := server.New(server.Options{TLS: files, HTTP: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler)}); err == nil {
			t.Error(fmt.Sprint(files))
		}
	}
}

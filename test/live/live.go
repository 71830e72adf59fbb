// Package live starts the whole service inside a test process, with real listeners and a SQLite file, and calls it as clients do. Only tests import
// it.
package live

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/handler"
)

// Object is a JSON object.
type Object = map[string]any

// Service is a running service.
type Service struct {
	// URL is the base of the REST paths, GRPC the address of gRPC.
	URL, GRPC string

	t      testing.TB
	app    *app.App
	client *http.Client
	log    *buffer
	stop   func() error
}

// Start runs the service with settings on top of a database and a spec root of its own. It stops with the test.
func Start(t testing.TB, settings map[string]string) *Service {
	t.Helper()
	env := map[string]string{
		"KNEO_SERV_SQLITE_PATH": filepath.Join(t.TempDir(), "kneo.db"), "KNEO_SERV_SPEC_ROOT": t.TempDir(), "KNEO_SERV_SQLITE_SYNCHRONOUS": "NORMAL",
		"KNEO_SERV_REQUEST_LOGS": "false",
	}
	for k, v := range settings {
		env[k] = v
	}
	cfg, err := config.Load(config.FromMap(env))
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{t: t, log: &buffer{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute}}
	ready := make(chan [2]net.Addr, 1)
	ctx, cancel := context.WithCancel(context.Background())
	s.app, err = app.New(ctx, cfg, app.Options{
		Host: "127.0.0.1", Version: "test", Log: s.log, Env: config.FromMap(env),
		Ready: func(rest, rpc net.Addr) { ready <- [2]net.Addr{rest, rpc} },
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.app.Serve(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		s.client.CloseIdleConnections()
		return <-served
	})
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	select {
	case addrs := <-ready:
		s.URL, s.GRPC = "http://"+addrs[0].String(), addrs[1].String()
	case err := <-served:
		t.Fatalf("serve: %v", err)
	}
	return s
}

// Stop drains the service and returns what Serve returned.
func (s *Service) Stop() error { return s.stop() }

// Log is what the service logged so far.
func (s *Service) Log() string { return s.log.String() }

// Handlers is where functions of the test are registered under the names that specs use.
func (s *Service) Handlers() *handler.Registry { return s.app.Handlers() }

// Dial connects to gRPC; the connection closes with the test.
func (s *Service) Dial() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Raw sends a request and returns status and body.
func (s *Service) Raw(method, path string, body any, header ...string) (int, []byte) {
	s.t.Helper()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, s.URL+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, text
}

// Call is Raw for answers that are JSON objects.
func (s *Service) Call(method, path string, body any, header ...string) (int, Object) {
	s.t.Helper()
	code, text := s.Raw(method, path, body, header...)
	out := Object{}
	if err := json.Unmarshal(text, &out); err != nil {
		s.t.Fatalf("%s %s: %d %v in %s", method, path, code, err, text)
	}
	return code, out
}

// OK is Call for requests that must be answered with 200.
func (s *Service) OK(method, path string, body any, header ...string) Object {
	s.t.Helper()
	code, out := s.Call(method, path, body, header...)
	if code != http.StatusOK {
		s.t.Fatalf("%s %s: %d %v", method, path, code, out)
	}
	return out
}

// Trace lists a run's trace events.
func (s *Service) Trace(runID string) []Object {
	s.t.Helper()
	return Objects(s.OK(http.MethodGet, "/v1/runs/"+runID+"/trace", nil)["events"])
}

// Settle waits until a run has ended or paused and returns it.
func (s *Service) Settle(runID string) Object {
	s.t.Helper()
	got := s.OK(http.MethodGet, "/v1/runs/"+runID+"/wait?timeout_seconds=30", nil)
	if got["settled"] != true {
		s.t.Fatalf("run %s does not settle: %v", runID, got)
	}
	return Sub(got, "run")
}

// Sub returns a member that is an object, or an empty one.
func Sub(o Object, names ...string) Object {
	for _, n := range names {
		o, _ = o[n].(Object)
	}
	if o == nil {
		return Object{}
	}
	return o
}

// Objects returns the objects of a list.
func Objects(v any) []Object {
	list, _ := v.([]any)
	out := make([]Object, 0, len(list))
	for _, item := range list {
		if o, ok := item.(Object); ok {
			out = append(out, o)
		}
	}
	return out
}

// Text returns a member that is a text, or an empty one.
func Text(o Object, name string) string {
	text, _ := o[name].(string)
	return text
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

package workers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/testkit/certs"
	"github.com/kneo-go/kneo/test/live"
	"github.com/kneo-go/kneo/test/replica"
)

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

const patience = 30 * time.Second

// pythonWorker is a Python worker that speaks gRPC itself.
type pythonWorker struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{}
	mu     sync.Mutex
	stderr bytes.Buffer
	wrote  chan struct{}
}

// Write implements io.Writer.
func (w *pythonWorker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return w.stderr.Write(p)
}

func (w *pythonWorker) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stderr.String()
}

// says waits until a text was on standard error so often.
func (w *pythonWorker) says(text string, times int) {
	w.t.Helper()
	limit := time.After(patience)
	for strings.Count(w.said(), text) < times {
		select {
		case <-w.wrote:
		case <-limit:
			w.t.Fatalf("the worker does not say %q:\n%s", text, w.said())
		}
	}
}

func startPython(t *testing.T, url, key string, options ...string) *pythonWorker {
	t.Helper()
	python := os.Getenv("KNEO_TEST_PYTHON")
	if python == "" {
		t.Skip("needs KNEO_TEST_PYTHON, a Python with grpcio and protobuf, as make test prepares it")
	}
	args := append([]string{"-m", "kneo_worker", "--via", "grpc", "--service-url", url, "--module", "kneo_demo.functions"}, options...)
	w := &pythonWorker{t: t, cmd: exec.Command(python, args...), ended: make(chan struct{}), wrote: make(chan struct{}, 1)}
	w.cmd.Env, w.cmd.Stderr, w.cmd.WaitDelay = append(environment(t), "KNEO_SERV_API_KEY="+key), w, time.Second
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = w.cmd.Wait()
		close(w.ended)
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.ended
	})
	return w
}

// exit waits for the end and returns the exit code.
func (w *pythonWorker) exit() int {
	w.t.Helper()
	select {
	case <-w.ended:
		return w.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		w.t.Fatalf("the worker goes on:\n%s", w.said())
		return 0
	}
}

func (w *pythonWorker) stop() int {
	w.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	return w.exit()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func shouting(input string) live.Object {
	return live.Object{"input": input, "spec": live.Object{
		"version": "v1", "agent": live.Object{"name": "root"},
		"components": live.Object{"functions": live.Object{"f": live.Object{"implementation": "kneo_demo.functions.shout"}}},
		"workflow":   live.Object{"type": "sequential", "steps": []live.Object{{"id": "s", "kind": "function", "ref": "f"}}},
	}}
}

// TestPythonConnectsAgain: the server dies and comes back on its address; the worker serves it again, and leaves when it is told to.
func TestPythonConnectsAgain(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	env := map[string]string{"KNEO_SERV_SQLITE_PATH": dir + "/kneo.db", "KNEO_SERV_REQUEST_LOGS": "false"}
	p := replica.Serve(t, dir, env, "--port", port)
	w := startPython(t, "http://127.0.0.1:"+port, "")
	for i := range 3 {
		w.says("connected, serving", i+1)
		if got := p.OK(t, http.StatusOK, http.MethodPost, "/v1/runs", shouting("hi")); got["output_text"] != "HI" {
			t.Fatalf("%v\n%s", got, w.said())
		}
		if i < 2 {
			p.Kill()
			w.says("no connection to the server, trying again", i+1)
			p = replica.Serve(t, dir, env, "--port", port)
		}
	}
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, w.said())
	}
}

// TestPythonIsRefused: a key that the server does not know ends the worker with a reason.
func TestPythonIsRefused(t *testing.T) {
	dir := t.TempDir()
	p := replica.Serve(t, dir, map[string]string{"KNEO_SERV_SQLITE_PATH": dir + "/kneo.db", "KNEO_SERV_ADMIN_API_KEY": "right"})
	w := startPython(t, p.URL, "wrong")
	if code := w.exit(); code != 1 || !strings.Contains(w.said(), "the server refuses this worker") || strings.Contains(w.said(), "Traceback") {
		t.Errorf("exit code %d\n%s", code, w.said())
	}
}

// TestPythonShowsACertificate: a server that wants client certificates serves the worker that has one, and no other.
func TestPythonShowsACertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := certs.Write(t, dir, 1, time.Now())
	p := replica.Serve(t, dir, map[string]string{
		"KNEO_SERV_SQLITE_PATH": dir + "/kneo.db", "KNEO_SERV_TLS_CERT_FILE": cert, "KNEO_SERV_TLS_KEY_FILE": key, "KNEO_SERV_TLS_CLIENT_CA_FILE": cert,
	})
	url := strings.Replace(p.URL, "http://", "https://", 1)
	startPython(t, url, "", "--ca-file", cert).says("no connection to the server, trying again", 1)
	w := startPython(t, url, "", "--ca-file", cert, "--cert-file", cert, "--key-file", key)
	w.says("connected, serving", 1)
	got, err := postWith(t.Context(), url, cert, key, pool)
	if err != nil || got["output_text"] != "HI" {
		t.Fatalf("%v, %v\n%s", got, err, w.said())
	}
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, w.said())
	}
}

func postWith(ctx context.Context, url, cert, key string, pool *x509.CertPool) (answer live.Object, err error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(shouting("hi"))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/runs", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return nil, err
	}
	return answer, errors.Join(json.NewDecoder(resp.Body).Decode(&answer), resp.Body.Close())
}

// Package replica runs the kneo command as real processes inside tests: the test binary starts itself again in that role, so nothing has to be
// built. Only tests import it.
package replica

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/cli"
	"github.com/kneo-go/kneo/internal/config"
)

// role is the variable that makes a test binary play the kneo command.
const role = "KNEO_TEST_COMMAND"

// Play turns the process into the kneo command when it was started as one; call it first in TestMain.
func Play() {
	if os.Getenv(role) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv(role) == "serve" {
		// The parent holds the other end: when the test dies, so does this process.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(3) //nolint:gocritic // the end of an orphan
		}()
	}
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	os.Exit(cli.Main(ctx, cli.Process{Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: config.Process(), Dir: dir, Version: "test"}))
}

// environ is a clean environment with the given settings.
func environ(as string, env map[string]string) []string {
	list := []string{role + "=" + as, "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GORACE=" + os.Getenv("GORACE"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return list
}

// Command runs the command to its end and returns what it printed and its exit code.
func Command(t testing.TB, dir string, env map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self(t), args...) //nolint:gosec // this binary
	cmd.Dir, cmd.Env = dir, environ("command", env)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("kneo %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

func self(t testing.TB) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Process is a running service.
type Process struct {
	// URL and GRPC are its addresses.
	URL, GRPC string

	cmd    *exec.Cmd
	stdin  io.Closer
	log    *lines
	exited chan struct{}
}

// startTime is how long a process may take until it serves.
const startTime = 30 * time.Second

// Serve starts `kneo service serve` on a free port and waits until it answers. The process ends with the test.
func Serve(t testing.TB, dir string, env map[string]string, args ...string) *Process {
	t.Helper()
	p, err := TryServe(self(t), dir, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Work starts `kneo service worker` like Serve, with a port for probes.
func Work(t testing.TB, dir string, env map[string]string) *Process {
	t.Helper()
	p, err := try(self(t), dir, env, "service", "worker", "--port", "0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// TryServe is Serve with another program and without a test; the caller kills the process.
func TryServe(program, dir string, env map[string]string, args ...string) (*Process, error) {
	return try(program, dir, env, append([]string{"service", "serve", "--port", "0"}, args...)...)
}

func try(program, dir string, env map[string]string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(program, args...), log: newLines(), exited: make(chan struct{})} //nolint:gosec // a test program
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, environ("serve", env), p.log
	p.cmd.WaitDelay = time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	select {
	case ready := <-p.log.ready:
		p.URL, p.GRPC = "http://"+ready.Rest, ready.GRPC
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("the service did not start:\n%s", p.Log())
	case <-limit.C:
		p.Kill()
		return nil, fmt.Errorf("the service does not serve:\n%s", p.Log())
	}
}

// Kill ends the process at once, as a power cut would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	_ = p.stdin.Close()
}

// Stop asks the process to end and returns its exit code.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(startTime):
		t.Fatalf("the service does not stop:\n%s", p.Log())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Log is what the process wrote so far.
func (p *Process) Log() string { return p.log.String() }

// Call sends a JSON request and decodes the answer. An error means that there was no answer.
func (p *Process) Call(ctx context.Context, method, path string, body any, header ...string) (status int, answer map[string]any, err error) {
	return Call(ctx, p.URL+path, method, body, header...)
}

// Call sends a JSON request to an address and decodes the answer.
func Call(ctx context.Context, url, method string, body any, header ...string) (status int, answer map[string]any, err error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	answer = map[string]any{}
	if json.Unmarshal(text, &answer) != nil {
		answer["text"] = string(text)
	}
	return resp.StatusCode, answer, nil
}

// OK is Call for requests that must have a status.
func (p *Process) OK(t testing.TB, status int, method, path string, body any, header ...string) map[string]any {
	t.Helper()
	code, answer, err := p.Call(t.Context(), method, path, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	if code != status {
		t.Fatalf("%s %s: %d %v", method, path, code, answer)
	}
	return answer
}

// addresses is what the log line of a serving process says.
type addresses struct {
	Msg  string `json:"msg"`
	Rest string `json:"rest"`
	GRPC string `json:"grpc"`
}

// lines keeps the log and finds the line that tells the addresses.
type lines struct {
	ready chan addresses
	mu    sync.Mutex
	buf   bytes.Buffer
	seen  int
}

func newLines() *lines { return &lines{ready: make(chan addresses, 1)} }

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	scan := bufio.NewScanner(bytes.NewReader(l.buf.Bytes()[l.seen:]))
	for scan.Scan() {
		var a addresses
		if json.Unmarshal(scan.Bytes(), &a) == nil && a.Msg == "kneo is serving" {
			l.ready <- a
			l.seen = l.buf.Len()
			return len(p), nil
		}
	}
	if i := bytes.LastIndexByte(l.buf.Bytes(), '\n'); i >= 0 {
		l.seen = i + 1
	}
	return len(p), nil
}

// String is everything so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/redact"
)

// stopGrace is how long a server process may take to leave before it is killed.
const stopGrace = 2 * time.Second

// stdio starts the server's process. Its environment is the process's own, without the settings of this server, plus the configured variables.
func (p *Pool) stdio(server *plan.MCPServer) (sdk.Transport, func(), error) {
	cmd := exec.Command(server.Command, server.Args...) //nolint:gosec // running the command is what the spec asks for
	cmd.Dir = server.Cwd
	cmd.Env = environment(server.Env)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	complaints := &tail{}
	cmd.Stderr = complaints
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	proc := &process{cmd: cmd, stdin: stdin, complaints: complaints, log: p.o.Logger, name: server.Name}
	lines := &lineFilter{source: stdout, scan: bufio.NewReaderSize(stdout, 64<<10), limit: int(maxResponse(server))}
	return &sdk.IOTransport{Reader: lines, Writer: stdin}, proc.stop, nil
}

func environment(extra map[string]string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "KNEO_SERV_") {
			env = append(env, kv)
		}
	}
	for k, v := range extra {
		env = append(env, k+"="+v)
	}
	return env
}

// process is a running server.
type process struct {
	cmd        *exec.Cmd
	stdin      io.Closer
	complaints *tail
	log        *slog.Logger
	name       string
	once       sync.Once
}

// stop closes the input, asks the process to leave, and kills it when it stays.
func (p *process) stop() {
	p.once.Do(func() {
		_ = p.stdin.Close() // already closed when the session ended first
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		exited := make(chan struct{})
		go func() {
			_ = p.cmd.Wait() // a killed process has no exit status of interest
			close(exited)
		}()
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-exited:
		case <-timer.C:
			_ = p.cmd.Process.Kill()
			<-exited
		}
		if text := p.complaints.String(); text != "" {
			p.log.Debug("standard error of an MCP server", "server", p.name, "text", redact.Text(text))
		}
	})
}

// lineFilter passes on the lines that look like JSON objects and fails on one that is too long.
type lineFilter struct {
	source io.Closer
	scan   *bufio.Reader
	limit  int
	rest   []byte
}

// Read implements io.Reader.
func (f *lineFilter) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		line, err := f.line()
		if err != nil {
			return 0, err
		}
		if t := bytes.TrimSpace(line); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
			f.rest = line
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *lineFilter) line() ([]byte, error) {
	var line []byte
	for {
		part, err := f.scan.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > f.limit:
			return nil, fmt.Errorf("the response has more than %d bytes", f.limit)
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// Close implements io.Closer.
func (f *lineFilter) Close() error { return f.source.Close() }

// maxComplaints bounds what is kept of a server's standard error.
const maxComplaints = 4096

// tail keeps the last bytes that were written.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if len(t.kept) > maxComplaints {
		t.kept = append([]byte(nil), t.kept[len(t.kept)-maxComplaints:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.kept), "")
}

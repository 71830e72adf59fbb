package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTimeout is the longest wait for a server.
const startTimeout = 30 * time.Second

// server is a process under measurement with a folder of its own.
type server struct {
	kind    serverKind
	dir     string
	env     []string
	port    int
	cmd     *exec.Cmd
	exited  chan struct{}
	begun   time.Time
	started time.Duration
	drop    func() error
}

// serverKind is a program and a database to measure.
type serverKind struct {
	name      string
	program   string
	reference bool
	// database makes an empty database and returns its address and how to drop it; nil means SQLite in the server's folder.
	database func(context.Context) (string, func() error, error)
}

// database is the path of the SQLite database of the server; the reference has no setting for it.
func (s *server) database() string {
	if s.kind.reference {
		return filepath.Join(s.dir, ".kneo", "kneo_runs.sqlite")
	}
	return filepath.Join(s.dir, "runs.db")
}

// newServer prepares a server in a fresh folder and database, and starts it.
func newServer(ctx context.Context, k serverKind, env ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "kneo-load-")
	if err != nil {
		return nil, err
	}
	s := &server{kind: k, dir: dir, env: append([]string{
		"KNEO_SERV_REQUEST_LOGS=false", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PYTHONDONTWRITEBYTECODE=1",
		"KNEO_SERV_SQLITE_PATH=" + filepath.Join(dir, "runs.db"),
	}, env...)}
	if k.database != nil {
		address, drop, err := k.database(ctx)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		s.drop = drop
		s.env = append(s.env, "KNEO_SERV_DATABASE_URL="+address)
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func (s *server) url() string { return "http://127.0.0.1:" + strconv.Itoa(s.port) }

func (s *server) target() target { return target{url: s.url()} }

// start runs the program and waits until it is ready.
func (s *server) start(ctx context.Context) error {
	var err error
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// The program is what the person at the command line wants to measure.
	s.cmd = exec.CommandContext(ctx, s.kind.program, "service", "serve", "--host", "127.0.0.1", "--port", strconv.Itoa(s.port)) //nolint:gosec // see above
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.env, log, log
	s.begun = time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	return s.ready(ctx)
}

func (s *server) ready(ctx context.Context) error {
	c, err := connect(s.url(), "")
	if err != nil {
		return err
	}
	defer c.close()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	for {
		if status, _, err := c.do(ctx, "GET", "/readyz", "", nil); err == nil && status == 200 {
			s.started = time.Since(s.begun)
			return nil
		}
		select {
		case <-look.C:
		case <-s.exited:
			return fmt.Errorf("%s exited:\n%s", s.kind.name, s.tail())
		case <-limit.C:
			return fmt.Errorf("%s did not become ready:\n%s", s.kind.name, s.tail())
		}
	}
}

func (s *server) tail() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// kill ends the process as a crash would.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.exited
	return nil
}

// stop ends the process in order, or by force when that takes long, and removes what it left.
func (s *server) stop() error {
	if s.cmd != nil && s.cmd.Process != nil {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-s.exited:
		case <-time.After(5 * time.Second):
			if err := s.kill(); err != nil {
				return err
			}
		}
	}
	return s.remove()
}

func (s *server) remove() error {
	err := os.RemoveAll(s.dir)
	if s.drop != nil {
		err = errors.Join(err, s.drop())
	}
	return err
}

// status reads a size in kB from the status of the process, and returns it in MB.
func (s *server) status(field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of the process", field)
}

// ticksPerSecond is the unit of process times on Linux.
const ticksPerSecond = 100

// cpu is the processor time of the process so far.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, which may have spaces.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// stored is the size of the SQLite database of the server in bytes, 0 when it has none. Its log counts for what it will add to the file.
func (s *server) stored(ctx context.Context) (size int64, err error) {
	if s.kind.database != nil {
		return 0, nil
	}
	db, err := sql.Open("sqlite", "file:"+s.database()+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()").Scan(&size)
	return size, err
}

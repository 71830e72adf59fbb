// Package pgtest starts a real PostgreSQL for the tests of one package: installed server binaries when there are any, else ones fetched from a
// package registry. It never skips. A server does not run as root, so then it gets an ordinary user. It imports nothing of the platform.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "kneo"
	startTime = time.Minute
)

// Server is a running PostgreSQL that listens on a unix socket only.
type Server struct {
	dir string
	cmd *exec.Cmd
	// exited is closed when the server has gone; log holds what it said.
	exited chan struct{}
	log    *startLog
	// again starts the server process once more.
	again func(ctx context.Context) error

	mu       sync.Mutex
	next     int
	template string
}

// Main starts a server, runs the tests and stops it; use hands the server to them and may prepare it. It returns the exit code.
func Main(m *testing.M, use func(*Server) error) int {
	s, err := Start(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	code := 1
	if err := use(s); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
	} else {
		code = m.Run()
	}
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	return code
}

// Start makes a new cluster in a temporary folder and waits until it accepts connections. It is quick rather than durable; settings ("name=value")
// come after its own and win.
func Start(ctx context.Context, settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	// Not the folder of a test: the path of a unix socket may have 107 bytes only.
	dir, err := os.MkdirTemp("", "kneopg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, exited: make(chan struct{}), log: newStartLog()}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := s.start(ctx, bin, settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, bin string, settings []string) error {
	who, err := runAs(s.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync") //nolint:gosec // a test tool
	initdb.Dir, initdb.SysProcAttr = s.dir, who.attributes(false)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	arguments := []string{
		"-D", data, "-k", s.dir, "-c", "fsync=off", "-c", "listen_addresses=", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_connections=200",
	}
	for _, setting := range settings {
		arguments = append(arguments, "-c", setting)
	}
	s.again = func(ctx context.Context) error { return s.launch(ctx, who, filepath.Join(bin, "postgres"), arguments) }
	return s.again(ctx)
}

// launch starts the server process on its folder and waits until it accepts connections.
func (s *Server) launch(ctx context.Context, who identity, postgres string, arguments []string) error {
	s.exited, s.log = make(chan struct{}), newStartLog()
	s.cmd = exec.Command(postgres, arguments...) //nolint:gosec // a test tool
	s.cmd.Dir, s.cmd.SysProcAttr = s.dir, who.attributes(true)
	s.cmd.Stderr = s.log
	started := make(chan error, 1)
	go s.run(started)
	if err := <-started; err != nil {
		s.cmd = nil
		return fmt.Errorf("postgres: %w", err)
	}
	select {
	case <-s.log.ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("postgres exited at start:\n%s", s.log)
	case <-ctx.Done():
		return fmt.Errorf("postgres did not start: %w\n%s", ctx.Err(), s.log)
	}
}

// Restart stops the server as a crash would when immediate is set, else in its own "fast" way, and starts it again on the same data.
func (s *Server) Restart(ctx context.Context, immediate bool) error {
	signal := os.Interrupt
	if immediate {
		signal = syscall.SIGQUIT
	}
	if err := s.halt(ctx, signal); err != nil {
		return err
	}
	return s.again(ctx)
}

// Stop stops the server; what it returns starts it again on the same data.
func (s *Server) Stop(ctx context.Context) (start func(context.Context) error, err error) {
	return s.again, s.halt(ctx, os.Interrupt)
}

func (s *Server) halt(ctx context.Context, signal os.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-s.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run keeps the thread that started the server: the kernel stops the server when that thread ends.
func (s *Server) run(started chan<- error) {
	runtime.LockOSThread()
	err := s.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = s.cmd.Wait()
	close(s.exited)
}

// Close stops the server and removes its folder.
func (s *Server) Close() error {
	if s.cmd != nil {
		// SIGINT is PostgreSQL's "fast" shutdown: sessions end, nothing is waited for.
		if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-s.exited:
		case <-time.After(startTime):
			if err := s.cmd.Process.Kill(); err != nil {
				return err
			}
			<-s.exited
		}
	}
	return os.RemoveAll(s.dir)
}

// DSN is the connection string of a database.
func (s *Server) DSN(database string) string {
	q := url.Values{"host": {s.dir}, "user": {superuser}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// Template makes a database that prepare fills, for example with the schema; Database then makes copies of it, which is quicker.
func (s *Server) Template(ctx context.Context, prepare func(dsn string) error) error {
	const name = "prepared"
	if err := s.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	if err := prepare(s.DSN(name)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.template = name
	return nil
}

// Database makes a database for the test and returns its connection string: a copy of the template, or an empty one when there is none. It is
// dropped afterwards, with all its sessions.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	template := s.template
	s.mu.Unlock()
	return s.database(t, template)
}

// Empty makes an empty database for the test, whether there is a template or not.
func (s *Server) Empty(t testing.TB) string {
	t.Helper()
	return s.database(t, "")
}

func (s *Server) database(t testing.TB, template string) string {
	t.Helper()
	s.mu.Lock()
	s.next++
	name := fmt.Sprintf("t%d", s.next)
	s.mu.Unlock()
	query := "CREATE DATABASE " + name
	if template != "" {
		query += " TEMPLATE " + template
	}
	if err := s.Exec(t.Context(), query); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s.DSN(name)
}

// Exec runs a statement as the superuser of the cluster, outside every test database.
func (s *Server) Exec(ctx context.Context, query string) (err error) {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, query)
	return err
}

// startLog collects what the server says and tells when it is ready.
type startLog struct {
	mu    sync.Mutex
	text  strings.Builder
	ready chan struct{}
	once  sync.Once
}

func newStartLog() *startLog { return &startLog{ready: make(chan struct{})} }

// Write implements io.Writer.
func (l *startLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() < 1<<20 {
		l.text.Write(p)
	}
	if strings.Contains(l.text.String(), "ready to accept connections") {
		l.once.Do(func() { close(l.ready) })
	}
	return len(p), nil
}

// String returns the text so far.
func (l *startLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

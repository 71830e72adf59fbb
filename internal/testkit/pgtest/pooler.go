package pgtest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// poolerPort names the pooler's socket; the folder is its own, so any number will do.
const poolerPort = "6432"

// Pooler is a PgBouncer in transaction mode before a server.
type Pooler struct {
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// Pooler starts a PgBouncer for the test and stops it afterwards. The test is skipped where there is none.
func (s *Server) Pooler(t testing.TB) *Pooler {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !executable(program) {
			t.Skip("needs pgbouncer, a package of every distribution")
		}
	}
	dir, err := os.MkdirTemp("", "kneo-pooler-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &Pooler{dir: dir, done: make(chan struct{})}
	if err := p.start(program, s.dir); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-p.done
	})
	if err := p.listening(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return p
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func (p *Pooler) start(program, server string) error {
	who, err := runAs(p.dir)
	if err != nil {
		return err
	}
	config := filepath.Join(p.dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s user=%s
[pgbouncer]
listen_addr =
unix_socket_dir = %s
listen_port = %s
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
`, server, superuser, p.dir, poolerPort)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil { //nolint:gosec // another user reads it
		return err
	}
	p.cmd = exec.Command(program, "-q", config) //nolint:gosec // a test tool
	p.cmd.Dir, p.cmd.SysProcAttr = p.dir, who.attributes(true)
	started := make(chan error, 1)
	go func() {
		// The kernel stops the pooler when the thread that started it ends.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	return <-started
}

// listening waits for the pooler's socket.
func (p *Pooler) listening() error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	limit := time.After(startTime)
	for {
		if _, err := os.Stat(filepath.Join(p.dir, ".s.PGSQL."+poolerPort)); err == nil {
			return nil
		}
		select {
		case <-look.C:
		case <-p.done:
			return errors.New("pgbouncer ended at start")
		case <-limit:
			return errors.New("pgbouncer did not start")
		}
	}
}

// Through returns the connection string that leads through the pooler to the database of dsn. This PgBouncer may keep no prepared statements.
func (p *Pooler) Through(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("host", p.dir)
	q.Set("port", poolerPort)
	q.Set("default_query_exec_mode", "exec")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

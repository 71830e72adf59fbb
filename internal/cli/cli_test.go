package cli_test

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/cli"
	"github.com/kneo-go/kneo/internal/config"
)

var update = flag.Bool("update", false, "write the golden files again")

func TestMain(m *testing.M) {
	// A library of a model provider starts a goroutine that lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// machine is where commands are typed: a folder, an environment, a person's home.
type machine struct {
	dir string
	env map[string]string
	in  string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hello", "approval", "pipeline", "triage", "panel"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "examples", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &machine{dir: dir, env: map[string]string{"HOME": filepath.Join(dir, "home"), "KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS": "0.01"}}
}

// write puts a file into the machine's folder.
func (m *machine) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

func (m *machine) kneo(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := cli.Main(ctx, cli.Process{
		Args: args, In: strings.NewReader(m.in), Out: &out, Err: &errs, Env: config.FromMap(m.env), Dir: m.dir, Version: "test",
	})
	return result{code, out.String(), errs.String()}
}

// service runs a real service and returns its address.
func service(t *testing.T, settings map[string]string) string {
	t.Helper()
	all := map[string]string{"KNEO_SERV_SQLITE_PATH": ":memory:", "KNEO_SERV_REQUEST_LOGS": "false", "KNEO_SERV_LOG_LEVEL": "ERROR", "KNEO_SERV_SPEC_ROOT": t.TempDir()}
	for k, v := range settings {
		all[k] = v
	}
	cfg, err := config.Load(config.FromMap(all))
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan net.Addr, 1)
	var log bytes.Buffer
	a, err := app.New(t.Context(), cfg, app.Options{
		Host: "127.0.0.1", Version: "test", Log: &log, Env: config.FromMap(all), Ready: func(rest, _ net.Addr) { ready <- rest },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	select {
	case addr := <-ready:
		return "http://" + addr.String()
	case err := <-served:
		t.Fatal(err)
		return ""
	}
}

// Package scenario plays the YAML scenarios of this folder: in process, over gRPC and over REST, on both stores.
package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/live"
)

type seq = iter.Seq2[json.RawMessage, error]

var server *pgtest.Server

func TestMain(m *testing.M) {
	code := pgtest.Main(m, func(s *pgtest.Server) error {
		server = s
		return nil
	})
	// The statistics and the clock of two libraries live as long as the process.
	err := goleak.Find(goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestScenarios plays every scenario without a crash, in every way and on every store.
func TestScenarios(t *testing.T) {
	t.Setenv("HOUSE_KEY", "k")
	all := testkit.LoadScenarios(t, ".")
	services := map[string]*service{} // all before the first request: the gateway's library initialises a variable of its own with each
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, way := range []string{"grpc", "rest"} {
			services[way+kind] = start(t, kind)
		}
	}
	t.Run("ways", func(t *testing.T) {
		for _, kind := range []string{"sqlite", "postgres"} {
			t.Run("in process on "+kind, func(t *testing.T) {
				t.Parallel()
				inProcess(t, kind, all)
			})
			for _, way := range []string{"grpc", "rest"} {
				t.Run(way+" on "+kind, func(t *testing.T) {
					t.Parallel()
					services[way+kind].play(t, way, all)
				})
			}
		}
	})
}

func inProcess(t *testing.T, kind string, all []testkit.Scenario) {
	var s store.Store
	var err error
	if kind == "sqlite" {
		s, err = sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.sqlite"), Normal: true})
	} else {
		s, err = postgres.New(t.Context(), postgres.Options{DSN: server.Empty(t)})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range all {
		t.Run(all[i].Name, func(t *testing.T) {
			b := testkit.NewBenchOn(t, s)
			b.Check(&all[i], b.Play(&all[i]))
		})
	}
}

// desk is what a service asks of the world: the handlers and the model of the scenario that is played.
type desk struct {
	handlers atomic.Pointer[testkit.Handlers]
}

// service is a running service with its world.
type service struct {
	*live.Service
	desk  *desk
	model live.Object
}

func start(t *testing.T, kind string) *service {
	t.Helper()
	d := &desk{}
	d.handlers.Store(testkit.NewHandlers())
	provider := httptest.NewServer(d)
	t.Cleanup(provider.Close)
	settings := map[string]string{"HOUSE_KEY": "k", "KNEO_SERV_WORKER_CONCURRENCY": "1"}
	if kind == "postgres" {
		settings["KNEO_SERV_DATABASE_URL"] = server.Empty(t)
	}
	s := live.Start(t, settings)
	register(t, s.Handlers(), d)
	model := live.Object{"provider": "kit", "name": "kit", "extra": live.Object{"base_url": provider.URL + "/v1", "api_key_ref": "HOUSE_KEY"}}
	return &service{s, d, model}
}

// play plays all scenarios through the service.
func (s *service) play(t *testing.T, way string, all []testkit.Scenario) {
	conn := s.Dial()
	for i := range all {
		sc := &all[i]
		t.Run(sc.Name, func(t *testing.T) {
			h := testkit.NewHandlers()
			h.UseTokens(sc.Usage)
			s.desk.handlers.Store(h)
			var in door = rest{s.Service}
			if way == "grpc" {
				in = rpc{t, client.New(conn, client.Options{Retry: client.NoRetry})}
			}
			through(t, in, h, sc, s.model, fmt.Sprintf("s%d", i))
		})
	}
}

// register makes the handlers of the testkit callable in a service, under every name that scenarios use.
func register(t *testing.T, into *handler.Registry, d *desk) {
	t.Helper()
	add := func(kind handler.Kind, name string, fn handler.Func) {
		if err := into.Register(handler.Definition{Name: name, Kind: kind, Idempotent: true}, fn); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"upper", "bracket", "identity", "classify", "flaky", "slow", "fail"} {
		add(handler.Function, "kit.functions."+name, func(ctx context.Context, input json.RawMessage, m handler.Meta) (json.RawMessage, error) {
			out, err := d.handlers.Load().CallFunction(ctx, &plan.Function{Implementation: name}, handler.Text(input), m.RunID, m.IdempotencyKey)
			var failed *run.StepError
			if errors.As(err, &failed) {
				return nil, &handler.Error{Code: handler.CodeFailed, Message: failed.Message, Retryable: !failed.Permanent}
			}
			if err != nil {
				return nil, err
			}
			return json.Marshal(out)
		})
	}
	call := func(name string) handler.Func {
		return func(ctx context.Context, input json.RawMessage, m handler.Meta) (json.RawMessage, error) {
			return d.handlers.Load().Call(ctx, "", name, input, m)
		}
	}
	for _, name := range []string{"web_search", "broken"} {
		add(handler.Tool, "kit.tools."+name, call(name))
	}
	for _, prefix := range []string{"kit.functions.", "kit.retrievers.", "kit."} {
		add(handler.Retriever, prefix+"notes", call("notes"))
		add(handler.Guardrail, prefix+"noleak", call("noleak"))
	}
}

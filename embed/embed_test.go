package embed_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/embed"
	"github.com/kneo-go/kneo/worker"
)

func TestMain(m *testing.M) {
	// A library of a model provider starts a goroutine that lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const approval = `{"version":"v1","agent":{"name":"desk"},
	"components":{"agents":{"writer":{"name":"writer"}},"humans":{"lead":{"description":"Approve?"}}},
	"workflow":{"type":"sequential","name":"reply","steps":[{"id":"draft","kind":"agent","ref":"writer"},{"id":"approve","kind":"human","ref":"lead"}]}}`

func open(t *testing.T, o embed.Options) *embed.Platform {
	t.Helper()
	p, err := embed.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestQueuedRunWaitsForAPersonAcrossProcesses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "state.db")
	first, err := embed.Open(ctx, embed.Options{Path: path, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	id, err := first.Client().Start(ctx, client.RunRequest{Spec: approval, Input: "a refund"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := first.Client().Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if r.GetStatus() != "blocked" || r.GetContinuationId() == "" {
		t.Fatalf("the run is %s, want blocked", r.GetStatus())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, embed.Options{Path: path})
	out, err := second.Client().Answer(ctx, r.GetContinuationId(), client.Approve())
	if err != nil {
		t.Fatal(err)
	}
	if out.GetStatus() != "completed" {
		t.Errorf("the run is %s, want completed", out.GetStatus())
	}
	var kinds []string
	for event, err := range second.Client().Watch(ctx, id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, event.GetKind())
	}
	if got := strings.Join(kinds, " "); !strings.Contains(got, "blocked") || !strings.HasSuffix(got, "completed") {
		t.Errorf("events are %s", got)
	}
	n := 0
	for event, err := range second.Client().Trace(ctx, id) {
		if err != nil || !json.Valid(event) {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Error("the trace is empty")
	}
}

func TestHandlerErrorsKeepTheirCode(t *testing.T) {
	w := worker.New(worker.Options{})
	w.Function("shop.fail", func(context.Context, string) (string, error) {
		return "", &worker.Error{Code: "out_of_stock", Message: "Nothing left."}
	})
	p := open(t, embed.Options{Handlers: w})
	out, err := p.Client().Run(t.Context(), client.RunRequest{Input: "x", Spec: `{"version":"v1","agent":{"name":"a"},
		"components":{"functions":{"f":{"implementation":"shop.fail"}}},"workflow":{"type":"sequential","steps":[{"id":"f","kind":"function","ref":"f"}]}}`})
	if err != nil {
		t.Fatal(err)
	}
	if out.GetStatus() != "failed" || !strings.Contains(string(out.GetMetadata().GetRaw()), "Nothing left.") {
		t.Errorf("got %s %s", out.GetStatus(), out.GetMetadata().GetRaw())
	}
}

func TestMistakesAreToldAtOpen(t *testing.T) {
	twice := worker.New(worker.Options{})
	fn := func(_ context.Context, text string) (string, error) { return text, nil }
	twice.Function("a", fn)
	twice.Function("a", fn)
	for name, o := range map[string]embed.Options{
		"a handler twice": {Handlers: twice},
		"a bad setting":   {Settings: map[string]string{"KNEO_SERV_WORKER_LEASE_SECONDS": "soon"}},
		"no address":      {Listen: "here"},
		"a port in use":   {Listen: "127.0.0.1:-1"},
	} {
		if p, err := embed.Open(t.Context(), o); err == nil {
			t.Errorf("%s: opened", name)
			_ = p.Close()
		}
	}
}

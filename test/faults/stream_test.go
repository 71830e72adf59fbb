package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/test/live"
)

// gates holds back runs by their input until somebody watches them, because models stream only then.
var gates sync.Map

func waitAtGate(ctx context.Context, input json.RawMessage, _ handler.Meta) (json.RawMessage, error) {
	gate, ok := gates.Load(string(input))
	if !ok {
		return input, nil
	}
	select {
	case <-gate.(chan struct{}):
		return input, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// streamed plays turns of a scripted model while the run is watched.
func streamed(provider string, turns ...llmtest.Turn) func(*testing.T, *live.Service) (int, live.Object) {
	return func(t *testing.T, s *live.Service) (int, live.Object) {
		t.Helper()
		model := llmtest.New(t, turns...)
		gate, input := make(chan struct{}), t.Name()
		text, err := json.Marshal(input)
		if err != nil {
			t.Fatal(err)
		}
		gates.Store(string(text), gate)
		spec := agentSpec(model.URL, nil, nil)
		spec["components"] = live.Object{
			"agents": live.Object{"a": live.Object{
				"name": "a", "model": live.Object{"provider": provider, "name": "m", "extra": live.Object{"base_url": model.URL}},
			}},
			"functions": live.Object{"gate": live.Object{"implementation": "kit.gate"}},
		}
		spec["workflow"] = live.Object{"type": "sequential", "name": "w", "steps": []any{
			live.Object{"id": "wait", "kind": "function", "ref": "gate"}, live.Object{"id": "x", "kind": "agent", "ref": "a"},
		}}
		code, answer := s.Call(http.MethodPost, "/v1/runs", live.Object{"spec": spec, "input": input, "async_mode": true})
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		watch, err := kneov1.NewEventServiceClient(s.Dial()).WatchRun(ctx, &kneov1.WatchRunRequest{RunId: live.Text(answer, "run_id")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		close(gate)
		s.Settle(live.Text(answer, "run_id"))
		if requests := model.Requests(); len(requests) == 0 || provider == "openai" && requests[0].Body["stream"] != true {
			t.Error("the model was not asked to stream")
		}
		return code, answer
	}
}

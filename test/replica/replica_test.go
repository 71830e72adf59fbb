package replica_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/kneo-go/kneo/test/live"
)

// slowModel is a model that answers when it is told to, and tells when nobody wants its answer any more.
type slowModel struct {
	url                      string
	asked, release, unwanted chan struct{}
}

func newSlowModel(t *testing.T) *slowModel {
	m := &slowModel{asked: make(chan struct{}, 10), release: make(chan struct{}, 10), unwanted: make(chan struct{}, 10)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any // the server notices that a caller has gone when the request has been read
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m.asked <- struct{}{}
		select {
		case <-m.release:
		case <-r.Context().Done():
			m.unwanted <- struct{}{}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"c","created":1,"model":"m","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop",` +
			`"message":{"role":"assistant","content":"answer"}}]}`))
	}))
	t.Cleanup(s.Close)
	m.url = s.URL + "/v1"
	return m
}

// spec is an agent behind a human step, or the agent alone.
func (m *slowModel) spec(gate bool) live.Object {
	agent := live.Object{"name": "slow", "model": live.Object{"provider": "house", "name": "m", "extra": live.Object{"base_url": m.url, "api_key_ref": "HOUSE_KEY"}}}
	steps := []any{live.Object{"id": "ask", "kind": "agent", "ref": "slow"}}
	if gate {
		steps = []any{live.Object{"id": "review", "kind": "human", "ref": "review"}, steps[0]}
	}
	return live.Object{
		"version": "v1", "agent": live.Object{"name": "root"},
		"components": live.Object{"agents": live.Object{"slow": agent}, "humans": live.Object{"review": live.Object{"request_type": "freeform"}}},
		"workflow":   live.Object{"name": "w", "type": "sequential", "steps": steps},
	}
}

const patience = 20 * time.Second

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
}

// pairs runs a test with two replicas on one PostgreSQL, and with two behind a pooler.
func pairs(t *testing.T, test func(t *testing.T, a, b *live.Service)) {
	for name, settings := range map[string]func(*testing.T) map[string]string{
		"direct": func(t *testing.T) map[string]string {
			return map[string]string{"KNEO_SERV_DATABASE_URL": database.Empty(t)}
		},
		"pooler": pooled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOUSE_KEY", "k")
			env := settings(t)
			env["HOUSE_KEY"] = "k"
			test(t, live.Start(t, env), live.Start(t, env))
		})
	}
}

// answer is what a request in the background got.
type answer struct {
	code int
	body live.Object
}

func background(s *live.Service, path string, body any) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		code, got := s.Call(http.MethodPost, path, body)
		out <- answer{code, got}
	}()
	return out
}

func only(t *testing.T, b *live.Service, status string) live.Object {
	t.Helper()
	list := live.Objects(b.OK(http.MethodGet, "/v1/runs?limit=1&status="+status, nil)["runs"])
	if len(list) != 1 {
		t.Fatalf("%d runs are %s", len(list), status)
	}
	return list[0]
}

// TestCancelReachesAnotherReplica: the provider call of a run ends within a second after another replica was asked to cancel it.
func TestCancelReachesAnotherReplica(t *testing.T) { pairs(t, cancelElsewhere) }

func cancelElsewhere(t *testing.T, a, b *live.Service) {
	m := newSlowModel(t)
	best := patience
	for range 3 { // a machine that does something else for a while is no failure
		created := background(a, "/v1/runs", live.Object{"input": "x", "spec": m.spec(false)})
		await(t, "the question", m.asked)
		id := live.Text(only(t, b, "running"), "id")
		begun := time.Now()
		if got := b.OK(http.MethodPost, "/v1/runs/"+id+"/cancel", nil); got["status"] != "cancelled" {
			t.Errorf("the answer to cancel says %v", got["status"])
		}
		await(t, "the end of the call", m.unwanted)
		best = min(best, time.Since(begun))
		if got := <-created; got.body["status"] != "cancelled" && live.Text(live.Sub(got.body, "detail"), "error") == "" {
			t.Errorf("the creator got %d %v", got.code, got.body)
		}
		if r := a.OK(http.MethodGet, "/v1/runs/"+id, nil); r["status"] != "cancelled" {
			t.Errorf("the run is %v", r["status"])
		}
	}
	if best > time.Second {
		t.Errorf("the call ended %s after the cancellation", best)
	}
	t.Logf("the call ended %s after the cancellation", best)
}

func decision(s *live.Service, task string) live.Object {
	request := live.Sub(s.OK(http.MethodGet, "/v1/human-tasks/"+task, nil), "request")
	return live.Object{"request_id": request["id"], "decision": "provided", "content": "y"}
}

// TestResumeOnAnotherReplica: the replica that is asked goes on with the run, and a second answer meanwhile is refused by every replica.
func TestResumeOnAnotherReplica(t *testing.T) { pairs(t, resumeElsewhere) }

func resumeElsewhere(t *testing.T, a, b *live.Service) {
	m := newSlowModel(t)
	created := a.OK(http.MethodPost, "/v1/runs", live.Object{"input": "x", "spec": m.spec(true)})
	task, id := live.Text(created, "continuation_id"), live.Text(created, "run_id")
	body := decision(b, task)
	resumed := background(b, "/v1/human-tasks/"+task+"/resume", body)
	await(t, "the question", m.asked)
	for _, s := range []*live.Service{a, b} {
		if code, got := s.Call(http.MethodPost, "/v1/human-tasks/"+task+"/resume", body); code != http.StatusConflict || live.Text(live.Sub(got, "detail"), "error") != "resource_locked" {
			t.Errorf("the second answer: %d %v", code, got)
		}
	}
	m.release <- struct{}{}
	if got := <-resumed; got.code != http.StatusOK || got.body["status"] != "completed" || got.body["output_text"] != "answer" {
		t.Errorf("the first answer: %d %v", got.code, got.body)
	}
	if r := a.OK(http.MethodGet, "/v1/runs/"+id, nil); r["status"] != "completed" {
		t.Errorf("the run is %v", r["status"])
	}
}

// TestCancelWhilePaused: a run that waits for a person ends at once, and its task takes no answer any more.
func TestCancelWhilePaused(t *testing.T) { pairs(t, cancelPaused) }

func cancelPaused(t *testing.T, a, b *live.Service) {
	m := newSlowModel(t)
	created := a.OK(http.MethodPost, "/v1/runs", live.Object{"input": "x", "spec": m.spec(true)})
	task, id := live.Text(created, "continuation_id"), live.Text(created, "run_id")
	body := decision(a, task)
	if got := b.OK(http.MethodPost, "/v1/runs/"+id+"/cancel", nil); got["status"] != "cancelled" {
		t.Errorf("the answer to cancel says %v", got["status"])
	}
	if code, got := a.Call(http.MethodPost, "/v1/human-tasks/"+task+"/resume", body); code < http.StatusBadRequest {
		t.Errorf("an answer after the cancellation: %d %v", code, got)
	}
	if r := a.OK(http.MethodGet, "/v1/runs/"+id, nil); r["status"] != "cancelled" {
		t.Errorf("the run: %v", r)
	}
	if n := len(live.Objects(a.OK(http.MethodGet, "/v1/human-tasks?run_id="+id, nil)["tasks"])); n != 0 {
		t.Errorf("%d tasks are open", n)
	}
}

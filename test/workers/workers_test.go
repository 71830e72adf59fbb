// Package workers serves the functions of the sample specs with the Python worker and compares every recorded run that calls one.
package workers

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/childworker"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/test/live"
)

const corpus = "../../internal/spec/testdata/corpus"

// modules are what the workers serve.
var modules = []string{"kneo_demo.functions", "kneo_calls"}

// doors are the ways in which the Python worker is connected.
var doors = map[string]func(*testing.T, *live.Service){"lines": servePython, "grpc": serveRemotely}

// recordedRun is one recorded run: a request, its answer, and the answers to every human task.
type recordedRun struct {
	File        string      `json:"file"`
	Input       string      `json:"input"`
	Target      string      `json:"target"`
	Request     live.Object `json:"request"`
	HTTPStatus  int         `json:"http_status"`
	Status      string      `json:"status"`
	Output      string      `json:"output_text"`
	Visited     []string    `json:"visited"`
	Termination string      `json:"termination"`
	Detail      live.Object `json:"detail"`
	Resumes     []struct {
		Response    live.Object `json:"response"`
		HTTPStatus  int         `json:"http_status"`
		Status      string      `json:"status"`
		Output      string      `json:"output_text"`
		Visited     []string    `json:"visited"`
		Termination string      `json:"termination"`
	} `json:"resumes"`
}

func readRuns(t *testing.T) []recordedRun {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(corpus, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Runs []recordedRun }
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest.Runs
}

// environment is what a Python worker finds its package and the functions of the sample specs with.
func environment(t *testing.T) []string {
	t.Helper()
	path := func(name string) string {
		abs, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		return abs
	}
	return append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1",
		"PYTHONPATH="+path("../../workers/python/src")+string(os.PathListSeparator)+path("testdata"))
}

// servePython starts the Python worker behind a process that holds its connection.
func servePython(t *testing.T, s *live.Service) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("Python is needed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	conn, env := s.Dial(), environment(t)
	go func() {
		ended <- childworker.Run(ctx, conn, childworker.Options{
			Command: childworker.Python(python, modules, nil, nil, 4, "demo"), Env: env, Stderr: os.Stderr,
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	answers(t, s)
}

// serveRemotely starts the Python worker that speaks gRPC itself. A signal drains it, and then it ends well.
func serveRemotely(t *testing.T, s *live.Service) {
	t.Helper()
	python := os.Getenv("KNEO_TEST_PYTHON")
	if python == "" {
		t.Skip("needs KNEO_TEST_PYTHON, a Python with grpcio and protobuf, as make test prepares it")
	}
	args := []string{"-m", "kneo_worker", "--via", "grpc", "--service-url", "http://" + s.GRPC}
	for _, module := range modules {
		args = append(args, "--module", module)
	}
	cmd := exec.Command(python, args...)
	cmd.Env, cmd.Stderr, cmd.WaitDelay = environment(t), os.Stderr, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("worker: %v", err)
			}
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Error("the worker does not leave")
		}
	})
	answers(t, s)
}

// answers waits until the worker is there.
func answers(t *testing.T, s *live.Service) {
	t.Helper()
	limit, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if out, err := s.Handlers().Call(limit, handler.Function, "kneo_demo.functions.shout", json.RawMessage(`"a"`), handler.Meta{}); err != nil || string(out) != `"A"` {
		t.Fatalf("the worker does not answer: %s, %v", out, err)
	}
}

func visited(answer live.Object) []string {
	flow := live.Sub(answer, "metadata", "workflow")
	list, ok := flow["visited_nodes"].([]any)
	if !ok {
		list, _ = flow["visited_steps"].([]any)
	}
	var out []string
	for _, v := range list {
		name, _ := v.(string)
		out = append(out, name)
	}
	return out
}

// outcome is what is compared of an answer.
type outcome struct {
	HTTP                int
	Status, Output      string
	Visited             string
	Termination         string
	Problem, Reason     string
	Kind, ContinuesWith string
}

func outcomeOf(code int, answer live.Object) outcome {
	detail := live.Sub(answer, "detail")
	return outcome{
		HTTP: code, Status: live.Text(answer, "status"), Output: live.Text(answer, "output_text"), Visited: strings.Join(visited(answer), " "),
		Termination: live.Text(live.Sub(answer, "metadata", "workflow"), "termination"),
		Problem:     live.Text(detail, "error"), Reason: live.Text(detail, "message"), Kind: live.Text(detail, "violation_type"),
	}
}

// TestRecordedRuns plays all recorded runs through both doors of the Python worker, in their order, because one function remembers what it was called
// with.
func TestRecordedRuns(t *testing.T) {
	root, err := filepath.Abs(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for door, serve := range doors {
		t.Run(door, func(t *testing.T) {
			s := live.Start(t, map[string]string{"KNEO_SERV_SPEC_ROOT": root, "KNEO_SERV_FORCE_DUMMY_PROVIDER": "true"})
			serve(t, s)
			for _, r := range readRuns(t) {
				t.Run(r.File+"/"+r.Input[:min(len(r.Input), 24)], func(t *testing.T) { play(t, s, &r) })
			}
		})
	}
}

// TestPythonKnowsItsCall: what the server says of a call reaches the function through both doors, and a call ends at its deadline.
func TestPythonKnowsItsCall(t *testing.T) {
	for door, serve := range doors {
		t.Run(door, func(t *testing.T) {
			s := live.Start(t, nil)
			serve(t, s)
			deadline := time.Date(2999, 1, 2, 3, 4, 5, 678901000, time.UTC)
			meta := handler.Meta{RunID: "run", IdempotencyKey: "key", Deadline: deadline, TraceParent: "00-a-b-01"}
			out, err := s.Handlers().Call(t.Context(), handler.Function, "kneo_calls.facts", json.RawMessage(`"a"`), meta)
			if want := `["a", 1, "key", "run", "2999-01-02 03:04:05.678901+00:00", "00-a-b-01"]`; err != nil || handler.Text(out) != want {
				t.Errorf("%s, %v, not %s", out, err, want)
			}
			meta.Deadline = time.Now().Add(200 * time.Millisecond)
			_, err = s.Handlers().Call(t.Context(), handler.Function, "kneo_calls.forever", json.RawMessage(`"a"`), meta)
			if failed := handler.AsError(err); failed == nil || failed.Code != handler.CodeTimeout || !failed.Retryable || time.Now().Before(meta.Deadline) {
				t.Errorf("after the deadline: %v", err)
			}
		})
	}
}

func play(t *testing.T, s *live.Service, r *recordedRun) {
	t.Helper()
	request := live.Object{"spec_path": r.File, "input": r.Input, "target": r.Target}
	for k, v := range r.Request {
		request[k] = v
	}
	code, answer := s.Call("POST", "/v1/runs", request)
	want := outcome{
		HTTP: r.HTTPStatus, Status: r.Status, Output: r.Output, Visited: strings.Join(r.Visited, " "), Termination: r.Termination,
		Problem: live.Text(r.Detail, "error"), Reason: live.Text(r.Detail, "message"), Kind: live.Text(r.Detail, "violation_type"),
	}
	if d := cmp.Diff(want, outcomeOf(code, answer)); d != "" {
		t.Fatalf("%s\n%v", d, answer)
	}
	for i, resume := range r.Resumes {
		resume.Response["request_id"] = "recorded"
		code, answer = s.Call("POST", "/v1/human-tasks/"+live.Text(live.Sub(answer, "metadata"), "continuation_id")+"/resume", resume.Response)
		want := outcome{HTTP: resume.HTTPStatus, Status: resume.Status, Output: resume.Output, Visited: strings.Join(resume.Visited, " "), Termination: resume.Termination}
		if d := cmp.Diff(want, outcomeOf(code, answer)); d != "" {
			t.Fatalf("answer %d: %s\n%v", i, d, answer)
		}
	}
}

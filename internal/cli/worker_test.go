package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/cli"
	"github.com/kneo-go/kneo/internal/config"
)

const (
	corpus = "../spec/testdata/corpus"
	// patience bounds every command of these tests.
	patience = time.Minute
)

// needPython skips a test where there is no Python; CI has it.
func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no python3 on this machine")
	}
}

// newPythonMachine is a machine with the sample specs and the Python functions they name.
func newPythonMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	specs, err := filepath.Glob(filepath.Join(corpus, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(specs, "../../test/workers/testdata/kneo_demo/__init__.py", "../../test/workers/testdata/kneo_demo/functions.py") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if filepath.Ext(name) == ".py" {
			name = filepath.Join("kneo_demo", name)
		}
		m.write(t, name, string(text))
	}
	return m
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// recordedRun is what the reference answered.
type recordedRun struct {
	File    string          `json:"file"`
	Input   string          `json:"input"`
	Target  string          `json:"target"`
	Request json.RawMessage `json:"request"`
	Status  string          `json:"status"`
	Output  string          `json:"output_text"`
	Resumes []struct {
		Response map[string]string `json:"response"`
		Status   string            `json:"status"`
		Output   string            `json:"output_text"`
	} `json:"resumes"`
}

// answer is what a command prints of a run that moved on.
type answer struct {
	RunID    string `json:"run_id"`
	Status   string `json:"status"`
	Output   string `json:"output_text"`
	Task     string `json:"continuation_id"`
	Metadata struct {
		Request struct {
			ID string `json:"id"`
		} `json:"request"`
	} `json:"metadata"`
}

func answered(t *testing.T, r result) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(r.out), &a); err != nil {
		t.Fatalf("%v\n%s%s", err, r.out, r.err)
	}
	return a
}

// TestRecordedRunsWithPython runs the sample specs that name Python functions, each command in a process of its own, and answers their tasks.
func TestRecordedRunsWithPython(t *testing.T) {
	needPython(t)
	text, err := os.ReadFile(filepath.Join(corpus, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Runs []recordedRun }
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	chosen := map[string]bool{"02": true, "04": true, "05": true, "13": true, "14": true, "17": true, "18": true, "22": true}
	played := 0
	for _, want := range manifest.Runs {
		if !chosen[want.File[:2]] || want.Status == "" || len(want.Request) > len("{}") {
			continue
		}
		played++
		t.Run(want.File+"/"+want.Input, func(t *testing.T) {
			t.Parallel()
			playRecorded(t, newPythonMachine(t), &want)
		})
	}
	if played < len(chosen) {
		t.Errorf("%d recorded runs of %d files", played, len(chosen))
	}
}

func playRecorded(t *testing.T, m *machine, want *recordedRun) {
	t.Helper()
	a := answered(t, m.kneo(patient(t), "run", want.File, "-i", want.Input, "--target", want.Target, "--json"))
	if a.Status != want.Status || a.Output != want.Output {
		t.Fatalf("%s %q, want %s %q", a.Status, a.Output, want.Status, want.Output)
	}
	for _, w := range want.Resumes {
		if w.Response["decision"] != "approved" {
			return
		}
		a = answered(t, m.kneo(patient(t), "human", "resume", a.Task, "--request-id", a.Metadata.Request.ID, "--approve", "--json"))
		if a.Status != w.Status || a.Output != w.Output {
			t.Fatalf("answered: %s %q, want %s %q", a.Status, a.Output, w.Status, w.Output)
		}
	}
}

const twoFunctions = `version: v1
agent: { name: root }
workflow:
  type: sequential
  name: two
  steps:
    - { id: one, kind: function, ref: one }
components:
  functions:
    one: { implementation: MODULE }
`

func TestRunWithoutPython(t *testing.T) {
	m := newPythonMachine(t)
	m.write(t, "two.yaml", strings.ReplaceAll(twoFunctions, "MODULE", "kneo_demo.functions.shout"))
	refused := []string{"E_BUILD_HANDLER", "'kneo_demo.functions.shout'"}
	expect(t, m.kneo(patient(t), "run", "two.yaml", "-i", "x", "--no-python"), 1, append(refused, "Without --no-python")...)
	m.env["KNEO_PYTHON"] = "none/python"
	expect(t, m.kneo(patient(t), "run", "two.yaml", "-i", "x"), 1, append(refused, "none/python was not found", "KNEO_PYTHON")...)
	expect(t, m.kneo(patient(t), "run", "hello.yaml", "-i", "x"), 0)
	if n := count(t, m.kneo(patient(t), "runs", "list", "--json")); n != 1 {
		t.Errorf("%d runs, want only the good one", n)
	}
}

func TestRunWithBrokenPython(t *testing.T) {
	needPython(t)
	m := newPythonMachine(t)
	m.write(t, "broken_module.py", "import nothing_of_this_name\n")
	for name, c := range map[string]struct{ implementation, reason string }{
		"module":   {"absent_module.shout", "No module named 'absent_module'"},
		"import":   {"broken_module.shout", "No module named 'nothing_of_this_name'"},
		"function": {"kneo_demo.functions.absent", "has no absent"},
	} {
		m.write(t, name+".yaml", strings.ReplaceAll(twoFunctions, "MODULE", c.implementation))
		expect(t, m.kneo(patient(t), "run", name+".yaml", "-i", "x"), 1, "E_BUILD_HANDLER", c.reason, "No Python worker serves them")
	}
}

// TestContinueWithPython lets a run fail in a function and goes on after the function was mended.
func TestContinueWithPython(t *testing.T) {
	needPython(t)
	m := newPythonMachine(t)
	m.write(t, "mine.py", "def work(text):\n    raise RuntimeError('not yet')\n")
	m.write(t, "two.yaml", strings.ReplaceAll(twoFunctions, "MODULE", "mine.work"))
	expect(t, m.kneo(patient(t), "run", "two.yaml", "-i", "x"), 1, "not yet")
	var list struct{ Runs []struct{ ID string } }
	if err := json.Unmarshal([]byte(m.kneo(patient(t), "runs", "list", "--json").out), &list); err != nil || len(list.Runs) != 1 {
		t.Fatal(err, list)
	}
	// Another size, so that compiled code of the same second is not taken for it.
	m.write(t, "mine.py", "def work(text):\n    return 'done ' + text\n")
	expect(t, m.kneo(patient(t), "runs", "continue", list.Runs[0].ID), 0, "done x")
}

// watched is an error stream that tells when a text appears.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(p)
	if w.want != "" && strings.Contains(w.text.String(), w.want) {
		w.want = ""
		close(w.seen)
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestWorkerPython(t *testing.T) {
	needPython(t)
	url := service(t, map[string]string{"KNEO_SERV_API_KEYS": "ada:key1:admin"})
	m := newPythonMachine(t)
	m.env["KNEO_SERV_API_KEY"] = "key1"
	errs := &watched{want: "registered with the server", seen: make(chan struct{})}
	ctx, stop := context.WithCancel(patient(t))
	defer stop()
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, cli.Process{
			Args: []string{"worker", "python", "--module", "kneo_demo.functions", "--service-url", url, "--name", "demo", "--max-concurrency", "4"},
			In:   strings.NewReader(""), Out: &bytes.Buffer{}, Err: errs, Env: config.FromMap(m.env), Dir: m.dir, Version: "test",
		})
	}()
	select {
	case <-errs.seen:
	case code := <-ended:
		t.Fatalf("exit %d: %s", code, errs)
	}
	expect(t, m.kneo(patient(t), "run", "04_graph_routing.yaml", "-i", "plain note", "--service-url", url), 0, "Final answer: ROUTINE PLAIN NOTE")
	expect(t, m.kneo(patient(t), "run", "17_guardrails.yaml", "-i", "a", "--service-url", url), 0, "Final answer: A")
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestWorkerPythonRefusals(t *testing.T) {
	needPython(t)
	url := service(t, map[string]string{"KNEO_SERV_API_KEYS": "ada:key1:admin;vic:key2:viewer"})
	m := newPythonMachine(t)
	serve := func(args ...string) result {
		return m.kneo(patient(t), append([]string{"worker", "python", "--service-url", url}, args...)...)
	}
	expect(t, serve(), 2, "'--module' or '--handler'")
	expect(t, serve("--module", "kneo_demo", "--max-concurrency", "0"), 2, "at least 1")
	expect(t, serve("--module", "kneo_demo", "--python", "none/python"), 1, "none/python was not found", "--python")
	expect(t, serve("--module", "absent_module"), 1, "absent_module cannot be imported", "ended before it registered")
	expect(t, serve("--module", "kneo_demo"), 1, "Service request failed (401 Unauthorized)", "Give a key")
	m.env["KNEO_SERV_API_KEY"] = "key2"
	expect(t, serve("--handler", "kneo_demo.functions.shout"), 1, "403 Forbidden", "lacks a scope")
	expect(t, m.kneo(patient(t), "worker", "python", "--module", "kneo_demo"), 1, "a worker needs a service")
	expect(t, m.kneo(patient(t), "worker", "python", "--module", "kneo_demo", "--service-url", url+"/api"), 1, "no service address for workers")
}

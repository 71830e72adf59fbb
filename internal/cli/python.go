package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/childworker"
	"github.com/kneo-go/kneo/internal/compile"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/workers/python"
)

// pythonVariable names the interpreter.
const pythonVariable = "KNEO_PYTHON"

var errNoPython = errors.New("no Python interpreter was found; install Python 3.10 or later, or name one in " + pythonVariable)

// interpreter finds Python: what was asked for, the variable, or what the search path has.
func (s *shell) interpreter(given string) (string, error) {
	how := "name another one with --python"
	if given == "" {
		given, how = s.env(pythonVariable), "name another one in "+pythonVariable
	}
	if given != "" {
		if strings.ContainsRune(given, os.PathSeparator) {
			given = s.here(given)
		}
		path, err := exec.LookPath(given)
		if err != nil {
			return "", fmt.Errorf("the Python interpreter %s was not found; %s", given, how)
		}
		return path, nil
	}
	for _, name := range []string{"python3", "python"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoPython
}

// pythonProcess is what a Python worker is started with.
type pythonProcess struct {
	options childworker.Options
	// paths are the folders to import from, absolute.
	paths  []string
	remove func()
}

// pythonProcess prepares a worker in the working folder. The library that belongs to this program is unpacked for it, unless a path has one.
func (s *shell) pythonProcess(interpreter string, paths []string) (*pythonProcess, error) {
	p := &pythonProcess{remove: func() {}, options: childworker.Options{Dir: s.Dir, Stderr: s.Err}}
	library := ""
	for _, dir := range paths {
		dir = s.here(dir)
		p.paths = append(p.paths, dir)
		if library == "" && python.In(dir) {
			library = dir
		}
	}
	if library == "" {
		dir, err := os.MkdirTemp("", "kneo-python-")
		if err != nil {
			return nil, err
		}
		p.remove = func() { _ = os.RemoveAll(dir) }
		if err := python.Unpack(dir); err != nil {
			p.remove()
			return nil, fmt.Errorf("cannot unpack the Python worker library for %s: %w", interpreter, err)
		}
		library = dir
	}
	search := library
	if set := os.Getenv("PYTHONPATH"); set != "" {
		search += string(os.PathListSeparator) + set
	}
	p.options.Env = append(os.Environ(), "PYTHONPATH="+search)
	return p, nil
}

func addPythonFlag(cmd *cobra.Command, off *bool) {
	cmd.Flags().BoolVar(off, "no-python", false, "Start no Python worker for functions and tools of the spec.")
}

// implementations are the names of code that specs refer to, in their order and each one once. Names without a module are left out.
func implementations(specs ...json.RawMessage) []string {
	type named map[string]struct {
		Implementation string `json:"implementation"`
	}
	var out []string
	for _, text := range specs {
		var parts struct {
			Components struct {
				Functions json.RawMessage `json:"functions"`
			} `json:"components"`
			Functions json.RawMessage `json:"functions"`
			Tools     json.RawMessage `json:"tools"`
		}
		if json.Unmarshal(text, &parts) != nil {
			continue
		}
		for _, part := range []json.RawMessage{parts.Components.Functions, parts.Functions, parts.Tools} {
			var items named
			if json.Unmarshal(part, &items) != nil {
				continue
			}
			for _, item := range items {
				if name := handler.Canonical(item.Implementation); strings.Contains(name, ".") {
					out = append(out, name)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unserved are those of the names that nothing in this process serves.
func (c *connection) unserved(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(handler.Kinds(), func(k handler.Kind) bool { return c.app.Handlers().Has(k, name) })
	})
}

// localPython is a Python worker for one command in this process. Its zero value is none.
type localPython struct {
	// hint says why there is none although the spec has names that nobody serves.
	hint string
	stop func()
}

func (p localPython) end() {
	if p.stop != nil {
		p.stop()
	}
}

// python starts a worker for the names that nothing in this process serves, and waits until it serves them. End it before the connection.
func (s *shell) python(ctx context.Context, c *connection, names []string, off bool) localPython {
	if c.remote() {
		return localPython{}
	}
	names = c.unserved(names)
	if len(names) == 0 {
		return localPython{}
	}
	if off {
		return localPython{hint: "Without --no-python a Python worker serves them, when they are Python functions."}
	}
	interpreter, err := s.interpreter("")
	if err != nil {
		return localPython{hint: "For Python functions: " + err.Error() + "."}
	}
	stop, err := s.startPython(ctx, c, interpreter, names)
	if err != nil {
		return localPython{hint: fmt.Sprintf("No Python worker serves them: %s.", err)}
	}
	return localPython{stop: stop}
}

// localDrain bounds the wait for calls in progress when a command ends.
const localDrain = 5 * time.Second

func (s *shell) startPython(ctx context.Context, c *connection, interpreter string, names []string) (stop func(), err error) {
	project, err := s.project()
	if err != nil {
		return nil, err
	}
	paths := []string{s.Dir}
	if project.Root != s.Dir {
		paths = append(paths, project.Root)
	}
	p, err := s.pythonProcess(interpreter, paths)
	if err != nil {
		return nil, err
	}
	registered := make(chan struct{}, 1)
	p.options.Command = childworker.Python(interpreter, nil, names, p.paths, 0, "")
	p.options.Worker.DrainTimeout = localDrain
	p.options.Worker.Registered = func() {
		select {
		case registered <- struct{}{}:
		default:
		}
	}
	serving, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- childworker.Run(serving, c.app.Conn(), p.options) }()
	select {
	case <-registered:
		return func() {
			cancel()
			if err := <-ended; err != nil {
				s.err.Warn(fmt.Sprintf("The Python worker failed: %s.", err))
			}
			p.remove()
		}, nil
	case err = <-ended:
		if err == nil {
			err = context.Cause(ctx)
		}
	}
	cancel()
	p.remove()
	return nil, err
}

// pythonFor starts a worker for a stored run that goes on in this process.
func (s *shell) pythonFor(ctx context.Context, c *connection, runID string, off bool) localPython {
	if c.remote() || runID == "" {
		return localPython{}
	}
	got, err := c.Runs().GetRun(ctx, &kneov1.GetRunRequest{RunId: runID})
	if err != nil {
		// The command itself reports what is wrong with the run.
		return localPython{}
	}
	var metadata struct {
		Frozen struct {
			Base     json.RawMessage   `json:"base"`
			Overlays []json.RawMessage `json:"overlays"`
		} `json:"frozen_spec"`
	}
	if json.Unmarshal(got.GetMetadata().GetRaw(), &metadata) != nil {
		return localPython{}
	}
	p := s.python(ctx, c, implementations(append(metadata.Frozen.Overlays, metadata.Frozen.Base)...), off)
	if p.hint != "" {
		s.err.Warn("The run has functions that nothing serves here. " + p.hint)
	}
	return p
}

// pythonForTask starts a worker for the run that waits for a task.
func (s *shell) pythonForTask(ctx context.Context, c *connection, task string, off bool) localPython {
	if c.remote() {
		return localPython{}
	}
	return s.pythonFor(ctx, c, runOfTask(ctx, c, task), off)
}

// runOfTask looks an open task up; the command itself reports what is wrong with one that is not found.
func runOfTask(ctx context.Context, c *connection, task string) string {
	limit := int32(100)
	for offset := int32(0); ; offset += limit {
		open, err := c.HumanTasks().ListHumanTasks(ctx, &kneov1.ListHumanTasksRequest{Limit: &limit, Offset: &offset})
		if err != nil || len(open.GetTasks()) == 0 {
			return ""
		}
		for _, t := range open.GetTasks() {
			var known struct {
				ID    string `json:"id"`
				RunID string `json:"run_id"`
			}
			if json.Unmarshal(t.GetRaw(), &known) == nil && known.ID == task {
				return known.RunID
			}
		}
	}
}

// hintedError is an error with what to do about it.
type hintedError struct {
	err  error
	hint string
}

// Error returns the text of the error.
func (e *hintedError) Error() string { return e.err.Error() }

// Unwrap returns the error.
func (e *hintedError) Unwrap() error { return e.err }

// explain adds the hint to an error about handlers that nobody serves.
func (p localPython) explain(err error) error {
	if p.hint == "" || !slices.ContainsFunc(diagnosticsOf(err), func(d foundDiagnostic) bool { return d.Code == compile.CodeHandler }) {
		return err
	}
	return &hintedError{err, p.hint}
}

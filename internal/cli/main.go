// Package cli is the kneo command: every command calls the generated clients, over gRPC, REST or inside this process. It may import everything
// of the platform but the binary.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// Process is what a command line sees of its process.
type Process struct {
	// Args are the arguments without the name of the program.
	Args     []string
	In       io.Reader
	Out, Err io.Writer
	Env      config.Env
	// Dir is the working folder.
	Dir string
	// Version is the version of this build.
	Version string
}

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Main runs one command line and returns its exit code. The context ends when the process is told to stop.
func Main(ctx context.Context, p Process) int {
	p.Err = shared(p.Err)
	facts, err := contract.Load()
	if err != nil {
		_, _ = io.WriteString(p.Err, err.Error()+"\n")
		return exitError
	}
	s := &shell{
		Process: p, out: term.NewScreen(p.Out, term.Lookup(p.Env)), err: term.NewScreen(p.Err, term.Lookup(p.Env)), codec: wirejson.New(facts), warned: map[string]bool{},
	}
	root := newRoot(s) //nolint:contextcheck // commands get the context when they run
	root.SetArgs(p.Args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errHelp) {
		return exitUsage
	}
	return s.report(cmd, err)
}

// shared returns a writer that several goroutines may use: log lines and child processes write to the error stream beside the command.
func shared(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		return f
	}
	return &sharedWriter{w: w}
}

type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write passes on one text at a time.
func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

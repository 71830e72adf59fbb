package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/internal/childworker"
)

func newWorker(s *shell) *cobra.Command {
	return group("worker", "Serve functions of your own to a service", `Serve functions of your own to a service, which runs no user code itself.`, s.workerPython())
}

// pythonFlags are the options of `kneo worker python`.
type pythonFlags struct {
	service                  serviceFlags
	modules, handlers, paths []string
	concurrency              int
	name, interpreter        string
}

func (s *shell) workerPython() *cobra.Command {
	var f pythonFlags
	cmd := leaf("python", "Serve Python functions to a service", nil, func(cmd *cobra.Command, _ []string) error { return s.servePython(cmd, &f) })
	cmd.Long = `Imports Python modules and serves their functions under the names that specs use (implementation: pkg.mod.name), until it is told to stop (SIGINT,
SIGTERM); then it takes no further calls and answers those in progress. A lost connection is opened again. The key needs the scope workers:connect.
Nothing has to be installed but Python 3.10 or later; modules are imported from the working folder and from --path.`
	cmd.Example = `  kneo worker python --module shop.functions --service-url http://localhost:8000
  kneo worker python --handler shop.rules.normalise --path src --python .venv/bin/python --profile prod`
	fl := cmd.Flags()
	fl.StringArrayVar(&f.modules, "module", nil, "Serve the functions of this module; a package brings its submodules.")
	fl.StringArrayVar(&f.handlers, "handler", nil, "Serve this one function, pkg.mod.name.")
	fl.StringArrayVar(&f.paths, "path", nil, "Import from this folder too.")
	fl.IntVar(&f.concurrency, "max-concurrency", 16, "Calls at the same time.")
	fl.StringVar(&f.name, "name", "", "Name of this worker for people; host and process id by default.")
	fl.StringVar(&f.interpreter, "python", "", "Python interpreter; KNEO_PYTHON, python3 or python by default.")
	addServiceFlags(cmd, &f.service)
	return cmd
}

func (s *shell) servePython(cmd *cobra.Command, f *pythonFlags) error {
	switch {
	case len(f.modules)+len(f.handlers) == 0:
		return usage("Missing option '--module' or '--handler'.")
	case f.concurrency < 1:
		return usage("Invalid value for '--max-concurrency': it must be at least 1.")
	}
	c, err := s.dialWorker(&f.service)
	if err != nil {
		return err
	}
	defer c.close()
	interpreter, err := s.interpreter(f.interpreter)
	if err != nil {
		return err
	}
	p, err := s.pythonProcess(interpreter, f.paths)
	if err != nil {
		return err
	}
	defer p.remove()
	p.options.Command = childworker.Python(interpreter, f.modules, f.handlers, p.paths, f.concurrency, f.name)
	p.options.Worker.Logger = slog.New(slog.NewTextHandler(s.Err, nil))
	return ofWorker(c, childworker.Run(cmd.Context(), c.Conn(), p.options))
}

// dialWorker connects to the service over gRPC, which is what workers speak.
func (s *shell) dialWorker(f *serviceFlags) (*connection, error) {
	t, err := s.target(f)
	switch {
	case err != nil:
		return nil, err
	case t.url == "":
		return nil, errors.New("a worker needs a service; name one with --service-url or --profile")
	}
	if u, err := url.Parse(t.url); err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("%q is no service address for workers; expected something like http://host:8000", t.url)
	}
	c, err := client.Dial(t.url, client.Options{APIKey: t.key, UserAgent: s.userAgent(), Retry: client.NoRetry})
	if err != nil {
		return nil, err
	}
	return &connection{Client: c, url: t.url, close: func() { _ = c.Close() }}, nil
}

// ofWorker words the end of a worker: what the service said as a failure of the service, and all else as it is.
func ofWorker(c *connection, err error) error {
	if client.Code(err) != "" {
		return c.fail(err)
	}
	return err
}

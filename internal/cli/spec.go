package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/draw"
	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/spec"
)

func newSpec(s *shell) *cobra.Command {
	return group("spec", "Check, explain and sign specs", "Check, explain and sign specs.",
		s.specValidate(), s.specLint(), s.specCompile(), s.specExplain(), s.specGraph(), s.specPolicyReport(),
		s.specResolve(), s.specMigrate(), s.specBundle(), s.specSchema(), s.specInit())
}

// specFlags are the options of the commands about one spec.
type specFlags struct {
	service     serviceFlags
	environment string
}

// specCommand is a command about one spec, carried out by a service or by this process.
func (s *shell) specCommand(use, short string, run func(cmd *cobra.Command, w *workbench) error) *cobra.Command {
	var f specFlags
	cmd := leaf(use, short, []string{"[SPEC]"}, func(cmd *cobra.Command, args []string) error {
		w, err := s.workbench(cmd, &f, first(args))
		if err != nil {
			return err
		}
		defer w.close()
		return run(cmd, w)
	})
	f.add(cmd)
	return jsonFlag(cmd)
}

func (f *specFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.environment, "env", "", "Environment; its overlays, defaults and rules apply.")
	addServiceFlags(cmd, &f.service)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// workbench is one resolved spec and who works on it.
type workbench struct {
	e *project.Effective
	// c is nil in this process.
	c     *connection
	local *localSpec
}

func (w *workbench) close() {
	if w.c != nil {
		w.c.close()
	}
}

func (w *workbench) request() *kneov1.SpecRequest {
	return &kneov1.SpecRequest{Spec: &kneov1.JsonObject{Raw: w.e.Tree.JSON()}}
}

func (s *shell) workbench(cmd *cobra.Command, f *specFlags, arg string) (*workbench, error) {
	e, err := s.resolve(arg, f.environment)
	if err != nil {
		return nil, err
	}
	return s.bench(cmd, f, e)
}

func (s *shell) bench(cmd *cobra.Command, f *specFlags, e *project.Effective) (*workbench, error) {
	t, err := s.target(&f.service)
	if err != nil {
		return nil, err
	}
	if t.url == "" {
		return &workbench{e: e, local: &localSpec{e: e, root: s.specRoot()}}, nil
	}
	c, err := s.dial(cmd.Context(), t)
	if err != nil {
		return nil, err
	}
	return &workbench{e: e, c: c}, nil
}

// specRoot is where skills are looked up in this process.
func (s *shell) specRoot() string {
	if root := s.env("KNEO_SERV_SPEC_ROOT"); root != "" {
		return root
	}
	return s.loaded.Root
}

func (s *shell) specCompile() *cobra.Command {
	return s.specCommand("compile", "Build a spec without running it", func(cmd *cobra.Command, w *workbench) error {
		out, err := w.compile(cmd)
		if err != nil {
			return err
		}
		if asJSON(cmd) {
			if w.local == nil {
				return s.message(out)
			}
			return s.raw(fmt.Appendf(nil, `{"ok":%t,"summary":%s}`, out.GetOk(), s.codec.Marshal(out.GetSummary())))
		}
		s.out.Success("Spec compiled successfully.")
		return s.message(out.GetSummary())
	})
}

func (w *workbench) compile(cmd *cobra.Command) (*kneov1.SpecCompileResponse, error) {
	if w.local != nil {
		return w.local.compile()
	}
	out, err := w.c.Specs().CompileSpec(cmd.Context(), &kneov1.SpecCompileRequest{Spec: w.request().GetSpec()})
	return out, w.c.fail(err)
}

func (s *shell) specExplain() *cobra.Command {
	return s.specCommand("explain", "Name the parts of a spec", func(cmd *cobra.Command, w *workbench) error {
		var out *kneov1.SpecExplainResponse
		var err error
		if w.local != nil {
			out, err = w.local.explain()
		} else {
			out, err = w.c.Specs().ExplainSpec(cmd.Context(), w.request())
			err = w.c.fail(err)
		}
		switch {
		case err != nil:
			return err
		case asJSON(cmd):
			return s.message(out)
		}
		s.out.Success("Spec explained.")
		return s.message(out.GetSummary())
	})
}

func (s *shell) specGraph() *cobra.Command {
	var f graphFlags
	cmd := s.specCommand("graph", "Draw the workflow of a spec", func(cmd *cobra.Command, w *workbench) error {
		if w.local != nil && !asJSON(cmd) {
			p, err := w.local.picture()
			if err != nil {
				return err
			}
			return s.drawGraph(&f, p, draw.Options{})
		}
		var g *kneov1.SpecGraphResponse
		var err error
		if w.local != nil {
			g, err = w.local.graph()
		} else {
			g, err = w.c.Specs().GraphSpec(cmd.Context(), w.request())
			err = w.c.fail(err)
		}
		switch {
		case err != nil:
			return err
		case asJSON(cmd):
			return s.message(g)
		}
		return s.drawGraph(&f, picture(g.WorkflowName, g.Start, g.GetNodes(), g.GetEdges()), draw.Options{})
	})
	addGraphFlags(cmd, &f)
	return cmd
}

func (s *shell) specPolicyReport() *cobra.Command {
	return s.specCommand("policy-report", "Report what a spec may do", func(cmd *cobra.Command, w *workbench) error {
		var report []byte
		if w.local != nil {
			var err error
			if report, err = w.local.report(); err != nil {
				return err
			}
		} else {
			out, err := w.c.Specs().ReportSpecPolicy(cmd.Context(), w.request())
			if err != nil {
				return w.c.fail(err)
			}
			if asJSON(cmd) {
				return s.message(out)
			}
			report = out.GetReport().GetRaw()
		}
		if !asJSON(cmd) {
			s.out.Success("Policy report generated.")
		}
		return s.raw(report)
	})
}

// checked is what validate and lint know of one spec.
type checked struct {
	name  string
	e     *project.Effective
	found spec.Diagnostics
	valid bool
}

func (s *shell) check(cmd *cobra.Command, f *specFlags, arg string) (checked, error) {
	out := checked{name: arg}
	e, err := s.resolve(arg, f.environment)
	if err != nil {
		return out, err
	}
	w, err := s.bench(cmd, f, e)
	if err != nil {
		return out, err
	}
	defer w.close()
	out.e = e
	if w.local != nil {
		_, out.found, err = w.local.check()
		out.valid = !out.found.HasErrors()
		return out, err
	}
	answer, err := w.c.Specs().ValidateSpec(cmd.Context(), w.request())
	if err != nil {
		return out, w.c.fail(err)
	}
	out.found, out.valid = append(e.Found, fromProto(answer.GetDiagnostics())...), answer.GetValid()
	return out, nil
}

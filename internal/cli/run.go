package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/redact"
)

// runFlags are the options of `kneo run`.
type runFlags struct {
	service                    serviceFlags
	input, target, environment string
	session, metadata          string
	timeout                    float64
	async, noPython            bool
	addSkills, disabledSkills  []string
}

func newRunCommand(s *shell) *cobra.Command {
	var f runFlags
	cmd := leaf("run", "Run a spec and print its result", []string{"[SPEC]"}, func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "input"); err != nil {
			return err
		}
		return s.run(cmd, &f, first(args))
	})
	cmd.Long = `Runs a spec on an input, and returns when the run has ended or waits for a person. A run that waits is no failure: the exit code is 0.
SPEC is a path, or - for standard input; without one the project's default spec is run. Without a service the run is carried out in this process, on
the SQLite file of the project (local.state_path), and Python functions that the spec names are imported from the working folder and the project root and
served for the time of the run.`
	cmd.Example = `  kneo run examples/hello.yaml --input "Hi"
  kneo run examples/approval.yaml -i "A refund of 40 EUR" --json
  kneo run pipeline.yaml -i "The harbour" --service-url http://localhost:8000 --async`
	fl := cmd.Flags()
	fl.StringVarP(&f.input, "input", "i", "", "Input text.")
	fl.StringVar(&f.target, "target", "workflow", "What to run: workflow or agent.")
	fl.StringVar(&f.environment, "env", "", "Environment; its overlays, defaults and rules apply.")
	fl.StringVar(&f.session, "session-id", "", "Session whose memory the run shares.")
	fl.StringVar(&f.metadata, "metadata", "", "Your own data, a JSON object.")
	fl.Float64Var(&f.timeout, "timeout-seconds", 0, "Deadline of the run; 0 means none.")
	fl.StringSliceVar(&f.addSkills, "skill", nil, "Switch a declared skill on.")
	fl.StringSliceVar(&f.disabledSkills, "no-skill", nil, "Switch a skill off.")
	fl.BoolVar(&f.async, "async", false, "Queue the run and return at once; needs a service.")
	addPythonFlag(cmd, &f.noPython)
	addServiceFlags(cmd, &f.service)
	completeValues(cmd, "target", "workflow", "agent")
	return jsonFlag(cmd)
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// source reads a spec argument: a path, "-" for standard input, or nothing for the project's default.
func (s *shell) source(arg string) (project.Source, error) {
	if arg != "-" {
		return project.Source{Path: arg}, nil
	}
	data, err := io.ReadAll(s.In)
	if err != nil {
		return project.Source{}, err
	}
	return project.Source{Name: "<stdin>", Text: data}, nil
}

// resolve gives a spec what the project says and tells about layers that are not there.
func (s *shell) resolve(arg, environment string) (*project.Effective, error) {
	p, err := s.project()
	if err != nil {
		return nil, err
	}
	src, err := s.source(arg)
	if err != nil {
		return nil, err
	}
	e, err := p.Resolve(src, environment)
	if err != nil {
		return nil, err
	}
	for _, w := range e.Warnings {
		if !s.warned[w] {
			s.err.Warn(w)
		}
		s.warned[w] = true
	}
	return e, nil
}

func (s *shell) run(cmd *cobra.Command, f *runFlags, arg string) error {
	e, err := s.resolve(arg, f.environment)
	if err != nil {
		return err
	}
	req, err := f.request(e)
	if err != nil {
		return err
	}
	c, err := s.connect(cmd.Context(), &f.service, writing)
	if err != nil {
		return err
	}
	defer c.close()
	if f.async && !c.remote() {
		return usage("--async needs a service whose workers carry the run out; name one with --service-url or --profile.")
	}
	stop := s.err.Progress("running")
	python := s.python(cmd.Context(), c, implementations(e.Tree.JSON()), f.noPython)
	defer python.end()
	out, err := c.Runs().CreateRun(cmd.Context(), req)
	stop()
	if err != nil {
		return python.explain(c.fail(err))
	}
	return s.ended(cmd, c, out)
}

func (f *runFlags) request(e *project.Effective) (*kneov1.RunCreateRequest, error) {
	req := &kneov1.RunCreateRequest{
		Input: f.input, Spec: &kneov1.JsonObject{Raw: e.Tree.JSON()}, Environment: &e.Environment, AsyncMode: f.async,
	}
	if f.target != "workflow" {
		req.Target = proto.String(f.target)
	}
	if f.session != "" {
		req.SessionId = proto.String(f.session)
	}
	if f.metadata != "" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(f.metadata), &object); err != nil {
			return nil, usage("Invalid value for '--metadata': it must be a JSON object.")
		}
		req.Metadata = &kneov1.JsonObject{Raw: []byte(f.metadata)}
	}
	if f.timeout > 0 {
		req.TimeoutSeconds = proto.Float64(f.timeout)
	}
	if len(f.addSkills)+len(f.disabledSkills) > 0 {
		req.Skills = &kneov1.SkillsOverlay{Add: f.addSkills, Disable: f.disabledSkills}
	}
	return req, nil
}

// ended prints what came of a leg; a failed run is a failure of the command.
func (s *shell) ended(cmd *cobra.Command, c *connection, out *kneov1.RunCreateResponse) error {
	if asJSON(cmd) {
		if err := s.message(out); err != nil {
			return err
		}
	} else {
		p := panel{id: out.GetRunId(), status: out.GetStatus(), output: out.OutputText}
		if got, err := c.Runs().GetRun(cmd.Context(), &kneov1.GetRunRequest{RunId: out.GetRunId()}); err == nil {
			p.workflow, p.agent = got.WorkflowName, got.AgentName
		}
		s.panel(p)
		if out.GetHumanInterventionRequired() {
			s.out.Warn("Human intervention required. Continuation: " + out.GetContinuationId())
		}
	}
	switch out.GetStatus() {
	case "failed", "timed_out", "expired", "cancelled":
		return failedRun(out)
	}
	return nil
}

// failedRun is the failure that a run recorded.
func failedRun(out *kneov1.RunCreateResponse) error {
	var metadata struct {
		Error struct{ Message, Type string } `json:"error"`
	}
	_ = json.Unmarshal(out.GetMetadata().GetRaw(), &metadata) // without an error the status tells
	message, kind := metadata.Error.Message, metadata.Error.Type
	if message == "" {
		message = fmt.Sprintf("The run ended as %s.", out.GetStatus())
	}
	p := problem.New(problem.Code(orWord(kind, "step_failed")), "%s", message)
	p.RunID = out.GetRunId()
	return p
}

// panel is what a person sees of a run.
type panel struct {
	id, status              string
	workflow, agent, output *string
}

func (s *shell) panel(p panel) {
	show := func(t *string) string {
		if t == nil {
			return "None"
		}
		return redact.Text(*t)
	}
	s.out.Panel("Run "+p.id, []string{
		"Status: " + p.status, "Workflow: " + show(p.workflow), "Agent: " + show(p.agent), "Output: " + show(p.output),
	})
}

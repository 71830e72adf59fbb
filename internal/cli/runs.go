package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/term"
)

func newRuns(s *shell) *cobra.Command {
	return group("runs", "Look at runs and steer them", "Look at runs and steer them.",
		s.runsList(), s.runsGet(), s.runsTrace(), s.runsCheckpoints(), s.runsReplay(), s.runsDiff(), s.runsCancel(), s.runsContinue(),
		s.runsRecovery(), s.runsGraph(), s.runsPolicyReport(), s.runsWatch(), s.runsWait())
}

// runCommand is a command about one run: it connects, calls, and prints the answer or shows it to a person.
func runCommand[M proto.Message](s *shell, use, short string, a access, call func(*cobra.Command, *connection, string) (M, error), show func(M) error) *cobra.Command {
	var f serviceFlags
	cmd := leaf(use, short, []string{"RUN_ID"}, func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), &f, a)
		if err != nil {
			return err
		}
		defer c.close()
		out, err := call(cmd, c, args[0])
		if err != nil {
			return c.fail(err)
		}
		switch _, state := proto.Message(out).(*kneov1.RunStatusResponse); {
		case !asJSON(cmd):
			return show(out)
		case state && !c.remote():
			return s.record(cmd.Context(), c, args[0])
		}
		return s.message(out)
	})
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeRuns(&f)
	return jsonFlag(cmd)
}

// record prints the stored record of a run of this process, which local commands have always shown in place of the service's answer.
func (s *shell) record(ctx context.Context, c *connection, id string) error {
	text, err := c.app.Record(ctx, id)
	if err != nil {
		return err
	}
	return s.raw(text)
}

func (s *shell) runsGet() *cobra.Command {
	return runCommand(s, "get", "Show the state of a run", reading, func(cmd *cobra.Command, c *connection, id string) (*kneov1.RunStatusResponse, error) {
		return c.Runs().GetRun(cmd.Context(), &kneov1.GetRunRequest{RunId: id})
	}, s.showRun)
}

func (s *shell) showRun(r *kneov1.RunStatusResponse) error {
	s.panel(panel{r.GetRunId(), r.GetStatus(), r.WorkflowName, r.AgentName, r.OutputText})
	if id := r.GetContinuationId(); id != "" {
		s.out.Warn("Waits for a person. Continuation: " + id)
	}
	if raw := r.GetError().GetRaw(); len(raw) > 0 {
		return s.raw(raw)
	}
	return nil
}

func (s *shell) runsCancel() *cobra.Command {
	return runCommand(s, "cancel", "Cancel a run", writing, func(cmd *cobra.Command, c *connection, id string) (*kneov1.RunStatusResponse, error) {
		return c.Runs().CancelRun(cmd.Context(), &kneov1.CancelRunRequest{RunId: id})
	}, func(r *kneov1.RunStatusResponse) error {
		if r.GetStatus() == "cancelled" {
			s.out.Success("Run " + r.GetRunId() + " cancelled.")
		} else {
			s.out.Warn(fmt.Sprintf("Run %s has ended already (%s).", r.GetRunId(), r.GetStatus()))
		}
		return s.showRun(r)
	})
}

func (s *shell) runsContinue() *cobra.Command {
	var f serviceFlags
	var noPython bool
	cmd := leaf("continue", "Go on with a failed run after its last good point", []string{"RUN_ID"}, func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), &f, writing)
		if err != nil {
			return err
		}
		defer c.close()
		python := s.pythonFor(cmd.Context(), c, args[0], noPython)
		defer python.end()
		stop := s.err.Progress("running")
		out, err := c.Runs().ContinueRun(cmd.Context(), &kneov1.ContinueRunRequest{RunId: args[0]})
		stop()
		if err != nil {
			return c.fail(err)
		}
		return s.ended(cmd, c, out)
	})
	addPythonFlag(cmd, &noPython)
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeRuns(&f)
	return jsonFlag(cmd)
}

func (s *shell) runsRecovery() *cobra.Command {
	return runCommand(s, "recovery", "Tell from where a run can go on", reading, func(cmd *cobra.Command, c *connection, id string) (*kneov1.RecoveryResponse, error) {
		return c.Runs().GetRunRecovery(cmd.Context(), &kneov1.GetRunRecoveryRequest{RunId: id})
	}, func(r *kneov1.RecoveryResponse) error {
		at := r.GetReplayContext()
		if at.GetCanContinue() {
			s.out.Success(fmt.Sprintf("Run %s (%s) can continue: 'kneo runs continue %s'.", r.GetRunId(), r.GetStatus(), r.GetRunId()))
		} else {
			s.out.Warn(fmt.Sprintf("Run %s (%s) cannot continue.", r.GetRunId(), r.GetStatus()))
		}
		return s.message(r)
	})
}

func (s *shell) runsPolicyReport() *cobra.Command {
	return runCommand(s, "policy-report", "Report what the spec of a run may do", writing, func(cmd *cobra.Command, c *connection, id string) (*kneov1.PolicyReportResponse, error) {
		return c.Runs().GetRunPolicyReport(cmd.Context(), &kneov1.GetRunPolicyReportRequest{RunId: id})
	}, func(r *kneov1.PolicyReportResponse) error {
		s.out.Success("Policy report generated.")
		return s.raw(r.GetReport().GetRaw())
	})
}

func (s *shell) runsReplay() *cobra.Command {
	return runCommand(s, "replay", "Show the checkpoints of a run as a timeline", reading, func(cmd *cobra.Command, c *connection, id string) (*kneov1.ReplayResponse, error) {
		return c.Runs().ReplayRun(cmd.Context(), &kneov1.ReplayRunRequest{RunId: id})
	}, func(r *kneov1.ReplayResponse) error {
		s.out.Success(fmt.Sprintf("%d replay event(s).", len(r.GetTimeline())))
		rows := make([][]string, 0, len(r.GetTimeline()))
		for _, i := range r.GetTimeline() {
			where := i.GetStepId()
			if where == "" {
				where = i.GetNodeId()
			}
			rows = append(rows, []string{fmt.Sprint(i.GetSequence()), i.GetType(), where, i.GetStatus(), clock(i.GetCreatedAt())})
		}
		s.out.Table(term.Table{Headers: []string{"#", "Type", "Step", "Status", "Time"}, Rows: rows})
		return nil
	})
}

func (s *shell) runsDiff() *cobra.Command {
	var from, to int32
	cmd := runCommand(s, "checkpoint-diff", "Compare two checkpoints of a run", reading, func(cmd *cobra.Command, c *connection, id string) (*kneov1.CheckpointDiffResponse, error) {
		req := &kneov1.DiffCheckpointsRequest{RunId: id}
		if cmd.Flags().Changed("from-sequence") {
			req.FromSequence = &from
		}
		if cmd.Flags().Changed("to-sequence") {
			req.ToSequence = &to
		}
		return c.Runs().DiffCheckpoints(cmd.Context(), req)
	}, func(r *kneov1.CheckpointDiffResponse) error {
		s.out.Success(fmt.Sprintf("%d checkpoint change(s).", r.GetChangeCount()))
		return s.message(r)
	})
	cmd.Flags().Int32Var(&from, "from-sequence", 0, "Number of the first checkpoint; the last but one by default.")
	cmd.Flags().Int32Var(&to, "to-sequence", 0, "Number of the second checkpoint; the last by default.")
	return cmd
}

// clock is the time of day of a timestamp, or the text itself.
func clock(timestamp string) string {
	const day = len("2006-01-02T")
	if len(timestamp) > day && timestamp[day-1] == 'T' {
		end := min(len(timestamp), day+len("15:04:05.000"))
		return timestamp[day:end]
	}
	return timestamp
}

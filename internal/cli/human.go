package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/client"
	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

func newHuman(s *shell) *cobra.Command {
	return group("human", "Answer the questions of runs", "Answer the questions of runs.", s.humanList(), s.humanGet(), s.humanResume(), s.humanInbox())
}

func (s *shell) humanList() *cobra.Command {
	var f serviceFlags
	var page listFlags
	var runID, kind, status string
	cmd := leaf("list", "List open tasks", nil, func(cmd *cobra.Command, _ []string) error {
		c, err := s.connect(cmd.Context(), &f, reading)
		if err != nil {
			return err
		}
		defer c.close()
		out, err := c.HumanTasks().ListHumanTasks(cmd.Context(), &kneov1.ListHumanTasksRequest{
			RunId: optional(runID), WorkflowKind: optional(kind), Status: optional(status),
			Limit: number(page.limit), Offset: number(page.offset), SortBy: optional(page.sortBy), SortOrder: optional(page.order),
		})
		if err != nil {
			return c.fail(err)
		}
		tasks := out.GetTasks()
		list := []byte{'['}
		for i, t := range tasks {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(list, t.GetRaw()...)
		}
		list = append(list, ']')
		if asJSON(cmd) {
			return s.raw(fmt.Appendf(nil, `{"tasks":%s}`, list))
		}
		return s.raw(list)
	})
	fl := cmd.Flags()
	fl.StringVar(&runID, "run-id", "", "Only tasks of this run.")
	fl.StringVar(&kind, "kind", "", "Only tasks of this kind of workflow.")
	fl.StringVar(&status, "status", "", "pending or escalated.")
	completeValues(cmd, "status", "pending", "escalated")
	addListFlags(cmd, &page)
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

func (s *shell) humanGet() *cobra.Command {
	var f serviceFlags
	cmd := leaf("get", "Show an open task", []string{"CONTINUATION_ID"}, func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), &f, reading)
		if err != nil {
			return err
		}
		defer c.close()
		out, err := c.HumanTasks().GetHumanTask(cmd.Context(), &kneov1.GetHumanTaskRequest{ContinuationId: args[0]})
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		s.out.Success("Human task " + args[0])
		return s.raw([]byte(orWord(string(out.GetRequest().GetRaw()), "null")))
	})
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeTasks(&f)
	return jsonFlag(cmd)
}

// decisionFlags are the five answers; exactly one is given.
type decisionFlags struct {
	approve, reject       bool
	edit, provide, choice string
}

func (d *decisionFlags) decision(cmd *cobra.Command) (client.Decision, error) {
	var given []client.Decision
	if d.approve {
		given = append(given, client.Approve())
	}
	if d.reject {
		given = append(given, client.Reject())
	}
	for _, f := range []struct {
		name string
		make func(string) client.Decision
		text string
	}{{"edit", client.Edit, d.edit}, {"provide", client.Provide, d.provide}, {"select", client.Select, d.choice}} {
		if cmd.Flags().Changed(f.name) {
			given = append(given, f.make(f.text))
		}
	}
	if len(given) != 1 {
		return client.Decision{}, errors.New("Specify exactly one of --approve, --reject, --edit, --provide, or --select.") //nolint:revive,staticcheck // the documented text
	}
	return given[0], nil
}

func (s *shell) humanResume() *cobra.Command {
	var f serviceFlags
	var d decisionFlags
	var requestID string
	var noPython bool
	cmd := leaf("resume", "Answer a task and go on with its run", []string{"CONTINUATION_ID"}, func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "request-id"); err != nil {
			return err
		}
		decision, err := d.decision(cmd)
		if err != nil {
			return err
		}
		c, err := s.connect(cmd.Context(), &f, writing)
		if err != nil {
			return err
		}
		defer c.close()
		python := s.pythonForTask(cmd.Context(), c, args[0], noPython)
		defer python.end()
		stop := s.err.Progress("running")
		out, err := c.Resume(cmd.Context(), args[0], requestID, decision)
		stop()
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		s.out.Success("Human task " + args[0] + " resumed.")
		return s.message(out)
	})
	fl := cmd.Flags()
	fl.StringVar(&requestID, "request-id", "", "Id of the request that is answered; 'kneo human get' shows it.")
	fl.BoolVar(&d.approve, "approve", false, "Approve.")
	fl.BoolVar(&d.reject, "reject", false, "Reject.")
	fl.StringVar(&d.edit, "edit", "", "Replace the proposal by this text.")
	fl.StringVar(&d.provide, "provide", "", "Give the text that was asked for.")
	fl.StringVar(&d.choice, "select", "", "Choose this option.")
	addPythonFlag(cmd, &noPython)
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeTasks(&f)
	return jsonFlag(cmd)
}

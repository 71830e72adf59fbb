package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/client"
	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/term"
)

func (s *shell) humanInbox() *cobra.Command {
	var f serviceFlags
	var noPython bool
	cmd := leaf("inbox", "Answer open tasks one after another", nil, func(cmd *cobra.Command, _ []string) error {
		c, err := s.connect(cmd.Context(), &f, writing)
		if err != nil {
			return err
		}
		defer c.close()
		box := &inbox{shell: s, c: c, lines: bufio.NewScanner(s.In), noPython: noPython}
		return box.work(cmd)
	})
	cmd.Long = "Shows the open tasks, asks for one and for the answer, until you leave with q or there is nothing left."
	addPythonFlag(cmd, &noPython)
	addServiceFlags(cmd, &f)
	return cmd
}

// task is what the inbox shows of a task.
type task struct {
	ID           string  `json:"id"`
	RunID        string  `json:"run_id"`
	WorkflowName *string `json:"workflow_name"`
	Request      struct {
		ID          string   `json:"id"`
		RequestType string   `json:"request_type"`
		Title       string   `json:"title"`
		Prompt      string   `json:"prompt"`
		Description string   `json:"description"`
		Assignee    *string  `json:"assignee"`
		Options     []string `json:"options"`
	} `json:"pending_human_request"`
	CurrentInput string `json:"current_input"`
}

// question is the text that the person is asked.
func (t *task) question() string {
	return orWord(t.Request.Title, orWord(t.Request.Description, orWord(t.Request.Prompt, "Please decide.")))
}

type inbox struct {
	*shell
	c     *connection
	lines *bufio.Scanner
	// noPython is the flag of this name.
	noPython bool
}

// ask prints a prompt and reads a line; io.EOF means that the person has left.
func (b *inbox) ask(prompt string) (string, error) {
	b.out.Printf("%s ", b.out.Paint(term.Bold, prompt))
	if !b.lines.Scan() {
		return "", errors.Join(io.EOF, b.lines.Err())
	}
	return strings.TrimSpace(b.lines.Text()), nil
}

func (b *inbox) work(cmd *cobra.Command) error {
	for {
		out, err := b.c.HumanTasks().ListHumanTasks(cmd.Context(), &kneov1.ListHumanTasksRequest{})
		if err != nil {
			return b.c.fail(err)
		}
		tasks := make([]task, len(out.GetTasks()))
		for i, t := range out.GetTasks() {
			if err := json.Unmarshal(t.GetRaw(), &tasks[i]); err != nil {
				return err
			}
		}
		if len(tasks) == 0 {
			b.out.Success("Nothing waits for a person.")
			return nil
		}
		b.list(tasks)
		t, err := b.choose(tasks)
		if t == nil || err != nil {
			return leave(err)
		}
		if err := b.answer(cmd, t); err != nil {
			return leave(err)
		}
	}
}

// leave turns the end of the input into an orderly end.
func leave(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (b *inbox) list(tasks []task) {
	rows := make([][]string, 0, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		rows = append(rows, []string{strconv.Itoa(i + 1), oneLine(t.question()), t.Request.RequestType, deref(t.Request.Assignee), deref(t.WorkflowName)})
	}
	b.out.Table(term.Table{Title: "Open tasks", Headers: []string{"#", "Question", "Kind", "For", "Workflow"}, Rows: rows})
}

func (b *inbox) choose(tasks []task) (*task, error) {
	for {
		text, err := b.ask(fmt.Sprintf("Task (1-%d, q to leave):", len(tasks)))
		if err != nil || text == "q" {
			return nil, err
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(tasks) {
			return &tasks[n-1], nil
		}
		b.out.Warn("There is no such task.")
	}
}

func (b *inbox) answer(cmd *cobra.Command, t *task) error {
	b.out.Panel(t.question(), append([]string{"Run: " + t.RunID, "Proposal:"}, strings.Split(t.CurrentInput, "\n")...))
	for i, o := range t.Request.Options {
		b.out.Printf("  %d) %s\n", i+1, term.Clean(o))
	}
	d, ok, err := b.decide(t)
	if err != nil || !ok {
		return err
	}
	python := b.pythonFor(cmd.Context(), b.c, t.RunID, b.noPython)
	defer python.end()
	stop := b.err.Progress("running")
	out, err := b.c.Resume(cmd.Context(), t.ID, t.Request.ID, d)
	stop()
	if err != nil {
		b.err.Fail(text(b.c.fail(err)))
		return nil
	}
	b.out.Success(fmt.Sprintf("Answered. Run %s is %s.", out.GetRunId(), out.GetStatus()))
	if o := out.GetOutputText(); o != "" {
		b.out.Println(term.Clean(o))
	}
	return nil
}

// decide asks for the answer; ok is false when the person goes back.
func (b *inbox) decide(t *task) (d client.Decision, ok bool, err error) {
	for {
		word, err := b.ask("[a]pprove, [r]eject, [e]dit, [p]rovide, [s]elect, [b]ack:")
		if err != nil {
			return d, false, err
		}
		switch word {
		case "a":
			return client.Approve(), true, nil
		case "r":
			return client.Reject(), true, nil
		case "b":
			return d, false, nil
		case "e", "p":
			text, err := b.ask("Text:")
			if word == "e" {
				return client.Edit(text), err == nil, err
			}
			return client.Provide(text), err == nil, err
		case "s":
			text, err := b.ask("Option:")
			if n, bad := strconv.Atoi(text); bad == nil && n >= 1 && n <= len(t.Request.Options) {
				text = t.Request.Options[n-1]
			}
			return client.Select(text), err == nil, err
		}
	}
}

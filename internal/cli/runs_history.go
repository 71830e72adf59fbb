package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/term"
)

// listFlags are the options of every list.
type listFlags struct {
	limit, offset int32
	sortBy, order string
}

func addListFlags(cmd *cobra.Command, f *listFlags) {
	cmd.Flags().Int32Var(&f.limit, "limit", 0, "Items on a page, at most 1000; 100 by default.")
	cmd.Flags().Int32Var(&f.offset, "offset", 0, "Items to skip.")
	cmd.Flags().StringVar(&f.sortBy, "sort-by", "", "Dotted path of the field to sort by.")
	cmd.Flags().StringVar(&f.order, "sort-order", "", "asc or desc.")
	completeValues(cmd, "sort-order", "asc", "desc")
}

func number(n int32) *int32 {
	if n == 0 {
		return nil
	}
	return &n
}

func optional(t string) *string {
	if t == "" {
		return nil
	}
	return &t
}

func (s *shell) runsList() *cobra.Command {
	var f serviceFlags
	var page listFlags
	var status, kind, workflow, session, after, before, query string
	var failed bool
	cmd := leaf("list", "List runs, newest first", nil, func(cmd *cobra.Command, _ []string) error {
		c, err := s.connect(cmd.Context(), &f, reading)
		if err != nil {
			return err
		}
		defer c.close()
		req := &kneov1.ListRunsRequest{
			Status: optional(status), WorkflowName: optional(workflow), SessionId: optional(session), WorkflowKind: optional(kind), CreatedAfter: optional(after),
			CreatedBefore: optional(before), Q: optional(query), Limit: number(page.limit), Offset: number(page.offset), SortBy: optional(page.sortBy), SortOrder: optional(page.order),
		}
		if cmd.Flags().Changed("has-error") {
			req.HasError = &failed
		}
		out, err := c.Runs().ListRuns(cmd.Context(), req)
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		return s.showRuns(out)
	})
	fl := cmd.Flags()
	fl.StringVar(&status, "status", "", "Only runs of this status.")
	fl.StringVar(&workflow, "workflow", "", "Only runs of this workflow.")
	fl.StringVar(&session, "session-id", "", "Only runs of this session.")
	fl.BoolVar(&failed, "has-error", false, "Only runs with an error; --has-error=false: only runs without.")
	fl.StringVar(&kind, "kind", "", "Only runs of a workflow or of an agent.")
	fl.StringVar(&after, "created-after", "", "Only runs created after this ISO-8601 time.")
	fl.StringVar(&before, "created-before", "", "Only runs created before this ISO-8601 time.")
	fl.StringVarP(&query, "query", "q", "", "Only runs whose output or error contains this text.")
	completeValues(cmd, "status", "queued", "running", "blocked", "completed", "failed", "cancelled", "timed_out", "expired")
	completeValues(cmd, "kind", "workflow", "agent")
	addListFlags(cmd, &page)
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

// runRow is what a list shows of a run record.
type runRow struct {
	ID           string `json:"id"`
	RunID        string `json:"run_id"`
	Status       string
	WorkflowName *string `json:"workflow_name"`
	AgentName    *string `json:"agent_name"`
	CreatedAt    string  `json:"created_at"`
	OutputText   *string `json:"output_text"`
}

func (s *shell) showRuns(out *kneov1.ListRunsResponse) error {
	if len(out.GetRuns()) == 0 {
		s.out.Println("No runs.")
		return nil
	}
	headers := []string{"Run", "Status", "Created", "Workflow", "Output"}
	if s.out.Width() < roomForOutput {
		headers = headers[:len(headers)-1]
	}
	var rows [][]string
	var states []string
	for _, r := range out.GetRuns() {
		var row runRow
		if err := json.Unmarshal(r.GetRaw(), &row); err != nil {
			return err
		}
		states = append(states, row.Status)
		cells := []string{orWord(row.ID, row.RunID), row.Status, minute(row.CreatedAt), orWord(deref(row.WorkflowName), deref(row.AgentName)), oneLine(deref(row.OutputText))}
		rows = append(rows, cells[:len(headers)])
	}
	s.out.Table(term.Table{
		Headers: headers, Rows: rows, Keep: []int{0, 1, 2},
		Style: func(row, column int) term.Style {
			if column == 1 {
				return statusStyle(states[row])
			}
			return ""
		},
	})
	s.out.Println(s.out.Paint(term.Dim, fmt.Sprintf("%d of %d", out.GetCount(), out.GetTotal())))
	return nil
}

func statusStyle(status string) term.Style {
	switch status {
	case "completed":
		return term.Green
	case "failed", "timed_out", "expired":
		return term.Red
	case "blocked":
		return term.Yellow
	case "running":
		return term.Cyan
	}
	return term.Dim
}

func deref(t *string) string {
	if t == nil {
		return ""
	}
	return *t
}

// roomForOutput is the narrowest screen on which a list of runs shows their output.
const roomForOutput = 110

// minute is a timestamp to the minute.
func minute(timestamp string) string {
	if t, err := time.Parse(time.RFC3339Nano, timestamp); err == nil {
		return t.UTC().Format("01-02 15:04")
	}
	return timestamp
}

// short is a timestamp to the second.
func short(timestamp string) string {
	if t, err := time.Parse(time.RFC3339Nano, timestamp); err == nil {
		return t.UTC().Format("2006-01-02 15:04:05")
	}
	return timestamp
}

const previewLength = 80

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > previewLength {
		return string(r[:previewLength-1]) + "…"
	}
	return text
}

// collect reads all pages.
func collect(items iter.Seq2[json.RawMessage, error]) ([]json.RawMessage, error) {
	out := []json.RawMessage{}
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

// historyCommand is a command about the records of one run.
func historyCommand(s *shell, use, short string, read func(context.Context, *connection, string) ([]json.RawMessage, error), key string, show func([]json.RawMessage) error) *cobra.Command {
	var f serviceFlags
	cmd := leaf(use, short, []string{"RUN_ID"}, func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), &f, reading)
		if err != nil {
			return err
		}
		defer c.close()
		items, err := read(cmd.Context(), c, args[0])
		if err != nil {
			return c.fail(err)
		}
		if !asJSON(cmd) {
			return show(items)
		}
		list, err := encode(items)
		if err != nil {
			return err
		}
		id, err := encode(args[0])
		if err != nil {
			return err
		}
		return s.raw(fmt.Appendf(nil, `{"run_id":%s,%q:%s}`, id, key, list))
	})
	addServiceFlags(cmd, &f)
	cmd.ValidArgsFunction = s.completeRuns(&f)
	return jsonFlag(cmd)
}

func (s *shell) runsCheckpoints() *cobra.Command {
	return historyCommand(s, "checkpoints", "List the checkpoints of a run", func(ctx context.Context, c *connection, id string) ([]json.RawMessage, error) {
		return collect(c.Checkpoints(ctx, id))
	}, "checkpoints", func(items []json.RawMessage) error {
		s.out.Success(fmt.Sprintf("%d checkpoint(s).", len(items)))
		return s.value(items)
	})
}

func (s *shell) runsTrace() *cobra.Command {
	var waterfall bool
	cmd := historyCommand(s, "trace", "Show the trace of a run", func(ctx context.Context, c *connection, id string) ([]json.RawMessage, error) {
		return collect(c.Trace(ctx, id))
	}, "events", func(items []json.RawMessage) error {
		if waterfall {
			return s.waterfall(items)
		}
		return s.traceTable(items)
	})
	cmd.Flags().BoolVar(&waterfall, "waterfall", false, "Draw when each step began and how long it took.")
	return cmd
}

// traceEvent is what a table shows of an event.
type traceEvent struct {
	Type          string  `json:"type"`
	AgentName     *string `json:"agent_name"`
	WorkflowName  *string `json:"workflow_name"`
	StepID        *string `json:"step_id"`
	NodeID        *string `json:"node_id"`
	ToolName      *string `json:"tool_name"`
	OutputPreview *string `json:"output_preview"`
	InputPreview  *string `json:"input_preview"`
	Timestamp     string  `json:"timestamp"`
}

func (e *traceEvent) where() string { return orWord(deref(e.StepID), deref(e.NodeID)) }

func readTrace(items []json.RawMessage) ([]traceEvent, error) {
	out := make([]traceEvent, len(items))
	for i, item := range items {
		if err := json.Unmarshal(item, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *shell) traceTable(items []json.RawMessage) error {
	events, err := readTrace(items)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(events))
	for i := range events {
		e := &events[i]
		rows = append(rows, []string{
			fmt.Sprint(i + 1), e.Type, deref(e.AgentName), deref(e.WorkflowName), e.where(), deref(e.ToolName), oneLine(orWord(deref(e.OutputPreview), deref(e.InputPreview))),
		})
	}
	s.out.Table(term.Table{Title: "Trace Events", Headers: []string{"#", "Type", "Agent", "Workflow", "Step", "Tool", "Preview"}, Rows: rows})
	return nil
}

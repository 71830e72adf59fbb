package rows

import (
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/store"
)

// RunColumns lists the columns of runs in the order of Fields.
const RunColumns = `id, status, target, agent_name, workflow_name, workflow_kind, session_id, environment, principal, snapshot_digest,
 created_at, updated_at, started_at, completed_at, deadline_at, timeout_seconds, trace_parent, checkpoint_seq, event_seq, journal_seq,
 trace_count, trace_dropped, input_tokens, output_tokens, total_tokens, error_type, error_message, current_step_index, current_step_id,
 current_node_id, continuation_id, visited_steps, visited_nodes, output, input, creation, progress, pending_request, messages`

// Fields returns pointers to scan a row of RunColumns into.
func (r *Run) Fields() []any {
	return []any{
		&r.ID, &r.Status, &r.Target, &r.AgentName, &r.WorkflowName, &r.WorkflowKind, &r.SessionID, &r.Environment, &r.Principal,
		&r.SnapshotDigest, &r.CreatedAt, &r.UpdatedAt, &r.StartedAt, &r.CompletedAt, &r.DeadlineAt, &r.TimeoutSeconds, &r.TraceParent,
		&r.CheckpointSeq, &r.EventSeq, &r.JournalSeq, &r.TraceCount, &r.TraceDropped, &r.InputTokens, &r.OutputTokens, &r.TotalTokens,
		&r.ErrorType, &r.ErrorMessage, &r.CurrentStepIndex, &r.CurrentStepID, &r.CurrentNodeID, &r.ContinuationID, &r.VisitedSteps,
		&r.VisitedNodes, &r.Output, &r.Input, &r.Creation, &r.Progress, &r.PendingRequest, &r.Messages,
	}
}

// Dialect is what differs between the databases in a composed query.
type Dialect struct {
	// Placeholder returns the n-th parameter, counted from 1.
	Placeholder func(n int) string
	// Like is the operator that ignores case.
	Like string
	// Tie is the column that orders rows with equal keys by age.
	Tie string
	// Text prepares a text argument, or is nil.
	Text func(string) string
}

// Clause composes the WHERE part of queries over a filter.
type Clause struct {
	dialect Dialect
	terms   []string
	// Args are the parameters so far.
	Args []any
}

// NewClause starts an empty clause.
func NewClause(d Dialect) *Clause { return &Clause{dialect: d} }

// Arg adds a parameter and returns its placeholder.
func (c *Clause) Arg(v any) string {
	c.Args = append(c.Args, v)
	return c.dialect.Placeholder(len(c.Args))
}

// And adds a term; every "?" in it stands for the parameter v.
func (c *Clause) And(term string, v any) {
	c.terms = append(c.terms, strings.ReplaceAll(term, "?", c.Arg(v)))
}

// Where returns the clause with its keyword, or nothing.
func (c *Clause) Where() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

// Runs adds the terms of a run filter.
func (c *Clause) Runs(f store.RunFilter) {
	equal := func(column string, v *string) {
		if v != nil {
			c.And(column+" = ?", *v)
		}
	}
	equal("status", f.Status)
	equal("workflow_kind", f.WorkflowKind)
	equal("workflow_name", f.WorkflowName)
	equal("session_id", f.SessionID)
	if f.HasError != nil {
		null := " IS NULL"
		if *f.HasError {
			null = " IS NOT NULL"
		}
		c.terms = append(c.terms, "error_type"+null)
	}
	if f.CreatedAfter != nil {
		c.And("created_at >= ?", micros(*f.CreatedAfter))
	}
	if f.CreatedBefore != nil {
		c.And("created_at <= ?", micros(*f.CreatedBefore))
	}
	if f.Text == "" {
		return
	}
	text := f.Text
	if c.dialect.Text != nil {
		text = c.dialect.Text(text)
	}
	// Each side has a parameter of its own, since not every dialect can name one twice.
	like := " " + c.dialect.Like + " "
	first, second := c.Arg(pattern(text)), c.Arg(pattern(text))
	c.terms = append(c.terms, `(output`+like+first+` ESCAPE '\' OR error_message`+like+second+` ESCAPE '\')`)
}

// micros cuts a time to what the databases store, so that a bound taken from a stored row includes that row.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func pattern(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

// ListRuns composes the query of a page.
func ListRuns(d Dialect, f store.RunFilter) (string, []any) {
	c := NewClause(d)
	c.Runs(f)
	query := "SELECT " + RunColumns + " FROM runs" + c.Where() + " ORDER BY " + orderRuns(d, f)
	if f.Limit > 0 {
		query += " LIMIT " + c.Arg(int64(f.Limit))
		if f.Offset > 0 {
			query += " OFFSET " + c.Arg(int64(f.Offset))
		}
	}
	return query, c.Args
}

// CountRuns composes the query of a total.
func CountRuns(d Dialect, f store.RunFilter) (string, []any) {
	c := NewClause(d)
	c.Runs(f)
	return "SELECT count(*) FROM runs" + c.Where(), c.Args
}

// orderRuns sorts by a key that has an index; every other key is the caller's to sort, over the newest rows.
func orderRuns(d Dialect, f store.RunFilter) string {
	direction, opposite := " ASC", " DESC"
	if f.Desc {
		direction, opposite = opposite, direction
	}
	switch f.SortBy {
	case "id":
		return "id" + direction
	case "created_at":
		return "created_at" + direction + ", " + d.Tie + direction
	case "status":
		return "status" + direction + ", updated_at" + opposite + ", " + d.Tie + direction
	case "updated_at":
		return "updated_at" + direction + ", " + d.Tie + direction
	}
	return "updated_at DESC, " + d.Tie + " DESC"
}

// ListAudit composes the query of a page of audit events.
func ListAudit(d Dialect, f store.AuditFilter) (string, []any) {
	c := auditClause(d, f)
	direction := " ASC"
	if f.Desc {
		direction = " DESC"
	}
	query := "SELECT sequence, id, type, run_id, continuation_id, actor, created_at, metadata FROM audit_events" + c.Where() +
		" ORDER BY created_at" + direction + ", sequence" + direction
	if f.Limit > 0 {
		query += " LIMIT " + c.Arg(int64(f.Limit))
		if f.Offset > 0 {
			query += " OFFSET " + c.Arg(int64(f.Offset))
		}
	}
	return query, c.Args
}

// CountAudit composes the query of the number of matching audit events.
func CountAudit(d Dialect, f store.AuditFilter) (string, []any) {
	c := auditClause(d, f)
	return "SELECT count(*) FROM audit_events" + c.Where(), c.Args
}

func auditClause(d Dialect, f store.AuditFilter) *Clause {
	c := NewClause(d)
	if f.Type != "" {
		c.And("type = ?", f.Type)
	}
	if f.RunID != "" {
		c.And("run_id = ?", f.RunID)
	}
	return c
}

// Fields returns pointers to scan a row of ListAudit into.
func (r *Audit) Fields() []any {
	return []any{&r.Sequence, &r.ID, &r.Type, &r.RunID, &r.ContinuationID, &r.Actor, &r.CreatedAt, &r.Metadata}
}

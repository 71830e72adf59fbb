// Package rows converts between the domain records and the rows that both SQL dialects share. Its row types have exactly the fields of the
// generated ones, so that an adapter converts with a plain type conversion. It imports run, the store port and dbtype.
package rows

import (
	"encoding/json"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store/dbtype"
)

// Run is a row of the runs table.
type Run struct {
	ID               string
	Status           string
	Target           string
	AgentName        *string
	WorkflowName     *string
	WorkflowKind     *string
	SessionID        *string
	Environment      *string
	Principal        string
	SnapshotDigest   string
	CreatedAt        time.Time
	UpdatedAt        time.Time
	StartedAt        *time.Time
	CompletedAt      *time.Time
	DeadlineAt       *time.Time
	TimeoutSeconds   *float64
	TraceParent      string
	CheckpointSeq    int64
	EventSeq         int64
	JournalSeq       int64
	TraceCount       int64
	TraceDropped     int64
	InputTokens      *int64
	OutputTokens     *int64
	TotalTokens      *int64
	ErrorType        *string
	ErrorMessage     *string
	CurrentStepIndex *int64
	CurrentStepID    *string
	CurrentNodeID    *string
	ContinuationID   *string
	VisitedSteps     dbtype.JSON
	VisitedNodes     dbtype.JSON
	Output           *string
	Input            string
	Creation         dbtype.JSON
	Progress         dbtype.JSON
	PendingRequest   dbtype.JSON
	Messages         dbtype.JSON
}

// RunUpdate holds the columns that a later write may change.
type RunUpdate struct {
	Status           string
	AgentName        *string
	WorkflowName     *string
	WorkflowKind     *string
	UpdatedAt        time.Time
	StartedAt        *time.Time
	CompletedAt      *time.Time
	DeadlineAt       *time.Time
	CheckpointSeq    int64
	EventSeq         int64
	JournalSeq       int64
	TraceCount       int64
	TraceDropped     int64
	InputTokens      *int64
	OutputTokens     *int64
	TotalTokens      *int64
	ErrorType        *string
	ErrorMessage     *string
	CurrentStepIndex *int64
	CurrentStepID    *string
	CurrentNodeID    *string
	ContinuationID   *string
	VisitedSteps     dbtype.JSON
	VisitedNodes     dbtype.JSON
	Output           *string
	Progress         dbtype.JSON
	PendingRequest   dbtype.JSON
	Messages         dbtype.JSON
	ID               string
}

// folded stands in the place of a visited list that the newest checkpoint has.
const folded = `{"in":"checkpoint"}`

// FromRun makes the row of a record.
func FromRun(r run.Run) Run {
	in, out, total := tokens(r.Usage)
	steps, nodes := dbtype.JSON(folded), dbtype.JSON(folded)
	if !r.VisitedFolded {
		steps, nodes = fromStrings(r.VisitedSteps), fromStrings(r.VisitedNodes)
	}
	kind, message := failure(r.Error)
	return Run{
		ID: r.ID, Status: string(r.Status), Target: r.Target, AgentName: r.AgentName, WorkflowName: r.WorkflowName,
		WorkflowKind: r.WorkflowKind, SessionID: r.SessionID, Environment: r.Environment, Principal: r.Principal,
		SnapshotDigest: r.SnapshotDigest, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, StartedAt: r.StartedAt,
		CompletedAt: r.CompletedAt, DeadlineAt: r.DeadlineAt, TimeoutSeconds: r.TimeoutSeconds, TraceParent: r.TraceParent,
		CheckpointSeq: r.CheckpointSeq, EventSeq: r.EventSeq, JournalSeq: r.JournalSeq, TraceCount: r.TraceCount,
		TraceDropped: r.TraceDropped, InputTokens: in, OutputTokens: out, TotalTokens: total, ErrorType: kind, ErrorMessage: message,
		CurrentStepIndex: r.CurrentStepIndex, CurrentStepID: r.CurrentStepID, CurrentNodeID: r.CurrentNodeID,
		ContinuationID: r.ContinuationID, VisitedSteps: steps, VisitedNodes: nodes,
		Output: r.Output, Input: r.Input, Creation: dbtype.JSON(r.Creation), Progress: dbtype.JSON(r.Progress),
		PendingRequest: dbtype.JSON(r.PendingRequest), Messages: dbtype.JSON(r.Messages),
	}
}

// Update takes the changeable columns of the row.
func (r Run) Update() RunUpdate {
	return RunUpdate{
		Status: r.Status, AgentName: r.AgentName, WorkflowName: r.WorkflowName, WorkflowKind: r.WorkflowKind, UpdatedAt: r.UpdatedAt,
		StartedAt: r.StartedAt, CompletedAt: r.CompletedAt, DeadlineAt: r.DeadlineAt, CheckpointSeq: r.CheckpointSeq, EventSeq: r.EventSeq,
		JournalSeq: r.JournalSeq, TraceCount: r.TraceCount, TraceDropped: r.TraceDropped, InputTokens: r.InputTokens,
		OutputTokens: r.OutputTokens, TotalTokens: r.TotalTokens, ErrorType: r.ErrorType, ErrorMessage: r.ErrorMessage,
		CurrentStepIndex: r.CurrentStepIndex, CurrentStepID: r.CurrentStepID, CurrentNodeID: r.CurrentNodeID,
		ContinuationID: r.ContinuationID, VisitedSteps: r.VisitedSteps, VisitedNodes: r.VisitedNodes, Output: r.Output,
		Progress: r.Progress, PendingRequest: r.PendingRequest, Messages: r.Messages, ID: r.ID,
	}
}

// Record makes the domain record of the row. When it is marked as folded, the visited lists are to be read from the checkpoints.
func (r Run) Record() (run.Run, error) {
	steps, err := toStrings(r.VisitedSteps)
	if err != nil {
		return run.Run{}, err
	}
	nodes, err := toStrings(r.VisitedNodes)
	if err != nil {
		return run.Run{}, err
	}
	out := run.Run{
		ID: r.ID, Status: run.Status(r.Status), Target: r.Target, AgentName: r.AgentName, WorkflowName: r.WorkflowName,
		WorkflowKind: r.WorkflowKind, Input: r.Input, Output: r.Output, CurrentStepIndex: r.CurrentStepIndex,
		CurrentStepID: r.CurrentStepID, CurrentNodeID: r.CurrentNodeID, VisitedSteps: steps, VisitedNodes: nodes, VisitedFolded: string(r.VisitedSteps) == folded,
		Messages: json.RawMessage(r.Messages), PendingRequest: json.RawMessage(r.PendingRequest), ContinuationID: r.ContinuationID,
		Creation: json.RawMessage(r.Creation), Progress: json.RawMessage(r.Progress), SessionID: r.SessionID,
		Environment: r.Environment, SnapshotDigest: r.SnapshotDigest, Principal: r.Principal, TraceCount: r.TraceCount,
		TraceDropped: r.TraceDropped, CheckpointSeq: r.CheckpointSeq, EventSeq: r.EventSeq, JournalSeq: r.JournalSeq,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), StartedAt: utc(r.StartedAt), CompletedAt: utc(r.CompletedAt),
		DeadlineAt: utc(r.DeadlineAt), TimeoutSeconds: r.TimeoutSeconds, TraceParent: r.TraceParent,
	}
	if r.ErrorType != nil || r.ErrorMessage != nil {
		out.Error = &run.Failure{Message: deref(r.ErrorMessage), Type: deref(r.ErrorType)}
	}
	if r.TotalTokens != nil {
		out.Usage = &run.Usage{InputTokens: deref(r.InputTokens), OutputTokens: deref(r.OutputTokens), TotalTokens: *r.TotalTokens}
	}
	return out, nil
}

// Settle takes the outcome of a cancellation or time-out from next and everything a leg may have written meanwhile from the stored row, so
// that a caller that read the run a moment earlier undoes nothing.
func Settle(stored, next run.Run) run.Run {
	out := stored
	out.Status, out.Error = next.Status, next.Error
	out.PendingRequest, out.ContinuationID = next.PendingRequest, next.ContinuationID
	out.UpdatedAt, out.CompletedAt = next.UpdatedAt, next.CompletedAt
	out.TraceCount = max(stored.TraceCount, next.TraceCount)
	out.TraceDropped = max(stored.TraceDropped, next.TraceDropped)
	if next.Progress != nil {
		out.Progress = next.Progress
	}
	return out
}

func tokens(u *run.Usage) (in, out, total *int64) {
	if u == nil {
		return nil, nil, nil
	}
	c := *u
	return &c.InputTokens, &c.OutputTokens, &c.TotalTokens
}

func failure(f *run.Failure) (kind, message *string) {
	if f == nil {
		return nil, nil
	}
	c := *f
	return &c.Type, &c.Message
}

func fromStrings(s []string) dbtype.JSON {
	if s == nil {
		return nil
	}
	if len(s) == 0 {
		return dbtype.JSON("[]")
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return dbtype.JSON("[]")
	}
	return raw
}

func toStrings(raw dbtype.JSON) ([]string, error) {
	if raw == nil || string(raw) == folded {
		return nil, nil
	}
	if len(raw) == 2 {
		return []string{}, nil
	}
	var s []string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	return s, nil
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Merge takes the changeable columns from next and all others from stored.
func Merge(stored, next run.Run) run.Run {
	next.ID, next.Target, next.Input, next.Creation = stored.ID, stored.Target, stored.Input, stored.Creation
	next.SessionID, next.Environment, next.Principal = stored.SessionID, stored.Environment, stored.Principal
	next.SnapshotDigest, next.CreatedAt, next.TraceParent = stored.SnapshotDigest, stored.CreatedAt, stored.TraceParent
	next.TimeoutSeconds = stored.TimeoutSeconds
	return next
}

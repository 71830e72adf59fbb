package rows

import (
	"encoding/json"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store/dbtype"
)

// Task is a row of the human_tasks table.
type Task struct {
	ID               string
	RunID            string
	State            string
	WorkflowName     *string
	WorkflowKind     string
	CurrentStepIndex *int64
	CurrentNodeID    *string
	StepKey          string
	RequestID        string
	Assignee         *string
	OnTimeout        string
	TimeoutSeconds   int64
	ExpiresAt        *time.Time
	EscalatedAt      *time.Time
	CreatedAt        time.Time
	DecidedAt        *time.Time
	DecidedBy        *string
	Decision         dbtype.JSON
	VisitedSteps     dbtype.JSON
	VisitedNodes     dbtype.JSON
	CurrentInput     string
	Request          dbtype.JSON
	Metadata         dbtype.JSON
	Messages         dbtype.JSON
}

// FromTask makes the row of a record.
func FromTask(t run.HumanTask) Task {
	return Task{
		ID: t.ID, RunID: t.RunID, State: t.State, WorkflowName: t.WorkflowName, WorkflowKind: t.WorkflowKind,
		CurrentStepIndex: t.CurrentStepIndex, CurrentNodeID: t.CurrentNodeID, StepKey: t.StepKey, RequestID: t.RequestID,
		Assignee: t.Assignee, OnTimeout: t.OnTimeout, TimeoutSeconds: t.TimeoutSeconds, ExpiresAt: t.ExpiresAt,
		EscalatedAt: t.EscalatedAt, CreatedAt: t.CreatedAt, DecidedAt: t.DecidedAt, DecidedBy: t.DecidedBy,
		Decision: dbtype.JSON(t.Decision), VisitedSteps: fromStrings(t.VisitedSteps), VisitedNodes: fromStrings(t.VisitedNodes),
		CurrentInput: t.CurrentInput, Request: dbtype.JSON(t.Request), Metadata: dbtype.JSON(t.Metadata), Messages: dbtype.JSON(t.Messages),
	}
}

// Record makes the domain record of the row.
func (r Task) Record() (run.HumanTask, error) {
	steps, err := toStrings(r.VisitedSteps)
	if err != nil {
		return run.HumanTask{}, err
	}
	nodes, err := toStrings(r.VisitedNodes)
	if err != nil {
		return run.HumanTask{}, err
	}
	return run.HumanTask{
		ID: r.ID, RunID: r.RunID, State: r.State, WorkflowName: r.WorkflowName, WorkflowKind: r.WorkflowKind,
		CurrentStepIndex: r.CurrentStepIndex, CurrentNodeID: r.CurrentNodeID, CurrentInput: r.CurrentInput, VisitedSteps: steps,
		VisitedNodes: nodes, Messages: json.RawMessage(r.Messages), StepKey: r.StepKey, RequestID: r.RequestID,
		Request: json.RawMessage(r.Request), Metadata: json.RawMessage(r.Metadata), Assignee: r.Assignee, OnTimeout: r.OnTimeout,
		TimeoutSeconds: r.TimeoutSeconds, ExpiresAt: utc(r.ExpiresAt), EscalatedAt: utc(r.EscalatedAt), CreatedAt: r.CreatedAt.UTC(),
		DecidedAt: utc(r.DecidedAt), DecidedBy: r.DecidedBy, Decision: json.RawMessage(r.Decision),
	}, nil
}

// Audit is a row of the audit_events table.
type Audit struct {
	Sequence       int64
	ID             string
	Type           string
	RunID          *string
	ContinuationID *string
	Actor          *string
	CreatedAt      time.Time
	Metadata       dbtype.JSON
}

// Record makes the domain record of the row.
func (r Audit) Record() run.AuditEvent {
	return run.AuditEvent{
		ID: r.ID, Type: r.Type, RunID: r.RunID, ContinuationID: r.ContinuationID, Actor: r.Actor,
		Metadata: json.RawMessage(r.Metadata), CreatedAt: r.CreatedAt.UTC(),
	}
}

// Key is a row of the idempotency_keys table.
type Key struct {
	Scope      string
	Key        string
	Hash       string
	Done       bool
	StatusCode int64
	RunID      string
	UpdatedAt  time.Time
	Response   dbtype.JSON
}

// Record makes the domain record of the row.
func (r Key) Record() run.IdempotencyRecord {
	return run.IdempotencyRecord{
		Scope: r.Scope, Key: r.Key, Hash: r.Hash, Done: r.Done, StatusCode: int(r.StatusCode),
		Response: json.RawMessage(r.Response), RunID: r.RunID, UpdatedAt: r.UpdatedAt.UTC(),
	}
}

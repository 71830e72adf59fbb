// Package run holds the domain records of the platform (run, checkpoint, human task, queue item, audit event, live event) and the run
// state machine. Records are plain data shared by the store, the engine's runner and the use cases. It imports only the standard library.
package run

import (
	"encoding/json"
	"time"
)

// Status is the state of a run as the API shows it.
type Status string

// Statuses. Queued is shown until a worker really starts the run (decision W1). MaxIterations exists only in the response of a leg;
// the row is failed.
const (
	Queued        Status = "queued"
	Running       Status = "running"
	Blocked       Status = "blocked"
	Completed     Status = "completed"
	Failed        Status = "failed"
	Cancelled     Status = "cancelled"
	TimedOut      Status = "timed_out"
	Expired       Status = "expired"
	MaxIterations Status = "max_iterations"
)

// Terminal reports whether a run in this status never moves again, except that a failed run may be continued.
func (s Status) Terminal() bool {
	switch s {
	case Completed, Failed, Cancelled, TimedOut, Expired:
		return true
	}
	return false
}

// Failure is the `error` object of a run; Type is one of the codes of decision W19.
type Failure struct {
	Message string `json:"message"`
	Type    string `json:"type"`
}

// Usage counts tokens; nil means that no provider reported any.
type Usage struct {
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
	TotalTokens  int64 `json:"total_tokens"`
}

// Add returns the sum; either side may be nil.
func (u *Usage) Add(o *Usage) *Usage {
	switch {
	case u == nil:
		return o
	case o == nil:
		return u
	}
	return &Usage{u.InputTokens + o.InputTokens, u.OutputTokens + o.OutputTokens, u.TotalTokens + o.TotalTokens}
}

// Run is one stored run. Raw fields hold exact (unredacted) JSON; redaction happens when a view is rendered.
type Run struct {
	ID     string
	Status Status
	// Target is "agent" or "workflow" as requested; WorkflowKind is what the API shows (service-api.md §9.1).
	Target       string
	AgentName    *string
	WorkflowName *string
	WorkflowKind *string
	Input        string
	Output       *string

	CurrentStepIndex *int64
	CurrentStepID    *string
	CurrentNodeID    *string
	VisitedSteps     []string
	VisitedNodes     []string
	// VisitedFolded writes a row whose visited lists are those of its newest checkpoint and are not stored again. Rows that are read have them.
	VisitedFolded bool
	// Messages is the thread as a JSON array.
	Messages json.RawMessage
	// PendingRequest is the open human request (service-api.md §9.5), or nil.
	PendingRequest json.RawMessage
	ContinuationID *string

	// Creation is the metadata object written at creation, in the order of service-api.md §9.2, without frozen_spec (which is read from the snapshot).
	Creation json.RawMessage
	// Progress is the object of metadata written while running: step_iteration_counts, execution_context, result metadata; without `trace`.
	Progress json.RawMessage
	Error    *Failure
	Usage    *Usage

	SessionID   *string
	Environment *string
	// SnapshotDigest names the frozen spec and its plan in the snapshots table.
	SnapshotDigest string
	// Principal is the name of the caller that created the run.
	Principal string

	TraceCount   int64
	TraceDropped int64
	// CheckpointSeq, EventSeq and JournalSeq are the last numbers given out for this run; the store assigns numbers.
	CheckpointSeq int64
	EventSeq      int64
	JournalSeq    int64

	CreatedAt   time.Time
	UpdatedAt   time.Time
	StartedAt   *time.Time
	CompletedAt *time.Time
	DeadlineAt  *time.Time
	// TimeoutSeconds is the run deadline as requested, or nil.
	TimeoutSeconds *float64
	// TraceParent is the W3C trace context of the caller, or empty.
	TraceParent string
}

// Checkpoint types (service-api.md §9.6).
const (
	CheckpointRunStarted    = "run_started"
	CheckpointStepCompleted = "step_completed"
	CheckpointStepFailed    = "step_failed"
	CheckpointNodeCompleted = "node_completed"
	CheckpointHumanPause    = "human_pause"
	CheckpointHumanResume   = "human_resume"
	CheckpointReplayContext = "replay_context"
	CheckpointRunCancelled  = "run_cancelled"
	CheckpointRunCompleted  = "run_completed"
	CheckpointRunFailed     = "run_failed"
	CheckpointRunTimedOut   = "run_timed_out"
)

// Checkpoint is one row of a run's history. State, TraceEvents and Metadata are already redacted.
type Checkpoint struct {
	ID           string
	RunID        string
	Type         string
	WorkflowName *string
	StepID       *string
	NodeID       *string
	// Sequence is assigned by the store: 1, 2, 3, … per run.
	Sequence  int64
	Iteration int64
	// State is the run record of service-api.md §9.1 without trace_events and without the creation metadata, which readers splice in: constant size per step.
	State json.RawMessage
	// TraceEvents is the JSON array of events since the previous checkpoint.
	TraceEvents json.RawMessage
	Metadata    json.RawMessage
	CreatedAt   time.Time
}

// EntryKind names what a journal entry records.
type EntryKind string

// Journal entry kinds. A call is started and done in two entries only when it has an effect outside (a tool call).
const (
	EntryCallStarted EntryKind = "call_started"
	EntryCallDone    EntryKind = "call_done"
	EntryStep        EntryKind = "step"
	EntryHuman       EntryKind = "human"
	EntryLeg         EntryKind = "leg"
)

// Entry is one exact fact of a run. Entries in sequence order rebuild the engine's state (decision X1). (run, kind, key) is unique.
type Entry struct {
	// Sequence is assigned by the store.
	Sequence int64
	Kind     EntryKind
	// Key names the step instance or call, for example "s1#1" or "s1#1/model/0".
	Key string
	// Data is what the engine or the agent loop needs to go on; never redacted, never shown.
	Data json.RawMessage
}

// Event is one row of a run's live event log.
type Event struct {
	// Sequence is assigned by the store: 1, 2, 3, … per run.
	Sequence  int64
	Kind      string
	Data      json.RawMessage
	CreatedAt time.Time
}

// Task states.
const (
	TaskPending   = "pending"
	TaskDecided   = "decided"
	TaskExpired   = "expired"
	TaskCancelled = "cancelled"
)

// HumanTask is one pause for a person; its ID is the continuation id. Raw fields are exact, redacted when rendered.
type HumanTask struct {
	ID               string
	RunID            string
	State            string
	WorkflowName     *string
	WorkflowKind     string
	CurrentStepIndex *int64
	CurrentNodeID    *string
	CurrentInput     string
	VisitedSteps     []string
	VisitedNodes     []string
	Messages         json.RawMessage
	// StepKey is the engine's key of the waiting step instance.
	StepKey   string
	RequestID string
	// Request is the object of service-api.md §9.5.
	Request json.RawMessage
	// Metadata is the object of service-api.md §9.8 (step_id, orchestration_state, …).
	Metadata  json.RawMessage
	Assignee  *string
	OnTimeout string
	// TimeoutSeconds is as declared; 0 means none.
	TimeoutSeconds int64
	ExpiresAt      *time.Time
	EscalatedAt    *time.Time
	CreatedAt      time.Time
	DecidedAt      *time.Time
	DecidedBy      *string
	// Decision is the resume body as JSON, or nil.
	Decision json.RawMessage
}

// AuditEvent is one append-only record of service-api.md §14. Metadata is already redacted.
type AuditEvent struct {
	ID             string
	Type           string
	RunID          *string
	ContinuationID *string
	Actor          *string
	Metadata       json.RawMessage
	CreatedAt      time.Time
}

// Snapshot is a frozen spec with its compiled plan, shared by identical runs.
type Snapshot struct {
	// Digest is the lower-case hex SHA-256 of the frozen inputs.
	Digest string
	// Frozen is the `frozen_spec` object as shown in run metadata.
	Frozen json.RawMessage
	// Inputs is what internal/spec needs to open the snapshot again.
	Inputs json.RawMessage
	// Plan is the serialised plan.
	Plan json.RawMessage
}

// Modes of a queue row.
const (
	ModeInline = "inline"
	ModeQueued = "queued"
)

// Reply names which response body finishes the idempotency record of a leg.
const (
	ReplyCreate   = "create"
	ReplyContinue = "continue"
	ReplyResume   = "resume"
)

// Claimed is a run handed to an executor together with its fence.
type Claimed struct {
	Run   Run
	Fence Fence
	Mode  string
	// Reply is one of the Reply constants: how the leg's response is rendered.
	Reply string
	// ResumedFrom is the continuation id that the leg answers, or empty.
	ResumedFrom string
	// Released counts claims given back by a drain; they do not count as attempts.
	Released int64
}

// Fence identifies one claim. Every write after a claim carries it; the store refuses a write whose fence is not the row's.
type Fence struct {
	RunID string
	Owner string
	// Attempt grows with every claim of the run.
	Attempt int64
}

// IdempotencyRecord is the stored state of one key.
type IdempotencyRecord struct {
	Scope string
	Key   string
	// Hash is the SHA-256 of the canonical request.
	Hash string
	// Done tells whether Response is there; false means that the request is still executing.
	Done       bool
	StatusCode int
	Response   json.RawMessage
	RunID      string
	UpdatedAt  time.Time
}

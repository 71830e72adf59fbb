// Package store is the port of the platform's state. An event of the platform (create, call, step, block, resume, finish, …) is one method,
// one transaction and one round trip. Both adapters pass the suite in storetest. It imports internal/run only.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kneo-go/kneo/internal/run"
)

// Sentinel errors; adapters wrap causes with them.
var (
	// ErrNotFound: no such row.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict: the row is in a state that does not allow the write (compare-and-swap lost).
	ErrConflict = errors.New("store: conflict")
	// ErrLeaseLost: the fence is not the row's; another executor owns the run, or it became terminal.
	ErrLeaseLost = errors.New("store: lease lost")
	// ErrLocked: the named lease is held by another owner.
	ErrLocked = errors.New("store: locked")
	// ErrKeyExists: the idempotency key has a record already; read it with Idempotency.
	ErrKeyExists = errors.New("store: idempotency key exists")
	// ErrUnavailable: the database cannot be reached, is locked, full or read-only.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrSchemaTooNew: the database was migrated by a newer release.
	ErrSchemaTooNew = errors.New("store: schema is newer than this binary")
	// ErrForeign: the file or database holds tables of another program.
	ErrForeign = errors.New("store: not a database of this program")
)

// QueueFullError is returned by CreateRun when the backlog is at its limit.
type QueueFullError struct{ Depth, Limit int64 }

// Error names depth and limit.
func (e *QueueFullError) Error() string { return "store: queue full" }

// InUseError is returned when another process already writes to an embedded database file.
type InUseError struct {
	// Path is the database file, Holder the process id of its writer when known.
	Path, Holder string
}

// Error names the file and the ways out.
func (e *InUseError) Error() string {
	holder := "another process"
	if e.Holder != "" {
		holder = "process " + e.Holder
	}
	return "database " + e.Path + " is already in use by " + holder +
		"; stop it, talk to it with --service-url, or share one PostgreSQL database with KNEO_SERV_DATABASE_URL"
}

// Unwrap makes it an ErrUnavailable.
func (e *InUseError) Unwrap() error { return ErrUnavailable }

// Claim is the idempotency key of a request that starts a leg; the record is inserted with the leg and completed by the write that ends it.
type Claim struct {
	Scope, Key, Hash string
	// StatusCode is the HTTP status a replay answers with.
	StatusCode int
}

// Progress is what a leg writes with an event: all parts are optional and land in one transaction. Sequences are assigned by the store.
type Progress struct {
	// Run, when not nil, replaces the mutable columns of the row (not ID, creation columns or sequence counters).
	Run         *run.Run
	Entries     []run.Entry
	Checkpoints []run.Checkpoint
	Events      []run.Event
	Audit       []run.AuditEvent
}

// CreateRun is the creation of a run with everything that belongs to it.
type CreateRun struct {
	Run      run.Run
	Snapshot run.Snapshot
	// Mode is inline (already leased to Owner) or queued.
	Mode  string
	Owner string
	Lease time.Duration
	// MaxDepth is the backlog limit for queued runs; 0 means none.
	MaxDepth    int64
	Claim       *Claim
	Checkpoints []run.Checkpoint
	Events      []run.Event
	Audit       []run.AuditEvent
	// Response is stored under the key at once (a queued run's 202 body), or nil.
	Response json.RawMessage
}

// StartLeg begins a leg of an existing run: an answered human task or a continued failure.
type StartLeg struct {
	RunID string
	// From is the status the run must be in (blocked or failed), else ErrConflict.
	From run.Status
	Mode string
	// Owner takes the lease when Mode is inline.
	Owner string
	Lease time.Duration
	Reply string
	Claim *Claim
	Progress
	// Task, when set, moves this pending task to decided (ErrConflict when it is not pending).
	Task *TaskDecision
}

// TaskDecision closes a pending human task.
type TaskDecision struct {
	ID        string
	State     string
	DecidedBy string
	Decision  json.RawMessage
	// At is when; the zero time is now.
	At time.Time
}

// EndLeg is the last write of a leg: terminal status or a pause.
type EndLeg struct {
	Progress
	// Response completes the idempotency record of the leg; nil deletes the open record (outcomes that are not stored under a key).
	Response   json.RawMessage
	StatusCode int
	// Tasks are the human tasks that a pause opens.
	Tasks []run.HumanTask
	// Reopen names a decided task to set back to pending (decision X19), or is empty.
	Reopen string
}

// RunFilter selects runs; zero values do not filter. Results are newest first by SortBy.
type RunFilter struct {
	Status, WorkflowKind, WorkflowName, SessionID *string
	HasError                                      *bool
	CreatedAfter, CreatedBefore                   *time.Time
	// Text is a case-insensitive substring of output or error message.
	Text string
	// SortBy is a column the store can sort by ("updated_at", "created_at", "status", …); other keys are sorted by the caller over the window.
	SortBy string
	Desc   bool
	Limit  int
	Offset int
}

// AuditFilter selects audit events.
type AuditFilter struct {
	Type, RunID   string
	Desc          bool
	Limit, Offset int
}

// TaskFilter selects pending human tasks.
type TaskFilter struct {
	RunID, WorkflowKind string
	// Escalated filters when not nil.
	Escalated *bool
	Limit     int
}

// Beat is the answer of a heartbeat.
type Beat struct {
	// Lost are fences that this owner does not hold any more.
	Lost []run.Fence
	// Cancelled are runs that reached a terminal status elsewhere.
	Cancelled []string
	// Overdue are runs past their deadline.
	Overdue []string
}

// QueueStats counts open queue rows; inline rows are left out.
type QueueStats struct {
	Queued, Running, Failed int64
	// OldestQueued is the age of the oldest waiting run.
	OldestQueued time.Duration
}

// Runs reads runs and their history.
type Runs interface {
	CreateRun(ctx context.Context, c CreateRun) (run.Claimed, error)
	Run(ctx context.Context, id string) (run.Run, error)
	ListRuns(ctx context.Context, f RunFilter) ([]run.Run, error)
	CountRuns(ctx context.Context, f RunFilter) (int64, error)
	Snapshot(ctx context.Context, digest string) (run.Snapshot, error)
	Snapshots(ctx context.Context, digests []string) (map[string]run.Snapshot, error)
	Checkpoints(ctx context.Context, runID string) ([]run.Checkpoint, error)
	// LastCheckpoints returns the newest n in ascending order.
	LastCheckpoints(ctx context.Context, runID string, n int) ([]run.Checkpoint, error)
	Journal(ctx context.Context, runID string) ([]run.Entry, error)
	Events(ctx context.Context, runID string, after int64, limit int) ([]run.Event, error)
	// CancelRun moves a run that is not terminal to cancelled, closes its tasks and its queue row, and appends the progress. It returns the row as stored
	// and whether this call changed it.
	CancelRun(ctx context.Context, id string, p Progress) (run.Run, bool, error)
	// TimeOutRun does the same for a passed deadline.
	TimeOutRun(ctx context.Context, id string, p Progress) (run.Run, bool, error)
	// OverdueRuns returns running, queued or blocked runs whose deadline has passed, at most limit.
	OverdueRuns(ctx context.Context, now time.Time, limit int) ([]run.Run, error)
}

// Legs is what an executor of a claimed run writes. Every method is fenced and answers ErrLeaseLost when the fence is stale or the run is terminal.
type Legs interface {
	// RecordCall appends journal entries (and events) inside a step.
	RecordCall(ctx context.Context, f run.Fence, p Progress) error
	// CommitStep appends a finished step.
	CommitStep(ctx context.Context, f run.Fence, p Progress) error
	// BlockRun pauses the run for its tasks and gives the queue row back.
	BlockRun(ctx context.Context, f run.Fence, e EndLeg) error
	// FinishRun writes the terminal status; the first terminal write wins.
	FinishRun(ctx context.Context, f run.Fence, e EndLeg) error
	// ResumeRun starts the leg that follows an answered task, ContinueRun the one after a failure.
	ResumeRun(ctx context.Context, s StartLeg) (run.Claimed, error)
	ContinueRun(ctx context.Context, s StartLeg) (run.Claimed, error)
	// ReleaseRun gives a claim back (drain); it does not count as an attempt.
	ReleaseRun(ctx context.Context, f run.Fence) error
	// StartClaimed marks a claimed queued run as really running, in the shape of Progress (status, started_at, event).
	StartClaimed(ctx context.Context, f run.Fence, p Progress) error
}

// Queue hands runs to executors.
type Queue interface {
	// ClaimRuns leases up to n due runs (queued ones, and any whose lease has lapsed or whose owner is dead), oldest first.
	ClaimRuns(ctx context.Context, owner string, lease time.Duration, n int) ([]run.Claimed, error)
	// Heartbeat extends the leases of the owner that are named in held and reports what it lost. A lease that the owner does not name lapses, so a
	// claim whose answer never arrived is not held for ever.
	Heartbeat(ctx context.Context, owner string, lease time.Duration, held []run.Fence) (Beat, error)
	// RecoverOwners frees leases of owners that are certainly dead (all others on SQLite; those without heartbeat for ttl on PostgreSQL).
	RecoverOwners(ctx context.Context, self string, ttl time.Duration) (int64, error)
	QueueStats(ctx context.Context) (QueueStats, error)
	// Wake returns a channel that gets a value when runs may be due.
	Wake() <-chan struct{}
	// Changed returns a channel that gets run ids whose row or events changed, also by other processes.
	Changed(ctx context.Context) (<-chan string, error)
}

// HumanTasks reads pauses.
type HumanTasks interface {
	HumanTask(ctx context.Context, id string) (run.HumanTask, error)
	HumanTasks(ctx context.Context, f TaskFilter) ([]run.HumanTask, error)
	// TaskOfRequest finds a task by the id of its request, in any state.
	TaskOfRequest(ctx context.Context, requestID string) (run.HumanTask, error)
	// DueTasks are pending, not escalated tasks whose deadline has passed, at most limit.
	DueTasks(ctx context.Context, now time.Time, limit int) ([]run.HumanTask, error)
	// ExpireTask moves task to expired and its run to the row in p (CAS on blocked), in one transaction.
	ExpireTask(ctx context.Context, id string, p Progress) error
	// EscalateTask stores escalated_at and the new request object.
	EscalateTask(ctx context.Context, id string, at time.Time, request json.RawMessage, audit []run.AuditEvent) error
}

// Audit appends and reads audit events.
type Audit interface {
	AppendAudit(ctx context.Context, e ...run.AuditEvent) error
	AuditEvents(ctx context.Context, f AuditFilter) ([]run.AuditEvent, int64, error)
}

// Keys reads and completes idempotency records of requests.
type Keys interface {
	Idempotency(ctx context.Context, scope, key string) (run.IdempotencyRecord, error)
	// DropIdempotency removes an open record whose request failed before anything was stored.
	DropIdempotency(ctx context.Context, scope, key string) error
}

// Metadata is a small key-value table with optimistic replacement, used for environment policies.
type Metadata interface {
	Metadata(ctx context.Context, prefix string) (map[string]json.RawMessage, error)
	// PutMetadata replaces a value and returns the previous one (nil when new), with audit events in the same transaction.
	PutMetadata(ctx context.Context, key string, value json.RawMessage, audit func(previous json.RawMessage) []run.AuditEvent) (json.RawMessage, error)
}

// Leases are named locks with a time limit.
type Leases interface {
	// AcquireLease takes or extends the lease; ErrLocked when another owner holds it.
	AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) error
	ReleaseLease(ctx context.Context, name, owner string) error
}

// RetentionCut says what to delete: rows last changed before the times; nil keeps. Open runs are never deleted.
type RetentionCut struct {
	Runs, Checkpoints, Queue, Continuations, Audit, Idempotency *time.Time
	// RunStatuses and QueueStatuses (completed, failed) narrow what is deleted; none means all closed ones.
	RunStatuses, QueueStatuses []string
	// DryRun counts without deleting, also on a store that is open for reading only; Limit bounds one call per table.
	DryRun bool
	Limit  int
}

// Retention deletes old rows in bounded steps.
type Retention interface {
	// Prune returns rows deleted (or counted) per table name.
	Prune(ctx context.Context, c RetentionCut) (map[string]int64, error)
}

// Store is the whole port.
type Store interface {
	Runs
	Legs
	Queue
	HumanTasks
	Audit
	Keys
	Metadata
	Leases
	Retention
	// Ping answers ErrUnavailable when the database cannot be used.
	Ping(ctx context.Context) error
	// Kind is "sqlite" or "postgres".
	Kind() string
	Close() error
}

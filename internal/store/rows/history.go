package rows

import (
	"encoding/json"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store/dbtype"
)

// Queue is a row of the run_queue table: the lease of the current leg and the counters of the run's history.
type Queue struct {
	RunID         string
	IsOpen        bool
	State         string
	Mode          string
	Reply         string
	ResumedFrom   string
	Attempt       int64
	Released      int64
	LeaseOwner    *string
	LeaseUntil    *time.Time
	CheckpointSeq int64
	EventSeq      int64
	JournalSeq    int64
	AvailableAt   time.Time
	UpdatedAt     time.Time
}

// States of a queue row. A claimed run has not started yet: it still counts as waiting.
const (
	QueueWaiting = "queued"
	QueueClaimed = "claimed"
	QueueRunning = "running"
	QueueDone    = "done"
	QueueFailed  = "failed"
)

// ClosedState names the state of a queue row whose leg ended with the status.
func ClosedState(s run.Status) string {
	if s == run.Failed {
		return QueueFailed
	}
	return QueueDone
}

// Claimed joins the row with its run.
func (q Queue) Claimed(r run.Run) run.Claimed {
	r.CheckpointSeq, r.EventSeq, r.JournalSeq = q.CheckpointSeq, q.EventSeq, q.JournalSeq
	return run.Claimed{
		Run: r, Fence: run.Fence{RunID: q.RunID, Owner: deref(q.LeaseOwner), Attempt: q.Attempt},
		Mode: q.Mode, Reply: q.Reply, ResumedFrom: q.ResumedFrom, Released: q.Released,
	}
}

// Checkpoint is a row of the checkpoints table.
type Checkpoint struct {
	RunID        string
	Sequence     int64
	ID           string
	Type         string
	WorkflowName *string
	StepID       *string
	NodeID       *string
	Iteration    int64
	CreatedAt    time.Time
	State        dbtype.JSON
	TraceEvents  dbtype.JSON
	Metadata     dbtype.JSON
	Packed       []byte
}

// Payloads stores and reads the three payloads of a checkpoint.
type Payloads interface {
	// Pack bounds the payloads and returns a compressed form of all three, or nil when they are stored plainly.
	Pack(c *run.Checkpoint) ([]byte, error)
	// Unpack restores the payloads from the compressed form.
	Unpack(packed []byte, c *run.Checkpoint) error
}

// FromCheckpoint makes the row of a record.
func FromCheckpoint(c run.Checkpoint, p Payloads) (Checkpoint, error) {
	packed, err := p.Pack(&c)
	if err != nil {
		return Checkpoint{}, err
	}
	row := Checkpoint{
		RunID: c.RunID, Sequence: c.Sequence, ID: c.ID, Type: c.Type, WorkflowName: c.WorkflowName, StepID: c.StepID,
		NodeID: c.NodeID, Iteration: c.Iteration, CreatedAt: c.CreatedAt, Packed: packed,
	}
	if packed == nil {
		row.State, row.TraceEvents, row.Metadata = dbtype.JSON(c.State), dbtype.JSON(c.TraceEvents), dbtype.JSON(c.Metadata)
	}
	return row, nil
}

// Record makes the domain record of the row.
func (r Checkpoint) Record(p Payloads) (run.Checkpoint, error) {
	c := run.Checkpoint{
		ID: r.ID, RunID: r.RunID, Type: r.Type, WorkflowName: r.WorkflowName, StepID: r.StepID, NodeID: r.NodeID,
		Sequence: r.Sequence, Iteration: r.Iteration, State: json.RawMessage(r.State), TraceEvents: json.RawMessage(r.TraceEvents),
		Metadata: json.RawMessage(r.Metadata), CreatedAt: r.CreatedAt.UTC(),
	}
	if len(r.Packed) == 0 {
		return c, nil
	}
	return c, p.Unpack(r.Packed, &c)
}

// Event is a row of the run_events table.
type Event struct {
	RunID     string
	Sequence  int64
	Kind      string
	CreatedAt time.Time
	Data      dbtype.JSON
}

// Record makes the domain record of the row.
func (r Event) Record() run.Event {
	return run.Event{Sequence: r.Sequence, Kind: r.Kind, Data: json.RawMessage(r.Data), CreatedAt: r.CreatedAt.UTC()}
}

// Entry is a row of the journal table.
type Entry struct {
	RunID    string
	Kind     string
	Key      string
	Sequence int64
	Data     dbtype.JSON
}

// Record makes the domain record of the row.
func (r Entry) Record() run.Entry {
	return run.Entry{Sequence: r.Sequence, Kind: run.EntryKind(r.Kind), Key: r.Key, Data: json.RawMessage(r.Data)}
}

// Snapshot is a row of the snapshots table.
type Snapshot struct {
	Digest    string
	CreatedAt time.Time
	Frozen    dbtype.JSON
	Inputs    dbtype.JSON
	Plan      dbtype.JSON
}

// Record makes the domain record of the row.
func (r Snapshot) Record() run.Snapshot {
	return run.Snapshot{
		Digest: r.Digest, Frozen: json.RawMessage(r.Frozen), Inputs: json.RawMessage(r.Inputs), Plan: json.RawMessage(r.Plan),
	}
}

package rows

import (
	"time"

	"github.com/google/uuid"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// Counters are the last numbers given out in a run's histories.
type Counters struct{ Checkpoint, Event, Journal int64 }

// CountersAt are counters with these values.
func CountersAt(checkpoint, event, journal int64) Counters {
	return Counters{Checkpoint: checkpoint, Event: event, Journal: journal}
}

// Grown counts the rows that p adds.
func Grown(p store.Progress) Counters {
	return CountersAt(int64(len(p.Checkpoints)), int64(len(p.Events)), int64(len(p.Entries)))
}

// Add returns the sum.
func (c Counters) Add(o Counters) Counters {
	return CountersAt(c.Checkpoint+o.Checkpoint, c.Event+o.Event, c.Journal+o.Journal)
}

// NumberedCheckpoint completes a checkpoint of a run: an empty id is drawn, an empty time is now.
func NumberedCheckpoint(c run.Checkpoint, runID string, sequence int64, now func() time.Time) run.Checkpoint {
	c.RunID, c.Sequence = runID, sequence
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	if c.CreatedAt.IsZero() {
		c.CreatedAt = now()
	}
	return c
}

// CompleteAudit completes an audit event: an empty id is drawn, an empty time is now.
func CompleteAudit(e run.AuditEvent, now func() time.Time) run.AuditEvent {
	if e.ID == "" {
		e.ID = uuid.NewString()
	}
	if e.CreatedAt.IsZero() {
		e.CreatedAt = now()
	}
	return e
}

// NextRun is the row of a run whose next leg starts: what the caller gives, on top of the columns that never change.
func NextRun(stored run.Run, l store.StartLeg, now time.Time) run.Run {
	if l.Run != nil {
		return Merge(stored, *l.Run)
	}
	next := stored
	if l.From == run.Failed {
		next.Status = run.Running
		if l.Mode == run.ModeQueued {
			next.Status = run.Queued
		}
		next.CompletedAt = nil
	}
	next.UpdatedAt = now
	return next
}

// Settled is the row of a run that ends from outside its leg: what p gives, or the stored row with the status.
func Settled(stored run.Run, status run.Status, p store.Progress, now time.Time) run.Run {
	next := stored
	if p.Run != nil {
		next = *p.Run
	} else {
		next.Status, next.UpdatedAt, next.CompletedAt = status, now, &now
	}
	return Settle(stored, next)
}

// Decision completes the decision on a task: an empty time is now, an empty state is decided, and nobody is null.
func Decision(d *store.TaskDecision, now func() time.Time) (state string, at time.Time, by *string) {
	state, at = d.State, d.At
	if at.IsZero() {
		at = now()
	}
	if d.DecidedBy != "" {
		by = &d.DecidedBy
	}
	if state == "" {
		state = run.TaskDecided
	}
	return state, at, by
}

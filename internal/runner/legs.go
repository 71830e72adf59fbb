package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// ResumeLeg is the queued leg that follows an answer to a human task which the platform gave itself. The caller adds Audit.
func ResumeLeg(t run.HumanTask, d engine.Decision, by string, now time.Time) (store.StartLeg, error) {
	entry, err := engine.HumanEntry(t.StepKey, id.New(), &d)
	if err != nil {
		return store.StartLeg{}, err
	}
	body, err := json.Marshal(d)
	if err != nil {
		return store.StartLeg{}, err
	}
	return store.StartLeg{
		RunID: t.RunID, From: run.Blocked, Mode: run.ModeQueued, Reply: run.ReplyResume,
		Progress: store.Progress{
			Entries: []run.Entry{entry},
			Events:  []run.Event{{Kind: "resumed", Data: object("continuation_id", t.ID, "decision", d.Decision), CreatedAt: now}},
		},
		Task: &store.TaskDecision{ID: t.ID, State: run.TaskDecided, DecidedBy: by, Decision: body, At: now},
	}, nil
}

// TimeOut is the progress that ends a run whose deadline has passed.
func TimeOut(r run.Run, now time.Time) store.Progress {
	seconds := "its"
	if r.TimeoutSeconds != nil {
		seconds = "its " + strconv.FormatFloat(*r.TimeoutSeconds, 'g', -1, 64) + "s"
	}
	reason := fmt.Sprintf("Run exceeded %s timeout.", seconds)
	meta := &members{}
	meta.str("reason", reason)
	meta.raw("deadline_at", run.AppendEpoch(nil, r.DeadlineAt))
	meta.raw("timed_out_at", run.AppendEpoch(nil, &now))
	meta.str("status_at_timeout", string(r.Status))
	p := terminal(r, run.TimedOut, run.Failure{Message: reason, Type: run.FailRunTimedOut}, run.CheckpointRunTimedOut, meta.bytes(), now)
	audit := &members{}
	if r.TimeoutSeconds != nil {
		audit.raw("timeout_seconds", strconv.AppendFloat(nil, *r.TimeoutSeconds, 'f', -1, 64))
	} else {
		audit.raw("timeout_seconds", nil)
	}
	audit.raw("deadline_at", run.AppendEpoch(nil, r.DeadlineAt))
	audit.raw("timed_out_at", run.AppendEpoch(nil, &now))
	audit.str("status_at_timeout", string(r.Status))
	p.Audit = []run.AuditEvent{PlatformAudit("run.timed_out", r.ID, "", audit.bytes(), now)}
	return p
}

// Expire is the progress that ends a run whose human task nobody answered in time.
func Expire(r run.Run, t run.HumanTask, now time.Time) store.Progress {
	f := run.Failure{Message: fmt.Sprintf("Human task did not complete within %ds timeout.", t.TimeoutSeconds), Type: run.FailHumanTaskExpired}
	p := terminal(r, run.Expired, f, "", nil, now)
	p.Audit = []run.AuditEvent{PlatformAudit("human.expired", r.ID, t.ID, ExpiryAudit(t, now, false), now)}
	return p
}

// ExpiryAudit is the metadata of the audit events about a task's deadline.
func ExpiryAudit(t run.HumanTask, now time.Time, assignee bool) json.RawMessage {
	m := &members{}
	m.raw("timeout_seconds", []byte(itoa(t.TimeoutSeconds)))
	m.raw("expired_at", run.AppendEpoch(nil, &now))
	m.raw("expires_at", run.AppendEpoch(nil, t.ExpiresAt))
	m.str("on_timeout", t.OnTimeout)
	if assignee {
		m.raw("assignee", run.AppendOptional(nil, t.Assignee))
	}
	return m.bytes()
}

// ContinueFailed is the audit event of a task that went on by itself and led to a failure.
func ContinueFailed(runID, continuationID string, f run.Failure, now time.Time) run.AuditEvent {
	m := &members{}
	m.str("error_type", f.Type)
	m.str("error_message", redacted(f.Message))
	m.str("on_timeout", "continue")
	return PlatformAudit("human.continue_failed", runID, continuationID, m.bytes(), now)
}

// PlatformAudit is an audit event without an actor.
func PlatformAudit(kind, runID, continuationID string, metadata json.RawMessage, now time.Time) run.AuditEvent {
	e := run.AuditEvent{ID: id.New(), Type: kind, RunID: &runID, Metadata: record.Mask(metadata), CreatedAt: now}
	if continuationID != "" {
		e.ContinuationID = &continuationID
	}
	return e
}

// deadLetter is the progress that ends a run which was claimed too often.
func deadLetter(r run.Run, attempts, limit int64, now time.Time) store.Progress {
	message := fmt.Sprintf("Run exceeded the queue retry cap (%d attempts > %d); dead-lettered.", attempts, limit)
	f := run.Failure{Message: message, Type: run.FailDeadLetter}
	r.Status, r.Error = run.Failed, &f
	meta := append([]byte(`{"error":`), record.Error(&r)...)
	p := terminal(r, run.Failed, f, run.CheckpointRunFailed, append(meta, `,"dead_letter":true}`...), now)
	audit := json.RawMessage(`{"attempts":` + itoa(attempts) + `,"limit":` + itoa(limit) + `}`)
	p.Audit = []run.AuditEvent{PlatformAudit("run.dead_lettered", r.ID, "", audit, now)}
	return p
}

// terminal is the progress that ends a run from outside a leg. An empty kind writes no checkpoint.
func terminal(r run.Run, status run.Status, f run.Failure, kind string, metadata json.RawMessage, now time.Time) store.Progress {
	r.Status, r.Error, r.UpdatedAt, r.CompletedAt = status, &f, now, &now
	r.PendingRequest, r.ContinuationID = nil, nil
	p := store.Progress{Run: &r}
	if kind != "" {
		p.Checkpoints = []run.Checkpoint{{
			ID: id.New(), RunID: r.ID, Type: kind, WorkflowName: r.WorkflowName, Iteration: 1, State: record.State(&r),
			TraceEvents: json.RawMessage(`[]`), Metadata: metadata, CreatedAt: now,
		}}
	}
	p.Events = []run.Event{{
		Kind: string(status), Data: object("status", string(status), "error_type", f.Type, "error", redacted(f.Message)), CreatedAt: now,
	}}
	return p
}

// DeadLetter fails a claimed run that was claimed more often than allowed, without executing it.
func (r *Runner) DeadLetter(ctx context.Context, c run.Claimed, attempts, limit int64) error {
	p := deadLetter(c.Run, attempts, limit, r.Clock.Now())
	if err := r.Store.FinishRun(ctx, c.Fence, store.EndLeg{Progress: p}); err != nil {
		return err
	}
	if r.Metrics != nil {
		r.Metrics.RunDeadLettered()
		r.Metrics.RunFailed()
	}
	return nil
}

package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// auditLogged is a store that also logs every audit event it has stored (KNEO_SERV_AUDIT_EXPORT_ENABLED). A log that cannot be written changes
// nothing for the caller.
type auditLogged struct {
	store.Store
	log *slog.Logger
}

func (a *auditLogged) note(ctx context.Context, err error, events ...run.AuditEvent) {
	if err != nil {
		return
	}
	for i := range events {
		e := &events[i]
		a.log.LogAttrs(ctx, slog.LevelInfo, "audit", slog.String("logger", "kneo_serv.audit"), slog.String("id", e.ID),
			slog.String("event_type", e.Type), slog.Any("run_id", e.RunID), slog.Any("continuation_id", e.ContinuationID),
			slog.Any("actor", e.Actor), slog.Any("metadata", e.Metadata), slog.String("created_at", run.FormatTime(e.CreatedAt)))
	}
}

// CreateRun implements store.Runs.
func (a *auditLogged) CreateRun(ctx context.Context, c store.CreateRun) (run.Claimed, error) {
	out, err := a.Store.CreateRun(ctx, c)
	a.note(ctx, err, c.Audit...)
	return out, err
}

// CancelRun implements store.Runs.
func (a *auditLogged) CancelRun(ctx context.Context, id string, p store.Progress) (run.Run, bool, error) {
	out, changed, err := a.Store.CancelRun(ctx, id, p)
	if changed {
		a.note(ctx, err, p.Audit...)
	}
	return out, changed, err
}

// TimeOutRun implements store.Runs.
func (a *auditLogged) TimeOutRun(ctx context.Context, id string, p store.Progress) (run.Run, bool, error) {
	out, changed, err := a.Store.TimeOutRun(ctx, id, p)
	if changed {
		a.note(ctx, err, p.Audit...)
	}
	return out, changed, err
}

// ResumeRun implements store.Legs.
func (a *auditLogged) ResumeRun(ctx context.Context, s store.StartLeg) (run.Claimed, error) {
	out, err := a.Store.ResumeRun(ctx, s)
	a.note(ctx, err, s.Audit...)
	return out, err
}

// ContinueRun implements store.Legs.
func (a *auditLogged) ContinueRun(ctx context.Context, s store.StartLeg) (run.Claimed, error) {
	out, err := a.Store.ContinueRun(ctx, s)
	a.note(ctx, err, s.Audit...)
	return out, err
}

// FinishRun implements store.Legs.
func (a *auditLogged) FinishRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	err := a.Store.FinishRun(ctx, f, e)
	a.note(ctx, err, e.Audit...)
	return err
}

// BlockRun implements store.Legs.
func (a *auditLogged) BlockRun(ctx context.Context, f run.Fence, e store.EndLeg) error {
	err := a.Store.BlockRun(ctx, f, e)
	a.note(ctx, err, e.Audit...)
	return err
}

// ExpireTask implements store.HumanTasks.
func (a *auditLogged) ExpireTask(ctx context.Context, id string, p store.Progress) error {
	err := a.Store.ExpireTask(ctx, id, p)
	a.note(ctx, err, p.Audit...)
	return err
}

// EscalateTask implements store.HumanTasks.
func (a *auditLogged) EscalateTask(ctx context.Context, id string, at time.Time, request json.RawMessage, audit []run.AuditEvent) error {
	err := a.Store.EscalateTask(ctx, id, at, request, audit)
	a.note(ctx, err, audit...)
	return err
}

// AppendAudit implements store.Audit.
func (a *auditLogged) AppendAudit(ctx context.Context, e ...run.AuditEvent) error {
	err := a.Store.AppendAudit(ctx, e...)
	a.note(ctx, err, e...)
	return err
}

// PutMetadata implements store.Metadata.
func (a *auditLogged) PutMetadata(
	ctx context.Context, key string, value json.RawMessage, audit func(json.RawMessage) []run.AuditEvent,
) (json.RawMessage, error) {
	var written []run.AuditEvent
	out, err := a.Store.PutMetadata(ctx, key, value, func(previous json.RawMessage) []run.AuditEvent {
		written = audit(previous)
		return written
	})
	a.note(ctx, err, written...)
	return out, err
}

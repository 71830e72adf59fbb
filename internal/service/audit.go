package service

import (
	"context"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// AuditQuery filters and pages the audit trail; empty texts do not filter.
type AuditQuery struct {
	Type, RunID string
	Page
}

// Audit reads the audit trail.
type Audit struct{ store store.Audit }

// NewAudit returns the use case.
func NewAudit(s store.Audit) *Audit { return &Audit{store: s} }

// List returns one page of events.
func (a *Audit) List(ctx context.Context, q AuditQuery) (Listing[run.AuditEvent], error) {
	f := store.AuditFilter{Type: q.Type, RunID: q.RunID, Desc: true, Limit: Window}
	inStore := q.SortBy == "" || q.SortBy == "created_at"
	if inStore {
		f.Limit, f.Offset = q.Limit, q.Offset
		f.Desc = q.Desc || q.SortBy == ""
	}
	events, total, err := a.store.AuditEvents(ctx, f)
	if err != nil {
		return Listing[run.AuditEvent]{}, storeError(err)
	}
	if !inStore {
		sortItems(events, q.Page, renderAudit)
		events = cut(events, q.Page)
	}
	return Listing[run.AuditEvent]{Items: events, Total: total}, nil
}

func renderAudit(e *run.AuditEvent) json.RawMessage {
	var o object
	o.text("id", e.ID)
	o.text("event_type", e.Type)
	o.optional("run_id", e.RunID)
	o.optional("continuation_id", e.ContinuationID)
	o.optional("actor", e.Actor)
	o.raw("metadata", e.Metadata)
	o.text("created_at", run.FormatTime(e.CreatedAt))
	return o.bytes()
}

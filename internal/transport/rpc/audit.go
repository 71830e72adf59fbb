package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/service"
)

// AuditServer serves AuditService.
type AuditServer struct {
	kneov1.UnimplementedAuditServiceServer
	audit *service.Audit
}

// NewAuditServer returns the server.
func NewAuditServer(a *service.Audit) *AuditServer { return &AuditServer{audit: a} }

// ListAuditEvents returns one page of the audit trail.
func (s *AuditServer) ListAuditEvents(ctx context.Context, r *kneov1.ListAuditEventsRequest) (*kneov1.ListAuditEventsResponse, error) {
	p := page(r, r.Limit != nil, r.SortBy != nil, r.SortOrder != nil, "created_at", "desc")
	list, err := s.audit.List(ctx, service.AuditQuery{Type: r.GetEventType(), RunID: r.GetRunId(), Page: p})
	if err != nil {
		return nil, err
	}
	out := &kneov1.ListAuditEventsResponse{
		Events: make([]*kneov1.AuditEvent, len(list.Items)), Count: count(len(list.Items)), Total: count(int(list.Total)), Window: service.Window,
		Limit: count(p.Limit), Offset: count(p.Offset), SortBy: p.SortBy, SortOrder: sortOrder(p),
	}
	for i, e := range list.Items {
		out.Events[i] = &kneov1.AuditEvent{
			Id: e.ID, EventType: e.Type, RunId: e.RunID, ContinuationId: e.ContinuationID, Actor: e.Actor, Metadata: object(e.Metadata),
			CreatedAt: run.FormatTime(e.CreatedAt),
		}
	}
	return out, nil
}

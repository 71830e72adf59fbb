package rpc

import (
	"context"
	"encoding/json"
	"time"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/service"
	"github.com/kneo-go/kneo/internal/spec"
)

// RunServer serves RunService.
type RunServer struct {
	kneov1.UnimplementedRunServiceServer
	runs *service.Runs
}

// NewRunServer returns the server.
func NewRunServer(r *service.Runs) *RunServer { return &RunServer{runs: r} }

// CreateRun starts a run.
func (s *RunServer) CreateRun(ctx context.Context, r *kneov1.RunCreateRequest) (*kneov1.RunCreateResponse, error) {
	return createRun(ctx, s.runs, r, "run.created")
}

func createRun(ctx context.Context, runs *service.Runs, r *kneov1.RunCreateRequest, event string) (*kneov1.RunCreateResponse, error) {
	c := service.Creation{
		SpecSource: source(r, r.Environment), Input: r.GetInput(), Target: "workflow", Async: r.GetAsyncMode(), SessionID: r.SessionId,
		Metadata: raw(r.GetMetadata()), TimeoutSeconds: r.TimeoutSeconds, AuditEvent: event,
	}
	if r.Target != nil {
		c.Target = r.GetTarget()
	}
	if o := r.GetSkills(); o != nil {
		c.SkillsGiven = true
		c.Skills = spec.SkillsOverlay{Add: o.GetAdd(), Disable: o.GetDisable()}
	}
	reply, err := runs.Create(ctx, c)
	if err != nil {
		return nil, err
	}
	return created(reply), nil
}

func created(r record.Reply) *kneov1.RunCreateResponse {
	out := &kneov1.RunCreateResponse{
		RunId: &r.RunID, Status: string(r.Status), OutputText: masked(r.Output), ContinuationId: r.ContinuationID, Metadata: object(r.Metadata),
	}
	out.HumanInterventionRequired = r.ContinuationID != nil
	return out
}

func masked(s *string) *string {
	if s == nil {
		return nil
	}
	text := redact.Text(*s)
	return &text
}

// ListRuns returns one page of runs.
func (s *RunServer) ListRuns(ctx context.Context, r *kneov1.ListRunsRequest) (*kneov1.ListRunsResponse, error) {
	p := page(r, r.Limit != nil, r.SortBy != nil, r.SortOrder != nil, "updated_at", "desc")
	q := service.RunQuery{
		Status: r.Status, WorkflowKind: r.WorkflowKind, WorkflowName: r.WorkflowName, SessionID: r.SessionId, HasError: r.HasError, Text: r.GetQ(), Page: p,
	}
	var err error
	if q.CreatedAfter, err = timestamp("created_after", r.CreatedAfter); err != nil {
		return nil, err
	}
	if q.CreatedBefore, err = timestamp("created_before", r.CreatedBefore); err != nil {
		return nil, err
	}
	list, err := s.runs.List(ctx, q)
	if err != nil {
		return nil, err
	}
	return &kneov1.ListRunsResponse{
		Runs: objects(list.Items), Count: count(len(list.Items)), Total: count(int(list.Total)), Window: service.Window,
		Limit: count(p.Limit), Offset: count(p.Offset), SortBy: p.SortBy, SortOrder: sortOrder(p),
	}, nil
}

func timestamp(param string, text *string) (*time.Time, error) {
	if text == nil {
		return nil, nil
	}
	t, err := service.ParseTimestamp(param, *text)
	if err != nil {
		return nil, err
	}
	return &t, nil
}

func objects(items []json.RawMessage) []*kneov1.JsonObject {
	out := make([]*kneov1.JsonObject, len(items))
	for i, item := range items {
		out[i] = object(item)
	}
	return out
}

// GetRun returns the state of one run.
func (s *RunServer) GetRun(ctx context.Context, r *kneov1.GetRunRequest) (*kneov1.RunStatusResponse, error) {
	v, err := s.runs.Get(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	return state(&v), nil
}

func state(v *service.RunView) *kneov1.RunStatusResponse {
	out := &kneov1.RunStatusResponse{
		RunId: v.ID, Status: string(v.Status), AgentName: v.AgentName, WorkflowName: v.WorkflowName, WorkflowKind: v.WorkflowKind,
		SessionId: v.SessionID, InputText: masked(&v.Input), OutputText: masked(v.Output), CurrentStepIndex: narrow(v.CurrentStepIndex),
		CurrentNodeId: v.CurrentNodeID, VisitedSteps: v.VisitedSteps, VisitedNodes: v.VisitedNodes, PendingHumanRequest: object(v.Request),
		ContinuationId: v.ContinuationID, TraceEventCount: count(int(v.TraceCount)), Metadata: object(v.Metadata), Error: object(v.Failure),
	}
	if u := v.Usage; u != nil {
		out.Usage = &kneov1.TokenUsage{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, TotalTokens: u.TotalTokens}
	}
	return out
}

// CancelRun ends a run.
func (s *RunServer) CancelRun(ctx context.Context, r *kneov1.CancelRunRequest) (*kneov1.RunStatusResponse, error) {
	v, err := s.runs.Cancel(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	return state(&v), nil
}

// ContinueRun goes on with a failed run.
func (s *RunServer) ContinueRun(ctx context.Context, r *kneov1.ContinueRunRequest) (*kneov1.RunCreateResponse, error) {
	reply, err := s.runs.Continue(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	return created(reply), nil
}

// GetRunTrace returns one page of the trace of a run.
func (s *RunServer) GetRunTrace(ctx context.Context, r *kneov1.GetRunTraceRequest) (*kneov1.RunTraceResponse, error) {
	p := page(r, r.Limit != nil, r.SortBy != nil, r.SortOrder != nil, "timestamp", "asc")
	t, err := s.runs.Trace(ctx, r.GetRunId(), r.GetEventType(), p)
	if err != nil {
		return nil, err
	}
	return &kneov1.RunTraceResponse{
		RunId: r.GetRunId(), Events: objects(t.Items), Count: count(len(t.Items)), Total: count(int(t.Total)), Window: service.Window,
		Limit: count(p.Limit), Offset: count(p.Offset), SortBy: p.SortBy, SortOrder: sortOrder(p), Dropped: count(int(t.Dropped)), Complete: t.Dropped == 0,
	}, nil
}

// ListCheckpoints returns one page of the checkpoints of a run.
func (s *RunServer) ListCheckpoints(ctx context.Context, r *kneov1.ListCheckpointsRequest) (*kneov1.ListCheckpointsResponse, error) {
	p := page(r, r.Limit != nil, r.SortBy != nil, r.SortOrder != nil, "sequence", "asc")
	list, err := s.runs.Checkpoints(ctx, r.GetRunId(), r.GetType(), p)
	if err != nil {
		return nil, err
	}
	return &kneov1.ListCheckpointsResponse{
		RunId: r.GetRunId(), Checkpoints: objects(list.Items), Count: count(len(list.Items)), Total: count(int(list.Total)), Window: service.Window,
		Limit: count(p.Limit), Offset: count(p.Offset), SortBy: p.SortBy, SortOrder: sortOrder(p),
	}, nil
}

package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/record"
)

// ReplayRun shows the checkpoints of a run as a timeline.
func (s *RunServer) ReplayRun(ctx context.Context, r *kneov1.ReplayRunRequest) (*kneov1.ReplayResponse, error) {
	v, err := s.runs.Replay(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	out := &kneov1.ReplayResponse{
		RunId: v.Run.ID, Status: string(v.Run.Status), WorkflowName: v.Run.WorkflowName, WorkflowKind: v.Run.WorkflowKind, AgentName: v.Run.AgentName,
		CheckpointCount: count(len(v.Timeline)), Timeline: make([]*kneov1.ReplayTimelineItem, len(v.Timeline)), ReplayContext: replayContext(&v.Context),
	}
	for i := range v.Timeline {
		t := &v.Timeline[i]
		out.Timeline[i] = &kneov1.ReplayTimelineItem{
			Id: t.ID, Sequence: count(int(t.Sequence)), Type: t.Type, CreatedAt: t.CreatedAt, WorkflowName: t.WorkflowName, StepId: t.StepID, NodeId: t.NodeID,
			Status: t.Status, CurrentStepIndex: narrow(t.CurrentStepIndex), CurrentStepId: t.CurrentStepID, CurrentNodeId: t.CurrentNodeID,
			ContinuationId: t.ContinuationID, PendingHumanRequestId: t.PendingHumanRequestID, Error: object(t.Error),
		}
	}
	return out, nil
}

func replayContext(c *record.ReplayContext) *kneov1.ReplayContext {
	return &kneov1.ReplayContext{
		RunId: c.RunID, Status: c.Status, WorkflowType: c.WorkflowType, CompletedSteps: c.CompletedSteps, CompletedNodes: c.CompletedNodes,
		FailedStep: c.FailedStep, FailedNode: c.FailedNode, NextStepIndex: count(int(c.NextStepIndex)), ResumeInput: *masked(&c.ResumeInput),
		CheckpointCount: count(int(c.CheckpointCount)), CanContinue: c.CanContinue, CanReplay: c.CanReplay,
	}
}

// GetRunRecovery tells from where a run can go on.
func (s *RunServer) GetRunRecovery(ctx context.Context, r *kneov1.GetRunRecoveryRequest) (*kneov1.RecoveryResponse, error) {
	v, err := s.runs.Recovery(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	return &kneov1.RecoveryResponse{
		RunId: r.GetRunId(), Status: v.Status, WorkflowName: v.WorkflowName, WorkflowKind: v.WorkflowKind, CurrentStepIndex: narrow(v.CurrentStepIndex),
		CurrentNodeId: v.CurrentNodeID, VisitedSteps: v.VisitedSteps, VisitedNodes: v.VisitedNodes, CheckpointCount: count(int(v.CheckpointCount)),
		PendingHumanRequest: object(v.PendingRequest), ContinuationId: v.ContinuationID, Error: object(v.Error), ReplayContext: replayContext(&v.Context),
	}, nil
}

// DiffCheckpoints compares two checkpoints of a run.
func (s *RunServer) DiffCheckpoints(ctx context.Context, r *kneov1.DiffCheckpointsRequest) (*kneov1.CheckpointDiffResponse, error) {
	d, err := s.runs.Diff(ctx, r.GetRunId(), widen(r.FromSequence), widen(r.ToSequence))
	if err != nil {
		return nil, err
	}
	return &kneov1.CheckpointDiffResponse{
		RunId: r.GetRunId(), FromCheckpoint: reference(&d.From), ToCheckpoint: reference(&d.To), ChangeCount: count(int(d.Count)),
		Added:   entries(d.Added, func(c *record.Change) []byte { return c.After }),
		Removed: entries(d.Removed, func(c *record.Change) []byte { return c.Before }),
		Changed: changes(d.Changed), Truncated: d.Truncated,
	}, nil
}

func widen(n *int32) *int64 {
	if n == nil {
		return nil
	}
	v := int64(*n)
	return &v
}

func reference(r *record.Reference) *kneov1.CheckpointReference {
	return &kneov1.CheckpointReference{
		Id: r.ID, Sequence: count(int(r.Sequence)), Type: r.Type, CreatedAt: r.CreatedAt, WorkflowName: r.WorkflowName, StepId: r.StepID, NodeId: r.NodeID,
	}
}

func entries(list []record.Change, leaf func(*record.Change) []byte) []*kneov1.DiffEntry {
	out := make([]*kneov1.DiffEntry, len(list))
	for i := range list {
		out[i] = &kneov1.DiffEntry{Path: list[i].Path, Value: value(leaf(&list[i]))}
	}
	return out
}

func changes(list []record.Change) []*kneov1.DiffChange {
	out := make([]*kneov1.DiffChange, len(list))
	for i := range list {
		out[i] = &kneov1.DiffChange{Path: list[i].Path, Before: value(list[i].Before), After: value(list[i].After)}
	}
	return out
}

// GetRunGraph returns the workflow of a run as a graph with the place where the run is.
func (s *RunServer) GetRunGraph(ctx context.Context, r *kneov1.GetRunGraphRequest) (*kneov1.RunGraphResponse, error) {
	g, err := s.runs.Graph(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	return &kneov1.RunGraphResponse{
		RunId: g.RunID, Status: g.Status, WorkflowName: g.WorkflowName, WorkflowKind: g.WorkflowKind, Start: g.Start, MaxSteps: narrow(g.MaxSteps),
		Nodes: nodes(g.Nodes), Edges: edges(g.Edges), Current: g.Current, Visited: g.Visited,
	}, nil
}

// GetRunPolicyReport reports what the frozen spec of a run may do.
func (s *RunServer) GetRunPolicyReport(ctx context.Context, r *kneov1.GetRunPolicyReportRequest) (*kneov1.PolicyReportResponse, error) {
	report, err := s.runs.PolicyReport(ctx, r.GetRunId())
	if err != nil {
		return nil, err
	}
	text, err := report.JSON()
	if err != nil {
		return nil, err
	}
	return &kneov1.PolicyReportResponse{Valid: report.Valid, Report: object(text)}, nil
}

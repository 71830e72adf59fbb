package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/service"
)

// HumanTaskServer serves HumanTaskService.
type HumanTaskServer struct {
	kneov1.UnimplementedHumanTaskServiceServer
	tasks *service.HumanTasks
	runs  *service.Runs
}

// NewHumanTaskServer returns the server.
func NewHumanTaskServer(t *service.HumanTasks, r *service.Runs) *HumanTaskServer {
	return &HumanTaskServer{tasks: t, runs: r}
}

// ListHumanTasks returns one page of open tasks.
func (s *HumanTaskServer) ListHumanTasks(ctx context.Context, r *kneov1.ListHumanTasksRequest) (*kneov1.ListHumanTasksResponse, error) {
	p := page(r, r.Limit != nil, r.SortBy != nil, r.SortOrder != nil, "id", "asc")
	q := service.TaskQuery{RunID: r.RunId, WorkflowKind: r.WorkflowKind, Page: p}
	if r.Status != nil {
		escalated := r.GetStatus() == "escalated"
		q.Escalated = &escalated
	}
	list, err := s.tasks.List(ctx, q)
	if err != nil {
		return nil, err
	}
	return &kneov1.ListHumanTasksResponse{
		Tasks: objects(list.Items), Count: count(len(list.Items)), Total: count(int(list.Total)), Window: service.Window,
		Limit: count(p.Limit), Offset: count(p.Offset), SortBy: p.SortBy, SortOrder: sortOrder(p),
	}, nil
}

// GetHumanTask returns one open task.
func (s *HumanTaskServer) GetHumanTask(ctx context.Context, r *kneov1.GetHumanTaskRequest) (*kneov1.HumanTaskResponse, error) {
	t, err := s.tasks.Get(ctx, r.GetContinuationId())
	if err != nil {
		return nil, err
	}
	return &kneov1.HumanTaskResponse{ContinuationId: t.ID, Request: object(t.Request), Messages: value(t.Messages)}, nil
}

// ResumeHumanTask answers a task and goes on with its run.
func (s *HumanTaskServer) ResumeHumanTask(ctx context.Context, r *kneov1.ResumeHumanTaskRequest) (*kneov1.HumanResumeResponse, error) {
	a := r.GetRequest()
	reply, err := s.runs.Resume(ctx, r.GetContinuationId(), service.Answer{
		RequestID: a.GetRequestId(), Decision: a.GetDecision(), Content: a.Content, SelectedOption: a.SelectedOption, Metadata: raw(a.GetMetadata()),
	})
	if err != nil {
		return nil, err
	}
	return &kneov1.HumanResumeResponse{RunId: &reply.RunID, Status: string(reply.Status), OutputText: masked(reply.Output), Metadata: object(reply.Metadata)}, nil
}

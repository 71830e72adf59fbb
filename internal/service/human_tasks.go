package service

import (
	"context"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// TaskQuery filters and pages open human tasks.
type TaskQuery struct {
	// RunID and WorkflowKind are exact; nil does not filter.
	RunID, WorkflowKind *string
	// Escalated filters when not nil.
	Escalated *bool
	Page
}

// HumanTasks reads the questions that runs put to people.
type HumanTasks struct{ store store.Store }

// NewHumanTasks returns the use case.
func NewHumanTasks(s store.Store) *HumanTasks { return &HumanTasks{store: s} }

// List returns one page of open tasks as the wire shows them.
func (h *HumanTasks) List(ctx context.Context, q TaskQuery) (Listing[json.RawMessage], error) {
	if q.RunID != nil && *q.RunID == "" || q.WorkflowKind != nil && *q.WorkflowKind == "" {
		return Listing[json.RawMessage]{}, nil
	}
	f := store.TaskFilter{Escalated: q.Escalated, Limit: Window}
	if q.RunID != nil {
		f.RunID = *q.RunID
	}
	if q.WorkflowKind != nil {
		f.WorkflowKind = *q.WorkflowKind
	}
	tasks, err := h.store.HumanTasks(ctx, f)
	if err != nil {
		return Listing[json.RawMessage]{}, storeError(err)
	}
	sortItems(tasks, q.Page, func(t *run.HumanTask) json.RawMessage { return record.Task(t, nil) })
	total := len(tasks)
	tasks = cut(tasks, q.Page)
	items := make([]json.RawMessage, len(tasks))
	for i := range tasks {
		trace, err := h.trace(ctx, tasks[i].RunID)
		if err != nil {
			return Listing[json.RawMessage]{}, err
		}
		items[i] = record.Task(&tasks[i], trace)
	}
	return Listing[json.RawMessage]{Items: items, Total: int64(total)}, nil
}

// trace returns the trace events of a run as a JSON array.
func (h *HumanTasks) trace(ctx context.Context, runID string) (json.RawMessage, error) {
	r, err := h.store.Run(ctx, runID)
	if err != nil {
		return nil, storeError(err)
	}
	list, err := h.store.Checkpoints(ctx, runID)
	if err != nil {
		return nil, storeError(err)
	}
	out := []byte{'['}
	for i, e := range record.Trace(&r, list, "") {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, e...)
	}
	return append(out, ']'), nil
}

// TaskView is one open task, masked. Messages is nil when there are none.
type TaskView struct {
	ID                string
	Request, Messages json.RawMessage
}

// Get returns one open task.
func (h *HumanTasks) Get(ctx context.Context, id string) (TaskView, error) {
	t, err := h.store.HumanTask(ctx, id)
	if err != nil {
		return TaskView{}, storeError(err)
	}
	if t.State != run.TaskPending {
		return TaskView{}, errNotFound()
	}
	return TaskView{ID: t.ID, Request: record.TaskRequest(&t), Messages: record.TaskMessages(&t)}, nil
}

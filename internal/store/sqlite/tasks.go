package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/dbtype"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// taskNotPending tells a missing task from a closed one.
func taskNotPending(ctx context.Context, t *tx, id string) error {
	row, err := t.q.GetTask(ctx, id)
	if err != nil {
		return failure(err)
	}
	return fmt.Errorf("%w: task %s is %s", store.ErrConflict, id, row.State)
}

// HumanTask implements store.HumanTasks.
func (s *Store) HumanTask(ctx context.Context, id string) (run.HumanTask, error) {
	return s.oneTask(ctx, func(ctx context.Context, q *litedb.Queries) (litedb.HumanTask, error) { return q.GetTask(ctx, id) })
}

// TaskOfRequest implements store.HumanTasks.
func (s *Store) TaskOfRequest(ctx context.Context, requestID string) (run.HumanTask, error) {
	return s.oneTask(ctx, func(ctx context.Context, q *litedb.Queries) (litedb.HumanTask, error) {
		return q.GetTaskByRequest(ctx, requestID)
	})
}

func (s *Store) oneTask(ctx context.Context, get func(context.Context, *litedb.Queries) (litedb.HumanTask, error)) (run.HumanTask, error) {
	var out run.HumanTask
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		row, err := get(ctx, q)
		if err != nil {
			return err
		}
		out, err = rows.Task(row).Record()
		return err
	})
	return out, err
}

// HumanTasks implements store.HumanTasks.
func (s *Store) HumanTasks(ctx context.Context, f store.TaskFilter) ([]run.HumanTask, error) {
	p := litedb.PendingTasksParams{MaxRows: bounded(f.Limit)}
	if f.RunID != "" {
		p.RunID = &f.RunID
	}
	if f.WorkflowKind != "" {
		p.WorkflowKind = &f.WorkflowKind
	}
	if f.Escalated != nil {
		var flag int64
		if *f.Escalated {
			flag = 1
		}
		p.Escalated = &flag
	}
	return s.tasks(ctx, func(ctx context.Context, q *litedb.Queries) ([]litedb.HumanTask, error) {
		return q.PendingTasks(ctx, p)
	})
}

// DueTasks implements store.HumanTasks.
func (s *Store) DueTasks(ctx context.Context, now time.Time, limit int) ([]run.HumanTask, error) {
	return s.tasks(ctx, func(ctx context.Context, q *litedb.Queries) ([]litedb.HumanTask, error) {
		return q.DueTasks(ctx, litedb.DueTasksParams{Now: &now, MaxRows: bounded(limit)})
	})
}

func (s *Store) tasks(ctx context.Context, list func(context.Context, *litedb.Queries) ([]litedb.HumanTask, error)) ([]run.HumanTask, error) {
	var out []run.HumanTask
	err := s.read(ctx, func(ctx context.Context, q *litedb.Queries, _ litedb.DBTX) error {
		found, err := list(ctx, q)
		if err != nil {
			return err
		}
		out = make([]run.HumanTask, 0, len(found))
		for _, row := range found {
			task, err := rows.Task(row).Record()
			if err != nil {
				return err
			}
			out = append(out, task)
		}
		return nil
	})
	return out, err
}

// ExpireTask implements store.HumanTasks.
func (s *Store) ExpireTask(ctx context.Context, id string, given store.Progress) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		p := given
		task, err := t.q.GetTask(ctx, id)
		if err != nil {
			return failure(err)
		}
		now := s.now()
		if err := s.decide(ctx, t, &store.TaskDecision{ID: id, State: run.TaskExpired, At: now}); err != nil {
			return err
		}
		stored, err := s.getRun(ctx, t.q, task.RunID)
		if err != nil {
			return err
		}
		if stored.Status != run.Blocked {
			return fmt.Errorf("%w: run %s is %s", store.ErrConflict, stored.ID, stored.Status)
		}
		next := stored
		if p.Run != nil {
			next = rows.Merge(stored, *p.Run)
		}
		last, err := s.closeRun(ctx, t, next, p)
		if err != nil {
			return err
		}
		if next.Status.Terminal() {
			if err := t.q.CancelTasks(ctx, litedb.CancelTasksParams{DecidedAt: &now, RunID: stored.ID}); err != nil {
				return fmt.Errorf("close tasks: %w", err)
			}
		}
		p.Run = &next
		return s.applyProgress(ctx, t, stored.ID, last, p)
	})
}

// EscalateTask implements store.HumanTasks.
func (s *Store) EscalateTask(ctx context.Context, id string, at time.Time, request json.RawMessage, audit []run.AuditEvent) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.q.EscalateTask(ctx, litedb.EscalateTaskParams{EscalatedAt: &at, Request: dbtype.JSON(request), ID: id})
		if err != nil {
			return fmt.Errorf("escalate task: %w", err)
		}
		if n == 0 {
			return taskNotPending(ctx, t, id)
		}
		return s.insertAudit(ctx, t, audit)
	})
}

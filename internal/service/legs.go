package service

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/store"
)

// execute runs a leg. A caller that goes away does not stop it.
func (s *Runs) execute(ctx context.Context, c run.Claimed) (record.Reply, error) {
	out := s.o.Executor.Execute(context.WithoutCancel(ctx), c, nil)
	switch {
	case out.Err != nil:
		return record.Reply{}, storeError(out.Err)
	case out.Problem != nil:
		return record.Reply{}, out.Problem
	}
	reply := record.Reply{RunID: out.Run.ID, Status: out.Status, Output: out.Run.Output, Metadata: out.Metadata}
	if out.Status == run.Blocked {
		reply.ContinuationID = out.Run.ContinuationID
	}
	return reply, nil
}

// stateConflict is the refusal of an operation that the status of the run forbids.
func stateConflict(operation string, r *run.Run) error {
	return problem.New(problem.RunStateConflict, "Cannot %s run %s: status is '%s'.", operation, r.ID, r.Status).
		With("run_id", r.ID).With("status", string(r.Status))
}

// startLeg is the common part of a leg that a request starts.
func (s *Runs) startLeg(ctx context.Context, runID string, from run.Status) store.StartLeg {
	return store.StartLeg{
		RunID: runID, From: from, Mode: run.ModeInline, Owner: s.o.Executor.OwnerID(), Lease: s.o.Executor.LeaseTime(),
		Claim: idempotency.FromContext(ctx),
	}
}

// Continue goes on with a failed run from its last good point and returns when it ends or waits for a person.
func (s *Runs) Continue(ctx context.Context, runID string) (record.Reply, error) {
	r, list, err := s.history(ctx, runID)
	if err != nil {
		return record.Reply{}, err
	}
	if !record.CanContinue(&r) {
		return record.Reply{}, stateConflict("continue", &r)
	}
	replay := record.ReplayContextOf(&r, list)
	leg := s.startLeg(ctx, runID, run.Failed)
	leg.Reply = run.ReplyContinue
	now := s.o.Clock.Now()
	next := r
	next.Status, next.CompletedAt, next.UpdatedAt = run.Running, nil, now
	next.CurrentStepIndex = &replay.NextStepIndex
	if replay.FailedStep != nil {
		next.CurrentStepID = replay.FailedStep
	}
	leg.Progress = store.Progress{
		Run: &next, Entries: []run.Entry{engine.ContinueEntry(id.New())},
		Checkpoints: []run.Checkpoint{{
			ID: id.New(), RunID: runID, Type: run.CheckpointReplayContext, WorkflowName: r.WorkflowName, StepID: replay.FailedStep, NodeID: replay.FailedNode,
			Iteration: 1, State: record.State(&next), TraceEvents: json.RawMessage("[]"), Metadata: replay.JSON(), CreatedAt: now,
		}},
		Events: []run.Event{{Kind: "resumed", Data: json.RawMessage(`{"status":"running"}`), CreatedAt: now}},
		Audit:  []run.AuditEvent{s.audit.event(ctx, "run.continued", runID, "", statusObject(run.Running))},
	}
	claimed, err := s.o.Store.ContinueRun(ctx, leg)
	if errors.Is(err, store.ErrConflict) {
		return record.Reply{}, s.conflict(ctx, "continue", runID)
	}
	if err != nil {
		return record.Reply{}, s.legError(err)
	}
	return s.execute(ctx, claimed)
}

// conflict reads the run whose status has just forbidden an operation.
func (s *Runs) conflict(ctx context.Context, operation, runID string) error {
	r, err := s.o.Store.Run(ctx, runID)
	if err != nil {
		return storeError(err)
	}
	return stateConflict(operation, &r)
}

func statusObject(status run.Status) []byte {
	var o object
	o.text("status", string(status))
	return o.bytes()
}

// Answer is the decision of a person on a human task.
type Answer struct {
	RequestID      string
	Decision       string
	Content        *string
	SelectedOption *string
	// Metadata is the caller's object, nil when absent.
	Metadata json.RawMessage
}

// Resume answers a human task and goes on with its run. It returns when the run ends or waits for a person again.
func (s *Runs) Resume(ctx context.Context, taskID string, a Answer) (record.Reply, error) {
	task, err := s.o.Store.HumanTask(ctx, taskID)
	if err != nil {
		return record.Reply{}, storeError(err)
	}
	if err := s.answerable(ctx, &task); err != nil {
		return record.Reply{}, err
	}
	if err := s.fits(ctx, &task, a); err != nil {
		return record.Reply{}, err
	}
	leg, err := s.answerLeg(ctx, &task, a)
	if err != nil {
		return record.Reply{}, err
	}
	claimed, err := s.o.Store.ResumeRun(ctx, leg)
	if errors.Is(err, store.ErrConflict) {
		return record.Reply{}, s.lostAnswer(ctx, taskID)
	}
	if err != nil {
		return record.Reply{}, s.legError(err)
	}
	claimed.ResumedFrom = taskID
	return s.execute(ctx, claimed)
}

// answerable refuses tasks that are closed or too late.
func (s *Runs) answerable(ctx context.Context, t *run.HumanTask) error {
	late := t.ExpiresAt != nil && t.ExpiresAt.Before(s.o.Clock.Now()) && t.OnTimeout != "escalate"
	switch {
	case t.State == run.TaskExpired, t.State == run.TaskPending && late:
		return expired(t)
	case t.State == run.TaskPending:
		r, err := s.o.Store.Run(ctx, t.RunID)
		if err != nil {
			return storeError(err)
		}
		if r.Status != run.Blocked {
			return stateConflict("resume", &r)
		}
		return nil
	default:
		return s.lostAnswer(ctx, t.ID)
	}
}

// lostAnswer says why a task cannot be answered any more: another answer is being worked on, or the task is gone.
func (s *Runs) lostAnswer(ctx context.Context, taskID string) error {
	t, err := s.o.Store.HumanTask(ctx, taskID)
	if err != nil {
		return storeError(err)
	}
	if t.State == run.TaskExpired {
		return expired(&t)
	}
	r, err := s.o.Store.Run(ctx, t.RunID)
	if err != nil {
		return storeError(err)
	}
	if t.State == run.TaskDecided && r.ContinuationID != nil && *r.ContinuationID == taskID && !r.Status.Terminal() {
		return locked("continuation:" + taskID)
	}
	if t.State == run.TaskPending {
		return stateConflict("resume", &r)
	}
	return errNotFound()
}

func expired(t *run.HumanTask) error {
	at := json.RawMessage("null")
	if t.ExpiresAt != nil {
		at = run.AppendEpoch(nil, t.ExpiresAt)
	}
	return problem.New(problem.HumanTaskExpired,
		"Cannot resume continuation %s: the human-task deadline has passed (expires_at=%s); the configured on_timeout policy governs this run.", t.ID, at).
		With("continuation_id", t.ID).With("expires_at", at)
}

// fits refuses an option that was not offered and a request id of another task (decision W12).
func (s *Runs) fits(ctx context.Context, t *run.HumanTask, a Answer) error {
	offered := member(t.Request, "options")
	if a.SelectedOption != nil && !isNull(offered) {
		options := texts(offered)
		if len(options) > 0 && !slices.Contains(options, *a.SelectedOption) {
			return problem.New(problem.InvalidRequest, "selected_option was not offered; the options are: %s.", strings.Join(options, ", "))
		}
	}
	if a.RequestID == t.RequestID {
		return nil
	}
	other, err := s.o.Store.TaskOfRequest(ctx, a.RequestID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return storeError(err)
	case other.ID == t.ID:
		return nil
	default:
		return problem.New(problem.InvalidRequest, "request_id belongs to another human request.")
	}
}

func (s *Runs) answerLeg(ctx context.Context, t *run.HumanTask, a Answer) (store.StartLeg, error) {
	now := s.o.Clock.Now()
	leg := s.startLeg(ctx, t.RunID, run.Blocked)
	leg.Reply = run.ReplyResume
	decision := &engine.Decision{Decision: a.Decision, Content: a.Content, SelectedOption: a.SelectedOption, RequestID: a.RequestID, Metadata: a.Metadata}
	entry, err := engine.HumanEntry(t.StepKey, id.New(), decision)
	if err != nil {
		return leg, storeError(err)
	}
	leg.Task = &store.TaskDecision{ID: t.ID, State: run.TaskDecided, DecidedBy: auth.FromContext(ctx).Name, Decision: a.json(), At: now}
	leg.Progress = store.Progress{
		Entries: []run.Entry{entry},
		Events:  []run.Event{{Kind: "resumed", Data: resumedData(t.ID, a.Decision), CreatedAt: now}},
		Audit:   []run.AuditEvent{s.audit.event(ctx, "human.decision", t.RunID, t.ID, a.auditMetadata())},
	}
	return leg, nil
}

func resumedData(taskID, decision string) json.RawMessage {
	var o object
	o.text("continuation_id", taskID)
	o.text("decision", decision)
	return o.bytes()
}

func (a *Answer) json() json.RawMessage {
	var o object
	o.text("request_id", a.RequestID)
	o.text("decision", a.Decision)
	o.optional("content", a.Content)
	o.optional("selected_option", a.SelectedOption)
	o.raw("metadata", orEmpty(a.Metadata))
	return o.bytes()
}

func (a *Answer) auditMetadata() []byte {
	var o object
	o.text("request_id", a.RequestID)
	o.text("decision", a.Decision)
	o.boolean("has_content", a.Content != nil && *a.Content != "")
	o.optional("selected_option", a.SelectedOption)
	o.text("status", string(run.Running))
	return redact.JSON(o.bytes())
}

// cancelReason is the text of a cancelled run.
const cancelReason = "Run cancellation requested."

// Cancel ends a run that has not ended. One that has is returned as it is.
func (s *Runs) Cancel(ctx context.Context, runID string) (RunView, error) {
	r, err := s.o.Store.Run(ctx, runID)
	if err != nil {
		return RunView{}, storeError(err)
	}
	event := s.audit.event(ctx, "run.cancelled", runID, "", []byte("{}"))
	changed := false
	if !r.Status.Terminal() {
		r, changed, err = s.o.Store.CancelRun(ctx, runID, cancelled(r, s.o.Clock.Now(), event))
		if err != nil {
			return RunView{}, storeError(err)
		}
	}
	if changed {
		s.o.Executor.Keeper().Cancel(runID, runner.ErrCancelled)
	} else if err := s.audit.append(ctx, event); err != nil {
		return RunView{}, err
	}
	return s.View(ctx, r)
}

// cancelled is what cancelling a run writes.
func cancelled(r run.Run, now time.Time, event run.AuditEvent) store.Progress {
	r.Status, r.UpdatedAt, r.CompletedAt = run.Cancelled, now, &now
	r.Error = &run.Failure{Message: cancelReason, Type: run.FailCancelled}
	var metadata object
	metadata.text("reason", cancelReason)
	metadata.boolean("requested", true)
	return store.Progress{
		Run: &r,
		Checkpoints: []run.Checkpoint{{
			ID: id.New(), RunID: r.ID, Type: run.CheckpointRunCancelled, WorkflowName: r.WorkflowName, Iteration: 1, State: record.State(&r),
			TraceEvents: json.RawMessage("[]"), Metadata: metadata.bytes(), CreatedAt: now,
		}},
		Events: []run.Event{{Kind: "cancelled", Data: statusObject(run.Cancelled), CreatedAt: now}},
		Audit:  []run.AuditEvent{event},
	}
}

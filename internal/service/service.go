// Package service holds the use cases of the platform, one file per noun. It speaks the domain records of internal/run, internal/spec and
// internal/plan, never protobuf; transports translate to and from it. It may import every layer below it and no adapter.
package service

import (
	"context"
	"errors"
	"time"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// notFoundMessage is the text of every failed look-up.
const notFoundMessage = "The requested resource was not found."

// errNotFound returns the answer to a failed look-up.
func errNotFound() error { return problem.New(problem.NotFound, notFoundMessage) }

// storeError turns an error of the store into a typed one. Errors that are typed already and those of the context pass unchanged.
func storeError(err error) error {
	var full *store.QueueFullError
	switch {
	case err == nil, problem.As(err) != nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, store.ErrNotFound):
		return problem.Wrap(err, problem.NotFound, notFoundMessage)
	case errors.As(err, &full):
		return problem.New(problem.QueueFull,
			"Run queue is full: %d queued runs at the configured limit of %d. Retry after the backlog drains.", full.Depth, full.Limit).
			With("queue_depth", full.Depth).With("limit", full.Limit).After(5)
	case errors.Is(err, store.ErrUnavailable):
		return problem.Wrap(err, problem.StoreUnavailable, "The state store is temporarily unavailable; retry shortly.").After(5)
	default:
		return problem.Wrap(err, problem.Internal, "An internal error occurred.")
	}
}

// locked is the answer when another request works on the same thing.
func locked(name string) error {
	return problem.New(problem.ResourceLocked, "Resource is already locked: %s", name).With("resource", name)
}

// auditor makes and stores audit events.
type auditor struct {
	store store.Audit
	now   func() time.Time
	newID func() string
}

// event builds an event of the caller; empty ids stay unset. Metadata is masked already.
func (a *auditor) event(ctx context.Context, kind, runID, continuationID string, metadata []byte) run.AuditEvent {
	return run.AuditEvent{
		ID: a.newID(), Type: kind, RunID: optional(runID), ContinuationID: optional(continuationID),
		Actor: optional(auth.FromContext(ctx).Name), Metadata: metadata, CreatedAt: a.now(),
	}
}

// append stores events of an action that has no transaction of its own.
func (a *auditor) append(ctx context.Context, events ...run.AuditEvent) error {
	return storeError(a.store.AppendAudit(ctx, events...))
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

package llm

import (
	"errors"
	"fmt"
	"time"

	"github.com/kneo-go/kneo/internal/run"
)

// Class says what kind of failure a provider reported.
type Class string

// Classes of provider failures.
const (
	ClassAuth           Class = "auth"
	ClassRateLimit      Class = "rate_limit"
	ClassOverloaded     Class = "overloaded"
	ClassContextLength  Class = "context_length"
	ClassContentFilter  Class = "content_filter"
	ClassInvalidRequest Class = "invalid_request"
	ClassNetwork        Class = "network"
	ClassTimeout        Class = "timeout"
	ClassServer         Class = "server"
	ClassMalformed      Class = "malformed_response"
)

// Error is a failed model call. Its text never holds a key or a request body.
type Error struct {
	Class    Class
	Provider string
	// Status is the HTTP status, or 0.
	Status  int
	Message string
	// RequestID is the provider's name for the call, or empty.
	RequestID string
	// RetryAfter is the wait that the provider asked for, or 0.
	RetryAfter time.Duration

	// Cause is the library's error, for logs.
	Cause error
}

// Error returns the text shown as a run's failure message.
func (e *Error) Error() string {
	if e.Class == ClassTimeout {
		return e.Message
	}
	if e.Status != 0 {
		return fmt.Sprintf("%s: Error code: %d - %s", e.Provider, e.Status, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Provider, e.Message)
}

// Unwrap returns the library's error.
func (e *Error) Unwrap() error { return e.Cause }

// Failure returns the error as the failure of a step (decision W19).
func (e *Error) Failure() *run.StepError {
	kind := run.FailProvider
	if e.Class == ClassTimeout {
		kind = run.FailTimeout
	}
	return &run.StepError{Type: kind, Message: e.Error(), Permanent: !e.Retryable() && e.Class != ClassTimeout && e.Class != ClassMalformed, Cause: e}
}

// Retryable reports whether the same call may succeed later. Timeouts are decided by policy and are not included.
func (e *Error) Retryable() bool {
	switch e.Class {
	case ClassRateLimit, ClassOverloaded, ClassNetwork, ClassServer:
		return true
	}
	return false
}

// AsError returns the *Error in err's chain, or nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

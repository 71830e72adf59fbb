// Package problem holds the typed errors of the platform: a stable code, a message for people, metadata for programs, and a
// wrapped cause that never reaches a client. It imports only the standard library.
package problem

import (
	"errors"
	"fmt"
)

// Code is the stable, snake_case name of an error on the wire (`detail.error`).
type Code string

// Codes of service-api.md §2.2 and the failure types of decisions W19 that a client can meet in a response.
const (
	InvalidRequest           Code = "invalid_request"
	InvalidIdempotencyKey    Code = "invalid_idempotency_key"
	SpecInvalid              Code = "spec_invalid"
	TokenBudgetExceeded      Code = "token_budget_exceeded"
	Unauthorized             Code = "unauthorized"
	Forbidden                Code = "forbidden"
	EnvironmentPolicyBlocked Code = "environment_policy_blocked"
	NotFound                 Code = "not_found"
	IdempotencyKeyConflict   Code = "idempotency_key_conflict"
	IdempotencyKeyInProgress Code = "idempotency_key_in_progress"
	ResourceLocked           Code = "resource_locked"
	RunStateConflict         Code = "run_state_conflict"
	HumanTaskExpired         Code = "human_task_expired"
	PayloadTooLarge          Code = "payload_too_large"
	UnknownQueryParameters   Code = "unknown_query_parameters"
	InvalidTimestamp         Code = "invalid_timestamp"
	SpecPathConfined         Code = "spec_path_confined"
	GuardrailViolation       Code = "guardrail_violation"
	MissingSecret            Code = "missing_secret"
	ValidationFailed         Code = "validation_failed"
	JSONInvalid              Code = "json_invalid"
	Internal                 Code = "internal_error"
	Unimplemented            Code = "unimplemented"
	QueueFull                Code = "queue_full"
	StoreUnavailable         Code = "store_unavailable"
	NotReady                 Code = "not_ready"
)

// Field is one extra key of an error body, written beside `error` and `message` in the given order.
type Field struct {
	// Key is the JSON name.
	Key string
	// Value is any value encoding/json can write; json.RawMessage is written verbatim.
	Value any
}

// Issue is one item of a validation list (service-api.md §3).
type Issue struct {
	// Type is the kind, for example "missing" or "extra_forbidden".
	Type string
	// Loc is the path: strings and ints, beginning with body, query or path.
	Loc []any
	// Msg is the text for people.
	Msg string
	// Input is the offending value as raw JSON, or nil to leave it out.
	Input []byte
	// Ctx holds the bounds that were broken, or nil.
	Ctx map[string]any
}

// Error is a typed error. Build it with New or Wrap and add to it with the With methods.
type Error struct {
	// Code decides status and envelope.
	Code Code
	// Message is safe to show to the caller.
	Message string
	// Fields are the extra keys of the body.
	Fields []Field
	// Issues is the list body of a ValidationFailed error.
	Issues []Issue
	// RetryAfter is the Retry-After header in seconds; 0 means none.
	RetryAfter int
	// RunID names the run that the error belongs to, or is empty.
	RunID string

	cause error
}

// New returns an error with a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error whose cause is kept for logs and errors.Is, and is never shown.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.cause = cause
	return e
}

// With adds one extra key and returns the same error.
func (e *Error) With(key string, value any) *Error {
	e.Fields = append(e.Fields, Field{Key: key, Value: value})
	return e
}

// After sets Retry-After in seconds and returns the same error.
func (e *Error) After(seconds int) *Error {
	e.RetryAfter = seconds
	return e
}

// Error returns code, message and cause, for logs.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.cause)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.cause }

// As returns the typed error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Is reports whether err carries code.
func Is(err error, code Code) bool {
	e := As(err)
	return e != nil && e.Code == code
}

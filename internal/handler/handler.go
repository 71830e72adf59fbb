// Package handler is the port to the code that specs refer to by name: functions, tools, guardrails, retrievers and summarizers. Handlers are
// registered Go functions, built-ins, or remote workers; the server process runs no user code (decision X10). It imports the standard
// library only.
package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is the role in which a handler is called; it decides the shape of input and output.
type Kind string

// Kinds of handlers.
//
//	kind        input                                  output
//	function    string                                 text (see Text)
//	tool        object of arguments                    any value
//	guardrail   string, the text to check              bool, or {passed, reason?, revised_text?, metadata?}
//	retriever   {"text": string, "top_k": int}         text
//	summarizer  string                                 text
const (
	Function   Kind = "function"
	Tool       Kind = "tool"
	Guardrail  Kind = "guardrail"
	Retriever  Kind = "retriever"
	Summarizer Kind = "summarizer"
)

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{Function, Tool, Guardrail, Retriever, Summarizer} }

// Valid reports whether the kind is one of Kinds.
func (k Kind) Valid() bool {
	switch k {
	case Function, Tool, Guardrail, Retriever, Summarizer:
		return true
	}
	return false
}

// Canonical is the form under which a name is stored and looked up: "pkg.mod:name" means "pkg.mod.name".
func Canonical(name string) string {
	module, attr, found := strings.Cut(strings.TrimSpace(name), ":")
	if !found || module == "" || attr == "" {
		return strings.TrimSpace(name)
	}
	return module + "." + attr
}

// Meta is what a handler may know about its call.
type Meta struct {
	RunID string
	// Attempt counts from 1; 0 counts as 1.
	Attempt int
	// IdempotencyKey is the same for every repetition of the call, also after a crash of the server.
	IdempotencyKey string
	// Deadline is the latest time for an answer; the zero time means none.
	Deadline time.Time
	// TraceParent is the W3C trace context, or empty.
	TraceParent string
}

// Definition describes a registered handler.
type Definition struct {
	// Name is canonical.
	Name        string
	Kind        Kind
	Description string
	// InputSchema is a JSON Schema of a tool's arguments, or nil.
	InputSchema json.RawMessage
	// Idempotent is false when a call that may have happened must not be repeated without asking.
	Idempotent bool
}

// Catalog knows which handlers exist at the moment.
type Catalog interface {
	// Has reports whether a handler of that kind and (not necessarily canonical) name can be called.
	Has(kind Kind, name string) bool
	// Names lists the canonical names of all handlers, sorted, without duplicates.
	Names() []string
}

// Caller calls handlers.
type Caller interface {
	// Call runs a handler and returns its output as JSON. Failures are *Error, except that the context's error is returned when the context ended.
	Call(ctx context.Context, kind Kind, name string, input json.RawMessage, m Meta) (json.RawMessage, error)
}

// Source is a place where handlers live.
type Source interface {
	Catalog
	Caller
	// Definitions lists the handlers, sorted by name and kind.
	Definitions() []Definition
}

// Codes of handler failures; a handler may also use codes of its own.
const (
	CodeFailed       = "handler_error"
	CodeUnavailable  = "handler_unavailable"
	CodeInvalidInput = "invalid_input"
	CodeTimeout      = "timeout"
	CodeCancelled    = "cancelled"
)

// Error is a failed call.
type Error struct {
	Code    string
	Message string
	// Retryable says that another try may succeed.
	Retryable bool
	// Details are further facts as a JSON object, or nil.
	Details json.RawMessage

	cause error
}

// NewError returns an error of a code with a formatted message.
func NewError(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, if there is one in this process.
func (e *Error) Unwrap() error { return e.cause }

// AsError returns the typed error in err's chain, or nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Text converts an output to the text that a step or a memory policy uses: a string as it is, an object with a string "output_text" by that
// member, null as "", everything else as compact JSON.
func Text(output json.RawMessage) string {
	var s string
	if json.Unmarshal(output, &s) == nil {
		return s
	}
	var result struct {
		OutputText *string `json:"output_text"`
	}
	if json.Unmarshal(output, &result) == nil && result.OutputText != nil {
		return *result.OutputText
	}
	return string(output)
}

// Verdict is the answer of a guardrail handler.
type Verdict struct {
	Passed      bool            `json:"passed"`
	Reason      *string         `json:"reason,omitempty"`
	RevisedText *string         `json:"revised_text,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
}

// ParseVerdict reads the output of a guardrail: a bool, or an object with "passed". Anything else is an error, so that a broken check never
// lets text pass.
func ParseVerdict(output json.RawMessage) (Verdict, error) {
	var passed bool
	if json.Unmarshal(output, &passed) == nil && string(output) != "null" {
		return Verdict{Passed: passed}, nil
	}
	var v struct {
		Verdict
		Passed *bool `json:"passed"`
	}
	if err := json.Unmarshal(output, &v); err != nil || v.Passed == nil {
		return Verdict{}, NewError(CodeFailed, "A guardrail function must return a bool or an object with `passed`.")
	}
	v.Verdict.Passed = *v.Passed
	return v.Verdict, nil
}

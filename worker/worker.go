// Package worker serves Go functions to a Kneo server as handlers of specs: functions, tools, guardrails, retrievers and summarizers. A spec
// refers to them by name, and the server, which runs no user code, calls them over one gRPC stream.
//
//	w := worker.New(worker.Options{Name: "billing"})
//	w.Function("billing.rules.normalise", func(ctx context.Context, text string) (string, error) { … })
//	err := w.Run(ctx, conn)
//
// Handlers may be called again under the same idempotency key after a crash; declare those that must not be.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Kinds of handlers.
const (
	KindFunction   = "function"
	KindTool       = "tool"
	KindGuardrail  = "guardrail"
	KindRetriever  = "retriever"
	KindSummarizer = "summarizer"
)

// Options describe a worker. Zero values mean the defaults.
type Options struct {
	// Name is for people, for example host and process id.
	Name string
	// Client names the language and version of the worker; the default is this package.
	Client string
	// MaxConcurrency is how many calls are worked on at the same time; 16 by default.
	MaxConcurrency int
	// DrainTimeout bounds how long Run waits for calls in progress when its context ends; 30 seconds by default.
	DrainTimeout time.Duration
	// APIKey is sent to the server, when set.
	APIKey string
	// Registered, when not nil, is called each time the server has confirmed the registration.
	Registered func()
	// Logger gets connection changes and panics; nothing is logged without one.
	Logger *slog.Logger
}

// Handler describes one handler.
type Handler struct {
	// Name is what specs call it, "pkg.mod.name".
	Name string
	// Kind is one of the Kind constants. It decides the shape of input and output.
	Kind        string
	Description string
	// InputSchema is a JSON Schema of a tool's arguments, or nil.
	InputSchema json.RawMessage
	// NotIdempotent says that a call that may have happened must not be repeated.
	NotIdempotent bool
}

// Call is one call of a handler.
type Call struct {
	// ID is the same for every attempt.
	ID         string
	Kind, Name string
	// Input depends on the kind: text for functions, guardrails and summarizers, an object of arguments for tools, and
	// {"text", "top_k"} for retrievers.
	Input   json.RawMessage
	Attempt int
	// IdempotencyKey is the same for every repetition of the call, also after a crash of the server.
	IdempotencyKey string
	RunID          string
	// Deadline is the latest time for an answer, or the zero time. The context ends then.
	Deadline time.Time
	// TraceParent is the W3C trace context, or empty.
	TraceParent string
}

// Func handles calls. Its output is JSON. An error that is no *Error becomes a retryable one with the code handler_error. The context ends when the
// result is not wanted any more.
type Func func(ctx context.Context, c Call) (json.RawMessage, error)

// Error is a failure with a code for programs.
type Error struct {
	// Code is handler_error, invalid_input, timeout, cancelled, or one of the handler's own.
	Code string
	// Message is for people, without secrets.
	Message string
	// Retryable says that another try may succeed.
	Retryable bool
	// Details are further facts as a JSON object, or nil.
	Details json.RawMessage
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Verdict is the answer of a guardrail.
type Verdict struct {
	Passed      bool    `json:"passed"`
	Reason      *string `json:"reason,omitempty"`
	RevisedText *string `json:"revised_text,omitempty"`
}

type handlerKey struct{ kind, name string }

// Worker serves handlers. Register them before Run.
type Worker struct {
	options  Options
	handlers map[handlerKey]Func
	order    []Handler
	err      error
}

// New returns a worker without handlers.
func New(o Options) *Worker {
	if o.Client == "" {
		o.Client = "go/1"
	}
	if o.MaxConcurrency <= 0 {
		o.MaxConcurrency = 16
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker{options: o, handlers: map[handlerKey]Func{}}
}

// Handle registers a handler. A mistake (no name, a name twice) is reported by Run.
func (w *Worker) Handle(h Handler, fn Func) {
	h.Name = canonical(h.Name)
	k := handlerKey{h.Kind, h.Name}
	switch _, taken := w.handlers[k]; {
	case h.Name == "" || fn == nil:
		w.err = errors.Join(w.err, fmt.Errorf("worker: a handler needs a name and a function: %q", h.Name))
		return
	case taken:
		w.err = errors.Join(w.err, fmt.Errorf("worker: %s %s is registered twice", h.Kind, h.Name))
		return
	}
	w.handlers[k] = fn
	w.order = append(w.order, h)
}

// canonical reads "pkg.mod:name" as "pkg.mod.name".
func canonical(name string) string { return strings.Replace(name, ":", ".", 1) }

// Function registers a step function.
func (w *Worker) Function(name string, fn func(ctx context.Context, text string) (string, error)) {
	w.Handle(Handler{Name: name, Kind: KindFunction}, onText(fn))
}

// Summarizer registers a summarizer of agent memory.
func (w *Worker) Summarizer(name string, fn func(ctx context.Context, text string) (string, error)) {
	w.Handle(Handler{Name: name, Kind: KindSummarizer}, onText(fn))
}

// Guardrail registers a check of texts.
func (w *Worker) Guardrail(name string, fn func(ctx context.Context, text string) (Verdict, error)) {
	w.Handle(Handler{Name: name, Kind: KindGuardrail}, onText(fn))
}

// Retriever registers a retriever of agent memory.
func (w *Worker) Retriever(name string, fn func(ctx context.Context, text string, topK int) (string, error)) {
	w.Handle(Handler{Name: name, Kind: KindRetriever}, func(ctx context.Context, c Call) (json.RawMessage, error) {
		var in struct {
			Text string `json:"text"`
			TopK int    `json:"top_k"`
		}
		if err := json.Unmarshal(c.Input, &in); err != nil {
			return nil, invalidInput(err)
		}
		return encoded(fn(ctx, in.Text, in.TopK))
	})
}

// Tool registers a tool. T is what the arguments are decoded into; the result is any value that encodes as JSON, and text stays text.
func Tool[T any](w *Worker, h Handler, fn func(ctx context.Context, arguments T) (any, error)) {
	h.Kind = KindTool
	w.Handle(h, func(ctx context.Context, c Call) (json.RawMessage, error) {
		var arguments T
		if err := json.Unmarshal(c.Input, &arguments); err != nil {
			return nil, invalidInput(err)
		}
		return encoded(fn(ctx, arguments))
	})
}

func onText[T any](fn func(ctx context.Context, text string) (T, error)) Func {
	return func(ctx context.Context, c Call) (json.RawMessage, error) {
		var text string
		if err := json.Unmarshal(c.Input, &text); err != nil {
			return nil, invalidInput(err)
		}
		return encoded(fn(ctx, text))
	}
}

func encoded[T any](v T, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func invalidInput(err error) error {
	return &Error{Code: "invalid_input", Message: "The input does not fit the handler: " + err.Error()}
}

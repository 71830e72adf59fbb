// Package tool is the port to tools: the gate that every call passes (names, domains, argument schema), the execution of handlers and remote
// tools, and the text that a result becomes. Adapters live in its subpackages. It imports plan, handler, problem, redact and pytext.
package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/pytext"
	"github.com/kneo-go/kneo/internal/redact"
)

// Remote calls tools of MCP servers. It is safe for concurrent use.
type Remote interface {
	// CallTool returns the result as text. An error other than a *problem.Error or the context's is told to the model by its text.
	CallTool(ctx context.Context, c RemoteCall) (string, error)
	// Idempotent reports whether a call may be repeated, by the server's annotations; true when nothing is known.
	Idempotent(ctx context.Context, server *plan.MCPServer, name string) bool
}

// RemoteCall is one call of a remote tool.
type RemoteCall struct {
	Server *plan.MCPServer
	// Name is the tool's name at the server.
	Name      string
	Arguments json.RawMessage
	// IdempotencyKey is the same for every repetition of the call.
	IdempotencyKey string
	// Once forbids a second attempt after the call may have reached the server.
	Once bool
}

// Meta is what a tool may know about its call.
type Meta struct {
	RunID          string
	IdempotencyKey string
	// Once forbids a second attempt after the call may have happened.
	Once bool
}

// Outcome is the text a call became, for the model.
type Outcome struct {
	Text string `json:"text"`
	// Failed says that Text tells an error.
	Failed bool `json:"failed,omitempty"`
}

// DefaultMaxResult bounds the text of one result in bytes.
const DefaultMaxResult = 1 << 20

// Executor runs tools that are not agents. It is safe for concurrent use.
type Executor struct {
	// Handlers serves implementation-backed tools, Remote the MCP ones.
	Handlers handler.Caller
	Remote   Remote
	// MaxResult bounds the text of a result in bytes; 0 means DefaultMaxResult.
	MaxResult int
	// RedactResults scrubs secrets and personal data from results before the model sees them.
	RedactResults bool
}

// Execute runs one call. Failures of the tool are outcomes; errors are the context's and *problem.Error.
func (e *Executor) Execute(ctx context.Context, p *plan.Plan, t *plan.Tool, arguments json.RawMessage, m Meta) (Outcome, error) {
	text, err := e.call(ctx, p, t, arguments, m)
	if err == nil {
		return Outcome{Text: e.finish(text)}, nil
	}
	if ctx.Err() != nil {
		return Outcome{}, context.Cause(ctx)
	}
	if pe := problem.As(err); pe != nil {
		return Outcome{}, err
	}
	return Failure(e.finish(err.Error())), nil
}

// Failure is the outcome that tells the model about an error.
func Failure(message string) Outcome { return Outcome{Text: pytext.Error(message), Failed: true} }

func (e *Executor) call(ctx context.Context, p *plan.Plan, t *plan.Tool, arguments json.RawMessage, m Meta) (string, error) {
	switch {
	case t.Server != "":
		server := p.Servers[t.Server]
		if server == nil || e.Remote == nil {
			return "", problem.New(problem.SpecInvalid, "Tool '%s' refers to the unknown MCP server '%s'.", t.Name, t.Server)
		}
		name := t.RemoteName
		if name == "" {
			name = t.Name
		}
		return e.Remote.CallTool(ctx, RemoteCall{Server: server, Name: name, Arguments: arguments, IdempotencyKey: m.IdempotencyKey, Once: m.Once})
	case t.Implementation != "" && e.Handlers != nil:
		meta := handler.Meta{RunID: m.RunID, Attempt: 1, IdempotencyKey: m.IdempotencyKey}
		if d, ok := ctx.Deadline(); ok {
			meta.Deadline = d
		}
		out, err := e.Handlers.Call(ctx, handler.Tool, t.Implementation, arguments, meta)
		if err != nil {
			return "", err
		}
		return Text(out), nil
	}
	return "", errors.New(NoHandler(t.Name))
}

// NoHandler is what a model is told about a tool that cannot be called.
func NoHandler(name string) string { return fmt.Sprintf("No handler registered for tool %q.", name) }

// Text renders a handler's output: a string as it is, everything else as JSON with Python's separators.
func Text(out json.RawMessage) string {
	var s string
	if len(out) > 0 && out[0] == '"' && json.Unmarshal(out, &s) == nil {
		return s
	}
	if len(out) == 0 {
		return "null"
	}
	return pytext.Dump(out)
}

// finish applies redaction and the size cap.
func (e *Executor) finish(text string) string {
	if e.RedactResults {
		text = redact.Text(text)
	}
	limit := e.MaxResult
	if limit <= 0 {
		limit = DefaultMaxResult
	}
	return Truncate(text, limit)
}

// Truncate cuts text to at most limit bytes at a character boundary and says how many characters are missing.
func Truncate(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s...[truncated %d chars]", text[:cut], utf8.RuneCountInString(text[cut:]))
}

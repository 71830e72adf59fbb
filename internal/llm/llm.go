// Package llm is the port to language models: requests, responses, usage, classified errors, and the registry that opens a provider by name.
// Adapters live in its subpackages. It imports the domain packages problem and run, the port secret, and no adapter.
package llm

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kneo-go/kneo/internal/run"
)

// Dummy is the name of the provider that answers without a network.
const Dummy = "dummy"

// Roles of a message.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
	RoleTool      = "tool"
)

// Provider calls one model service. It is safe for concurrent use.
type Provider interface {
	// Name is the platform's name for metadata ("dummy", "openai", …).
	Name() string
	// Complete makes one model call. It streams through r.OnDelta when that is set. Errors are *Error, or the context's cause when ctx ended.
	Complete(ctx context.Context, r *Request) (*Response, error)
}

// Request is one model call.
type Request struct {
	// Model is the model name; empty means the provider's default.
	Model string
	// System is the system prompt, sent beside the thread.
	System string
	// Messages is the thread.
	Messages []run.Message
	// Tools are offered to the model; none means that it cannot call any.
	Tools []ToolDefinition
	// Temperature and MaxTokens are left to the provider when nil.
	Temperature *float64
	MaxTokens   *int64
	// ParallelToolCalls is left to the provider when nil.
	ParallelToolCalls *bool
	// Extra are further request parameters by their provider's names.
	Extra map[string]json.RawMessage
	// Format asks for structured output; nil means text.
	Format *Format
	// Accept, when not nil, judges the text of an answer without tool calls; its error ends the attempt as malformed.
	Accept func(text string) error
	// Echo holds Response.Echo of earlier turns of this thread by tool call id; a provider that wrote such a value wants it back.
	Echo map[string]string
	// Timeout bounds one attempt of the call; 0 leaves it to the deployment.
	Timeout time.Duration
	// OnDelta receives text as it arrives; nil means no streaming. It is called from one goroutine at a time.
	OnDelta func(text string)
}

// ToolDefinition describes a tool to a model.
type ToolDefinition struct {
	Name        string
	Description string
	// Parameters is a JSON Schema object.
	Parameters json.RawMessage
}

// Response is a model's turn.
type Response struct {
	Text      string         `json:"text"`
	ToolCalls []run.ToolCall `json:"tool_calls,omitempty"`
	// Echo is opaque provider data by tool call id that must accompany the call when the thread is sent again.
	Echo map[string]string `json:"echo,omitempty"`
	// Usage is nil when the provider reported none.
	Usage *Usage `json:"usage,omitempty"`
	// Model is the model that answered, as the provider names it.
	Model string `json:"model,omitempty"`
	// RequestID is the provider's name for this call.
	RequestID string `json:"request_id,omitempty"`
	// FinishReason is the provider's word for why the turn ended.
	FinishReason string `json:"finish_reason,omitempty"`
}

// Usage counts the tokens of one call. Cached and reasoning tokens are parts of input and output.
type Usage struct {
	InputTokens     int64 `json:"input_tokens"`
	OutputTokens    int64 `json:"output_tokens"`
	TotalTokens     int64 `json:"total_tokens"`
	CachedTokens    int64 `json:"cached_tokens,omitempty"`
	ReasoningTokens int64 `json:"reasoning_tokens,omitempty"`
}

// Run returns the three counts that runs show, or nil.
func (u *Usage) Run() *run.Usage {
	if u == nil {
		return nil
	}
	return &run.Usage{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, TotalTokens: u.TotalTokens}
}

// NewUsage returns normalised counts: negative ones count as absent, a missing total is the sum, and nothing usable is nil.
func NewUsage(input, output, total, cached, reasoning int64) *Usage {
	input, output, total = max(input, 0), max(output, 0), max(total, 0)
	if input == 0 && output == 0 && total == 0 {
		return nil
	}
	if total == 0 {
		total = input + output
	}
	return &Usage{InputTokens: input, OutputTokens: output, TotalTokens: total, CachedTokens: max(cached, 0), ReasoningTokens: max(reasoning, 0)}
}

// Last returns the content of the last message of role, and whether there is one.
func Last(thread []run.Message, role string) (string, bool) {
	for i := len(thread) - 1; i >= 0; i-- {
		if thread[i].Role == role {
			return thread[i].Content, true
		}
	}
	return "", false
}

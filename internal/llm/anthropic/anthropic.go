// Package anthropic speaks the messages protocol through Anthropic's library. It is an adapter of the port llm.
package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/packages/param"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/run"
)

// Name is the provider's name in specs and metadata.
const Name = "anthropic"

// Defaults of a request that names none; the service wants both.
const (
	model     = "claude-sonnet-4-5"
	maxTokens = 4096
)

// Provider calls one endpoint.
type Provider struct {
	endpoint llm.Endpoint
	service  sdk.MessageService
}

// Open is an llm.Factory. The library's environment variables are not consulted.
func Open(e llm.Endpoint) (llm.Provider, error) {
	opts := []option.RequestOption{option.WithEnvironmentProduction(), option.WithHTTPClient(exchange.Client()), option.WithMaxRetries(0), option.WithAPIKey(e.APIKey)}
	if e.BaseURL != "" {
		opts = append(opts, option.WithBaseURL(strings.TrimSuffix(e.BaseURL, "/")+"/"))
	}
	return &Provider{endpoint: e, service: sdk.NewMessageService(opts...)}, nil
}

// Name implements llm.Provider.
func (p *Provider) Name() string { return Name }

// Complete implements llm.Provider. The answer is always streamed, which the service wants for long ones.
func (p *Provider) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	ctx, rec := exchange.WithRecord(ctx)
	opts := extras(r.Extra)
	s := p.service.NewStreaming(ctx, params(r), opts...)
	defer func() { _ = s.Close() }() // the answer is complete or lost by now
	var m sdk.Message
	for s.Next() {
		event := s.Current()
		if err := m.Accumulate(event); err != nil {
			return nil, p.malformed(ctx, rec, err)
		}
		if r.OnDelta != nil && event.Type == "content_block_delta" && event.Delta.Type == "text_delta" && event.Delta.Text != "" {
			r.OnDelta(event.Delta.Text)
		}
	}
	if err := s.Err(); err != nil {
		return nil, p.classify(ctx, rec, err)
	}
	if m.StopReason == "" {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &llm.Error{Class: llm.ClassNetwork, Provider: Name, Message: "the stream ended before the answer did", RequestID: rec.RequestID()}
	}
	return response(&m, rec)
}

// extras sets further members of the request body.
func extras(extra map[string]json.RawMessage) []option.RequestOption {
	var opts []option.RequestOption
	for k, v := range extra {
		var value any
		if err := json.Unmarshal(v, &value); err == nil {
			opts = append(opts, option.WithJSONSet(strings.NewReplacer(`\`, `\\`, ".", `\.`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`, ":", `\:`).Replace(k), value))
		}
	}
	return opts
}

func params(r *llm.Request) sdk.MessageNewParams {
	p := sdk.MessageNewParams{Model: r.Model, MaxTokens: maxTokens}
	if r.Model == "" {
		p.Model = model
	}
	if r.MaxTokens != nil {
		p.MaxTokens = *r.MaxTokens
	}
	if r.Temperature != nil {
		p.Temperature = param.NewOpt(*r.Temperature)
	}
	if r.System != "" {
		p.System = append(p.System, sdk.TextBlockParam{Text: r.System})
	}
	thread := llm.Wellformed(r.Messages)
	for _, m := range thread {
		if m.Role == llm.RoleSystem && m.Content != "" {
			p.System = append(p.System, sdk.TextBlockParam{Text: m.Content})
		}
	}
	format(&p, r.Format)
	p.Messages = messages(thread, r.Echo)
	for _, t := range r.Tools {
		p.Tools = append(p.Tools, sdk.ToolUnionParam{OfTool: &sdk.ToolParam{Name: t.Name, Description: param.NewOpt(t.Description), InputSchema: schema(t.Parameters)}})
	}
	if len(r.Tools) > 0 && r.ParallelToolCalls != nil {
		p.ToolChoice = sdk.ToolChoiceUnionParam{OfAuto: &sdk.ToolChoiceAutoParam{DisableParallelToolUse: param.NewOpt(!*r.ParallelToolCalls)}}
	}
	return p
}

// format asks for structured output. The service takes a schema; without one the model is told in words.
func format(p *sdk.MessageNewParams, f *llm.Format) {
	if f == nil {
		return
	}
	var schema map[string]any
	if f.Schema == nil || json.Unmarshal(f.Schema, &schema) != nil {
		p.System = append(p.System, sdk.TextBlockParam{Text: f.Instruction()})
		return
	}
	p.OutputConfig.Format = sdk.JSONOutputFormatParam{Schema: schema}
}

func schema(raw json.RawMessage) sdk.ToolInputSchemaParam {
	s := sdk.ToolInputSchemaParam{Properties: map[string]any{}, ExtraFields: map[string]any{}}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return s
	}
	for k, v := range members {
		switch k {
		case "type":
		case "properties":
			s.Properties = v
		case "required":
			_ = json.Unmarshal(v, &s.Required) // a schema with another shape was refused when the spec was compiled
		default:
			s.ExtraFields[k] = v
		}
	}
	return s
}

// messages renders the turns; neighbours of one role share a message, so that all results of a turn answer it together.
func messages(thread []run.Message, echo map[string]string) []sdk.MessageParam {
	var out []sdk.MessageParam
	add := func(role sdk.MessageParamRole, blocks ...sdk.ContentBlockParamUnion) {
		if len(blocks) == 0 {
			return
		}
		if n := len(out); n > 0 && out[n-1].Role == role {
			out[n-1].Content = append(out[n-1].Content, blocks...)
			return
		}
		out = append(out, sdk.MessageParam{Role: role, Content: blocks})
	}
	for _, m := range thread {
		switch m.Role {
		case llm.RoleSystem:
		case llm.RoleAssistant:
			add(sdk.MessageParamRoleAssistant, assistant(m, echo)...)
		case llm.RoleTool:
			add(sdk.MessageParamRoleUser, sdk.NewToolResultBlock(*m.ToolCallID, m.Content, false))
		default:
			add(sdk.MessageParamRoleUser, texts(m.Content)...)
		}
	}
	if n := len(out); n > 0 && out[n-1].Role == sdk.MessageParamRoleAssistant {
		add(sdk.MessageParamRoleUser, sdk.NewTextBlock("Go on.")) // a last assistant turn would be continued as a text
	}
	return out
}

func texts(content string) []sdk.ContentBlockParamUnion {
	if strings.TrimSpace(content) == "" {
		return nil
	}
	return []sdk.ContentBlockParamUnion{sdk.NewTextBlock(content)}
}

// thought is a reasoning block that the service wants back with the tool calls that followed it.
type thought struct {
	Thinking  string `json:"thinking,omitempty"`
	Signature string `json:"signature,omitempty"`
	Redacted  string `json:"redacted,omitempty"`
}

func assistant(m run.Message, echo map[string]string) []sdk.ContentBlockParamUnion {
	var blocks []sdk.ContentBlockParamUnion
	if len(m.ToolCalls) > 0 {
		var thoughts []thought
		_ = json.Unmarshal([]byte(echo[m.ToolCalls[0].ID]), &thoughts) // nothing to echo is the usual case
		for _, t := range thoughts {
			if t.Redacted != "" {
				blocks = append(blocks, sdk.NewRedactedThinkingBlock(t.Redacted))
			} else {
				blocks = append(blocks, sdk.NewThinkingBlock(t.Signature, t.Thinking))
			}
		}
	}
	blocks = append(blocks, texts(m.Content)...)
	for _, c := range m.ToolCalls {
		blocks = append(blocks, sdk.NewToolUseBlock(c.ID, c.Arguments, c.Name))
	}
	return blocks
}

func response(m *sdk.Message, rec *exchange.Record) (*llm.Response, error) {
	input := m.Usage.InputTokens + m.Usage.CacheReadInputTokens + m.Usage.CacheCreationInputTokens
	resp := &llm.Response{
		Model: m.Model, RequestID: rec.RequestID(), FinishReason: string(m.StopReason),
		Usage: llm.NewUsage(input, m.Usage.OutputTokens, 0, m.Usage.CacheReadInputTokens, m.Usage.OutputTokensDetails.ThinkingTokens),
	}
	var text strings.Builder
	var thoughts []thought
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			text.WriteString(b.Text)
		case "thinking":
			thoughts = append(thoughts, thought{Thinking: b.Thinking, Signature: b.Signature})
		case "redacted_thinking":
			thoughts = append(thoughts, thought{Redacted: b.Data})
		case "tool_use":
			resp.ToolCalls = append(resp.ToolCalls, run.ToolCall{ID: b.ID, Name: b.Name, Arguments: arguments(b.Input)})
		}
	}
	resp.Text = text.String()
	if m.StopReason == sdk.StopReasonRefusal && resp.Text == "" {
		return nil, &llm.Error{Class: llm.ClassContentFilter, Provider: Name, Message: "The model refused to answer.", RequestID: resp.RequestID}
	}
	if len(thoughts) > 0 && len(resp.ToolCalls) > 0 {
		data, err := json.Marshal(thoughts)
		if err != nil {
			return nil, err
		}
		resp.Echo = map[string]string{resp.ToolCalls[0].ID: string(data)}
	}
	return resp, nil
}

func arguments(raw json.RawMessage) json.RawMessage {
	switch {
	case len(raw) == 0 || string(raw) == "null" || string(raw) == `""`:
		return json.RawMessage("{}")
	case json.Valid(raw):
		return raw
	}
	return run.AppendString(nil, string(raw))
}

func (p *Provider) malformed(ctx context.Context, rec *exchange.Record, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &llm.Error{Class: llm.ClassMalformed, Provider: Name, Message: "The answer could not be read: " + err.Error(), RequestID: rec.RequestID(), Cause: err}
}

func (p *Provider) classify(ctx context.Context, rec *exchange.Record, err error) error {
	r := exchange.Report{Provider: Name, Key: p.endpoint.APIKey, Record: rec, Cause: err}
	var api *sdk.Error
	if errors.As(err, &api) {
		var body struct {
			Error struct {
				Type    string `json:"type"`
				Message string `json:"message"`
			} `json:"error"`
		}
		_ = json.Unmarshal([]byte(api.RawJSON()), &body) // a body of another shape leaves the status to say what happened
		r.Status, r.Code, r.Message = api.StatusCode, body.Error.Type, body.Error.Message
		if r.Message == "" {
			r.Message = api.RawJSON()
		}
		if r.Status < 400 {
			r.Status = streamStatus(r.Code)
		}
	}
	return exchange.Classify(ctx, r)
}

// streamStatus is the status of an error that arrives inside a stream.
func streamStatus(kind string) int {
	switch kind {
	case "invalid_request_error":
		return 400
	case "authentication_error":
		return 401
	case "permission_error":
		return 403
	case "not_found_error":
		return 404
	case "rate_limit_error":
		return 429
	case "overloaded_error":
		return 529
	}
	return 500
}

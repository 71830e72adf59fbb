// Package openai speaks the chat completions protocol through OpenAI's library: to OpenAI itself, to Ollama, and to every compatible server. It is
// an adapter of the port llm.
package openai

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/shared"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/run"
)

// Provider names served by this package, and their defaults.
const (
	Name          = "openai"
	Ollama        = "ollama"
	OllamaBaseURL = "http://127.0.0.1:11434/v1"

	baseURL     = "https://api.openai.com/v1/"
	model       = "gpt-4o"
	ollamaModel = "llama3.2"
)

// Provider calls one endpoint.
type Provider struct {
	name     string
	endpoint llm.Endpoint
	service  sdk.ChatCompletionService
	// official is set for OpenAI's own service, which has another name for the output limit.
	official bool
	model    string
}

// Open is an llm.Factory. The library's environment variables are not consulted.
func Open(e llm.Endpoint) (llm.Provider, error) {
	p := &Provider{name: e.Provider, endpoint: e, model: model}
	if p.name == "openai-agents" {
		p.name = Name
	}
	if p.name == Ollama {
		p.model = ollamaModel
	}
	url := e.BaseURL
	if url == "" {
		url, p.official = baseURL, true
	}
	if !strings.HasSuffix(url, "/") {
		url += "/"
	}
	opts := []option.RequestOption{option.WithBaseURL(url), option.WithHTTPClient(exchange.Client()), option.WithMaxRetries(0), option.WithAPIKey(e.APIKey)}
	p.service = sdk.NewChatCompletionService(opts...)
	return p, nil
}

// Name implements llm.Provider.
func (p *Provider) Name() string { return p.name }

// Complete implements llm.Provider.
func (p *Provider) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	ctx, rec := exchange.WithRecord(ctx)
	params := p.params(r)
	var opts []option.RequestOption
	for k, v := range r.Extra {
		var value any
		if err := json.Unmarshal(v, &value); err == nil {
			opts = append(opts, option.WithJSONSet(escape(k), value))
		}
	}
	if r.Format != nil {
		opts = append(opts, option.WithJSONSet(llm.ResponseFormat, r.Format.Raw))
	}
	var resp *llm.Response
	var err error
	if r.OnDelta != nil {
		resp, err = p.stream(ctx, params, opts, r.OnDelta)
	} else {
		resp, err = p.whole(ctx, params, opts)
	}
	if err != nil {
		return nil, p.classify(ctx, rec, err)
	}
	resp.RequestID = rec.RequestID()
	if resp.FinishReason == "content_filter" && resp.Text == "" && len(resp.ToolCalls) == 0 {
		return nil, &llm.Error{Class: llm.ClassContentFilter, Provider: p.name, Message: "The answer was withheld by the content filter.", RequestID: resp.RequestID}
	}
	return resp, nil
}

// escape protects the characters that the library's JSON paths give a meaning.
func escape(key string) string {
	return strings.NewReplacer(`\`, `\\`, ".", `\.`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`, ":", `\:`).Replace(key)
}

func (p *Provider) params(r *llm.Request) sdk.ChatCompletionNewParams {
	params := sdk.ChatCompletionNewParams{Model: r.Model, Messages: messages(r)}
	if r.Model == "" {
		params.Model = p.model
	}
	if r.Temperature != nil {
		params.Temperature = param.NewOpt(*r.Temperature)
	}
	if r.MaxTokens != nil {
		if p.official {
			params.MaxCompletionTokens = param.NewOpt(*r.MaxTokens)
		} else {
			params.MaxTokens = param.NewOpt(*r.MaxTokens)
		}
	}
	for _, t := range r.Tools {
		params.Tools = append(params.Tools, sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: t.Name, Description: param.NewOpt(t.Description), Parameters: parameters(t.Parameters),
		}))
	}
	if len(r.Tools) > 0 && r.ParallelToolCalls != nil {
		params.ParallelToolCalls = param.NewOpt(*r.ParallelToolCalls)
	}
	return params
}

// parameters is a schema as the service wants it: always an object.
func parameters(raw json.RawMessage) shared.FunctionParameters {
	schema := shared.FunctionParameters{}
	if json.Unmarshal(raw, &schema) != nil || len(schema) == 0 {
		return shared.FunctionParameters{"type": "object", "properties": map[string]any{}}
	}
	if _, ok := schema["type"]; !ok {
		schema["type"] = "object"
	}
	return schema
}

func messages(r *llm.Request) []sdk.ChatCompletionMessageParamUnion {
	thread := llm.Wellformed(r.Messages)
	out := make([]sdk.ChatCompletionMessageParamUnion, 0, len(thread)+1)
	if r.System != "" {
		out = append(out, sdk.SystemMessage(r.System))
	}
	for _, m := range thread {
		switch m.Role {
		case llm.RoleSystem:
			out = append(out, sdk.SystemMessage(m.Content))
		case llm.RoleAssistant:
			out = append(out, assistant(m))
		case llm.RoleTool:
			out = append(out, sdk.ToolMessage(m.Content, *m.ToolCallID))
		default:
			out = append(out, sdk.UserMessage(m.Content))
		}
	}
	return out
}

func assistant(m run.Message) sdk.ChatCompletionMessageParamUnion {
	if len(m.ToolCalls) == 0 {
		return sdk.AssistantMessage(m.Content)
	}
	var a sdk.ChatCompletionAssistantMessageParam
	if m.Content != "" {
		a.Content.OfString = param.NewOpt(m.Content)
	}
	for _, c := range m.ToolCalls {
		a.ToolCalls = append(a.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
			ID: c.ID, Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: c.Name, Arguments: string(c.Arguments)},
		}})
	}
	return sdk.ChatCompletionMessageParamUnion{OfAssistant: &a}
}

var errNoChoice = errors.New("the answer holds no choice")

func (p *Provider) whole(ctx context.Context, params sdk.ChatCompletionNewParams, opts []option.RequestOption) (*llm.Response, error) {
	c, err := p.service.New(ctx, params, opts...)
	if err != nil {
		return nil, err
	}
	if len(c.Choices) == 0 {
		return nil, errNoChoice
	}
	choice := c.Choices[0]
	resp := &llm.Response{Text: text(choice.Message.Content, choice.Message.Refusal), Model: c.Model, FinishReason: choice.FinishReason, Usage: usage(c.Usage)}
	for _, call := range choice.Message.ToolCalls {
		resp.ToolCalls = append(resp.ToolCalls, run.ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: arguments(call.Function.Arguments)})
	}
	return resp, nil
}

func text(content, refusal string) string {
	if content == "" {
		return refusal
	}
	return content
}

// arguments keeps what is valid JSON; other text becomes a JSON string, which no tool takes.
func arguments(s string) json.RawMessage {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return json.RawMessage("{}")
	case json.Valid([]byte(s)):
		return json.RawMessage(s)
	}
	return run.AppendString(nil, s)
}

func usage(u sdk.CompletionUsage) *llm.Usage {
	return llm.NewUsage(u.PromptTokens, u.CompletionTokens, u.TotalTokens, u.PromptTokensDetails.CachedTokens, u.CompletionTokensDetails.ReasoningTokens)
}

// partial is a tool call that arrives in pieces.
type partial struct {
	id, name string
	args     strings.Builder
}

var errCutOff = errors.New("the stream ended before the answer did")

// maxPartials bounds the tool calls of a stream.
const maxPartials = 1024

func (p *Provider) stream(ctx context.Context, params sdk.ChatCompletionNewParams, opts []option.RequestOption, onDelta func(string)) (*llm.Response, error) {
	params.StreamOptions = sdk.ChatCompletionStreamOptionsParam{IncludeUsage: param.NewOpt(true)}
	s := p.service.NewStreaming(ctx, params, opts...)
	defer func() { _ = s.Close() }() // the answer is complete or lost by now
	resp := &llm.Response{}
	var content strings.Builder
	var calls []*partial
	for s.Next() {
		chunk := s.Current()
		if chunk.Model != "" {
			resp.Model = chunk.Model
		}
		if u := usage(chunk.Usage); u != nil {
			resp.Usage = u
		}
		if len(chunk.Choices) == 0 {
			continue
		}
		choice := chunk.Choices[0]
		if choice.FinishReason != "" {
			resp.FinishReason = choice.FinishReason
		}
		if t := text(choice.Delta.Content, choice.Delta.Refusal); t != "" {
			content.WriteString(t)
			onDelta(t)
		}
		for _, d := range choice.Delta.ToolCalls {
			calls = collect(calls, d)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if resp.FinishReason == "" {
		return nil, errCutOff
	}
	resp.Text = content.String()
	for _, c := range calls {
		if c != nil {
			resp.ToolCalls = append(resp.ToolCalls, run.ToolCall{ID: c.id, Name: c.name, Arguments: arguments(c.args.String())})
		}
	}
	return resp, nil
}

func collect(calls []*partial, d sdk.ChatCompletionChunkChoiceDeltaToolCall) []*partial {
	i := int(d.Index)
	if i < 0 || i >= maxPartials {
		return calls
	}
	for len(calls) <= i {
		calls = append(calls, nil)
	}
	if calls[i] == nil {
		calls[i] = &partial{}
	}
	c := calls[i]
	if d.ID != "" {
		c.id = d.ID
	}
	if d.Function.Name != "" {
		c.name = d.Function.Name
	}
	c.args.WriteString(d.Function.Arguments)
	return calls
}

func (p *Provider) classify(ctx context.Context, rec *exchange.Record, err error) error {
	r := exchange.Report{Provider: p.name, Key: p.endpoint.APIKey, Record: rec, Cause: err}
	var api *sdk.Error
	var stream *ssestream.StreamError
	switch {
	case errors.As(err, &api):
		r.Status, r.Code, r.Message = api.StatusCode, strings.Join([]string{api.Code, api.Type}, " "), api.Message
	case errors.As(err, &stream):
		r.Code, r.Message = streamError(stream)
		if r.Message != "" && r.Status == 0 {
			r.Status = 500
		}
	case errors.Is(err, errCutOff):
		return classifyCutOff(ctx, p.name, rec)
	}
	return exchange.Classify(ctx, r)
}

func classifyCutOff(ctx context.Context, name string, rec *exchange.Record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &llm.Error{Class: llm.ClassNetwork, Provider: name, Message: errCutOff.Error(), RequestID: rec.RequestID(), Cause: errCutOff}
}

// streamError reads an error event.
func streamError(e *ssestream.StreamError) (code, message string) {
	var body struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
			Code    any    `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(e.Event.Data, &body) != nil {
		return "", e.Message
	}
	word, _ := body.Error.Code.(string)
	return body.Error.Type + " " + word, body.Error.Message
}

// Package google speaks the Gemini protocol through Google's library. It is an adapter of the port llm.
package google

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genai"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/run"
)

// Name is the provider's name in specs and metadata.
const Name = "google"

const (
	baseURL = "https://generativelanguage.googleapis.com/"
	model   = "gemini-2.5-flash"
	// ownID begins the ids of calls to which the service gave none; they are not sent back.
	ownID = "call_"
)

// Provider calls one endpoint.
type Provider struct {
	endpoint llm.Endpoint
	models   *genai.Models
}

// Open is an llm.Factory. It makes no network call.
func Open(e llm.Endpoint) (llm.Provider, error) {
	url := e.BaseURL
	if url == "" {
		url = baseURL
	}
	c, err := genai.NewClient(context.Background(), &genai.ClientConfig{
		APIKey: e.APIKey, Backend: genai.BackendGeminiAPI, HTTPClient: exchange.Client(),
		HTTPOptions: genai.HTTPOptions{BaseURL: url},
	})
	if err != nil {
		return nil, err
	}
	return &Provider{endpoint: e, models: c.Models}, nil
}

// Name implements llm.Provider.
func (p *Provider) Name() string { return Name }

// Complete implements llm.Provider.
func (p *Provider) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	ctx, rec := exchange.WithRecord(ctx)
	config, err := configure(r)
	if err != nil {
		return nil, err
	}
	name := r.Model
	if name == "" {
		name = model
	}
	b := &builder{known: calls(r.Messages)}
	if r.OnDelta == nil {
		resp, err := p.models.GenerateContent(ctx, name, contents(r), config)
		if err != nil {
			return nil, p.classify(ctx, rec, err)
		}
		b.add(resp, nil)
	} else {
		for resp, err := range p.models.GenerateContentStream(ctx, name, contents(r), config) {
			if err != nil {
				return nil, p.classify(ctx, rec, err)
			}
			b.add(resp, r.OnDelta)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return b.finish(rec)
}

func configure(r *llm.Request) (*genai.GenerateContentConfig, error) {
	c := &genai.GenerateContentConfig{}
	if len(r.Extra) > 0 {
		named := make(map[string]json.RawMessage, len(r.Extra))
		for k, v := range r.Extra {
			named[camel(k)] = v
		}
		data, err := json.Marshal(named)
		if err == nil {
			err = json.Unmarshal(data, c)
		}
		if err != nil {
			return nil, &llm.Error{Class: llm.ClassInvalidRequest, Provider: Name, Message: "model.extra does not fit the request: " + err.Error(), Cause: err}
		}
	}
	if r.Temperature != nil {
		c.Temperature = new(float32(*r.Temperature))
	}
	if r.MaxTokens != nil {
		c.MaxOutputTokens = int32(min(max(*r.MaxTokens, 0), 1<<30)) //nolint:gosec // bounded in the same expression
	}
	c.SystemInstruction = system(r)
	if r.Format != nil && len(r.Tools) == 0 {
		c.ResponseMIMEType = "application/json"
		if r.Format.Schema != nil {
			c.ResponseJsonSchema = r.Format.Schema
		}
	}
	c.Tools = nil
	if len(r.Tools) > 0 {
		t := &genai.Tool{}
		for _, d := range r.Tools {
			f := &genai.FunctionDeclaration{Name: d.Name, Description: d.Description}
			if s := string(d.Parameters); s != "" && s != "{}" && s != "null" {
				f.ParametersJsonSchema = d.Parameters
			}
			t.FunctionDeclarations = append(t.FunctionDeclarations, f)
		}
		c.Tools = []*genai.Tool{t}
	}
	return c, nil
}

// camel turns the snake case of specs into the service's spelling.
func camel(s string) string {
	parts := strings.Split(s, "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

func system(r *llm.Request) *genai.Content {
	var parts []*genai.Part
	if r.System != "" {
		parts = append(parts, &genai.Part{Text: r.System})
	}
	for _, m := range r.Messages {
		if m.Role == llm.RoleSystem && m.Content != "" {
			parts = append(parts, &genai.Part{Text: m.Content})
		}
	}
	if r.Format != nil && len(r.Tools) > 0 {
		// The service refuses a response format beside tools.
		parts = append(parts, &genai.Part{Text: r.Format.Instruction()})
	}
	if parts == nil {
		return nil
	}
	return &genai.Content{Parts: parts}
}

// contents renders the turns; neighbours of one role share a content.
func contents(r *llm.Request) []*genai.Content {
	var out []*genai.Content
	add := func(role string, parts ...*genai.Part) {
		if len(parts) == 0 {
			return
		}
		if n := len(out); n > 0 && out[n-1].Role == role {
			out[n-1].Parts = append(out[n-1].Parts, parts...)
			return
		}
		out = append(out, &genai.Content{Role: role, Parts: parts})
	}
	thread := llm.Wellformed(r.Messages)
	for _, m := range thread {
		switch m.Role {
		case llm.RoleSystem:
		case llm.RoleAssistant:
			add(genai.RoleModel, assistant(m, r.Echo)...)
		case llm.RoleTool:
			add(genai.RoleUser, result(m))
		default:
			add(genai.RoleUser, &genai.Part{Text: m.Content})
		}
	}
	if llm.EndsWithAssistant(thread) {
		add(genai.RoleUser, &genai.Part{Text: "Go on."}) // the service answers user turns only
	}
	return out
}

func assistant(m run.Message, echo map[string]string) []*genai.Part {
	var parts []*genai.Part
	if m.Content != "" {
		parts = append(parts, &genai.Part{Text: m.Content})
	}
	for _, c := range m.ToolCalls {
		var args map[string]any
		_ = json.Unmarshal(c.Arguments, &args) // the loop has made them an object
		part := &genai.Part{FunctionCall: &genai.FunctionCall{ID: serviceID(c.ID), Name: c.Name, Args: args}}
		if sig, err := base64.StdEncoding.DecodeString(echo[c.ID]); err == nil && len(sig) > 0 {
			part.ThoughtSignature = sig
		}
		parts = append(parts, part)
	}
	return parts
}

func serviceID(id string) string {
	if strings.HasPrefix(id, ownID) {
		return ""
	}
	return id
}

func result(m run.Message) *genai.Part {
	name := ""
	if m.Name != nil {
		name = *m.Name
	}
	return &genai.Part{FunctionResponse: &genai.FunctionResponse{ID: serviceID(*m.ToolCallID), Name: name, Response: map[string]any{"output": m.Content}}}
}

// calls counts the tool calls of a thread, so that new ids differ from all of them.
func calls(thread []run.Message) int {
	n := 0
	for _, m := range thread {
		n += len(m.ToolCalls)
	}
	return n
}

// builder collects the pieces of an answer.
type builder struct {
	known   int
	resp    llm.Response
	text    strings.Builder
	blocked string
	detail  string
}

func (b *builder) add(r *genai.GenerateContentResponse, onDelta func(string)) {
	if r == nil {
		return
	}
	if r.ModelVersion != "" {
		b.resp.Model = r.ModelVersion
	}
	if r.ResponseID != "" {
		b.resp.RequestID = r.ResponseID
	}
	if u := r.UsageMetadata; u != nil {
		b.resp.Usage = llm.NewUsage(int64(u.PromptTokenCount)+int64(u.ToolUsePromptTokenCount), int64(u.CandidatesTokenCount)+int64(u.ThoughtsTokenCount),
			int64(u.TotalTokenCount), int64(u.CachedContentTokenCount), int64(u.ThoughtsTokenCount))
	}
	if f := r.PromptFeedback; f != nil && f.BlockReason != "" {
		b.blocked, b.detail = string(f.BlockReason), f.BlockReasonMessage
	}
	if len(r.Candidates) == 0 || r.Candidates[0] == nil {
		return
	}
	c := r.Candidates[0]
	if c.FinishReason != "" {
		b.resp.FinishReason = string(c.FinishReason)
		b.detail = c.FinishMessage
	}
	if c.Content == nil {
		return
	}
	for _, part := range c.Content.Parts {
		b.part(part, onDelta)
	}
}

func (b *builder) part(part *genai.Part, onDelta func(string)) {
	switch {
	case part == nil || part.Thought:
	case part.FunctionCall != nil:
		b.call(part)
	case part.Text != "":
		b.text.WriteString(part.Text)
		if onDelta != nil {
			onDelta(part.Text)
		}
	}
}

func (b *builder) call(part *genai.Part) {
	id := part.FunctionCall.ID
	if id == "" {
		id = fmt.Sprintf("%s%d", ownID, b.known+len(b.resp.ToolCalls)+1)
	}
	args, err := json.Marshal(part.FunctionCall.Args)
	if err != nil || part.FunctionCall.Args == nil {
		args = []byte("{}")
	}
	b.resp.ToolCalls = append(b.resp.ToolCalls, run.ToolCall{ID: id, Name: part.FunctionCall.Name, Arguments: args})
	if len(part.ThoughtSignature) > 0 {
		if b.resp.Echo == nil {
			b.resp.Echo = map[string]string{}
		}
		b.resp.Echo[id] = base64.StdEncoding.EncodeToString(part.ThoughtSignature)
	}
}

// withheld are the finish reasons of an answer that a filter held back.
var withheld = map[string]bool{"SAFETY": true, "RECITATION": true, "BLOCKLIST": true, "PROHIBITED_CONTENT": true, "SPII": true, "IMAGE_SAFETY": true, "LANGUAGE": true}

func (b *builder) finish(rec *exchange.Record) (*llm.Response, error) {
	b.resp.Text = b.text.String()
	if b.resp.RequestID == "" {
		b.resp.RequestID = rec.RequestID()
	}
	failed := func(class llm.Class, message string) (*llm.Response, error) {
		if b.detail != "" {
			message += " " + b.detail
		}
		return nil, &llm.Error{Class: class, Provider: Name, Message: message, RequestID: b.resp.RequestID}
	}
	empty := b.resp.Text == "" && len(b.resp.ToolCalls) == 0
	switch {
	case b.blocked != "":
		return failed(llm.ClassContentFilter, "The prompt was blocked: "+b.blocked+".")
	case empty && withheld[b.resp.FinishReason]:
		return failed(llm.ClassContentFilter, "The answer was withheld: "+b.resp.FinishReason+".")
	case empty && b.resp.FinishReason == "MALFORMED_FUNCTION_CALL":
		return failed(llm.ClassMalformed, "The model wrote a tool call that cannot be read.")
	case b.resp.FinishReason == "" && empty:
		return failed(llm.ClassMalformed, "The answer holds no candidate.")
	case b.resp.FinishReason == "":
		return failed(llm.ClassNetwork, "The stream ended before the answer did.")
	}
	return &b.resp, nil
}

func (p *Provider) classify(ctx context.Context, rec *exchange.Record, err error) error {
	r := exchange.Report{Provider: Name, Key: p.endpoint.APIKey, Record: rec, Cause: err}
	var api genai.APIError
	if errors.As(err, &api) {
		r.Status, r.Code, r.Message = api.Code, api.Status, api.Message
	}
	return exchange.Classify(ctx, r)
}

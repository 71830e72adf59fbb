package agent

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/tool"
)

// ScopeName is the instrumentation scope of agents' spans.
const ScopeName = "kneo_agent"

// maxRecorded bounds a recorded argument or result in bytes.
const maxRecorded = 4096

// SpanOptions choose what spans hold beside names and counts.
type SpanOptions struct {
	// RecordArguments and RecordResults add the (redacted) texts of tool calls (KNEO_SERV_OTEL_RECORD_ARGUMENTS and _RESULTS).
	RecordArguments, RecordResults bool
}

// Spans is an Observer that writes OpenTelemetry spans: one per agent call, model call and tool call (execution.md §9.3).
type Spans struct {
	tracer  trace.Tracer
	options SpanOptions
}

// NewSpans returns an Observer on a provider.
func NewSpans(p trace.TracerProvider, o SpanOptions) *Spans { return &Spans{p.Tracer(ScopeName), o} }

// system names a provider as the semantic conventions do.
func system(provider string) string {
	switch provider {
	case "google", "google-adk", "gemini":
		return "gcp.gemini"
	case "openai-agents":
		return "openai"
	}
	return provider
}

// Agent implements Observer.
func (s *Spans) Agent(ctx context.Context, o Observation) (context.Context, func(Done)) {
	start := time.Now()
	ctx, span := s.tracer.Start(ctx, "chat "+o.Agent, trace.WithAttributes(
		attribute.String("kneo_agent.runtime", o.Runtime), attribute.String("gen_ai.system", system(o.Provider)), attribute.String("gen_ai.provider.name", system(o.Provider)),
		attribute.String("gen_ai.operation.name", "chat"), attribute.String("gen_ai.agent.name", o.Agent), attribute.String("kneo.run.id", o.RunID),
		attribute.Int("kneo_agent.run.message_count", o.Messages)))
	if o.Temperature != nil {
		span.SetAttributes(attribute.Float64("gen_ai.request.temperature", *o.Temperature))
	}
	return ctx, func(d Done) {
		span.SetAttributes(attribute.Int("kneo_agent.run.iterations", d.Iterations), attribute.Int("kneo_agent.run.tool_calls", d.ToolCalls),
			attribute.Float64("kneo_agent.run.duration_ms", float64(time.Since(start).Microseconds())/1000))
		finish(span, d)
	}
}

// Model implements Observer.
func (s *Spans) Model(ctx context.Context, o Observation) (context.Context, func(Done)) {
	ctx, span := s.tracer.Start(ctx, "chat iter="+strconv.Itoa(o.Iteration), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("kneo_agent.runtime", o.Provider), attribute.String("kneo_agent.executor.name", o.Provider), attribute.String("gen_ai.system", system(o.Provider)),
		attribute.String("gen_ai.provider.name", system(o.Provider)), attribute.String("gen_ai.operation.name", "chat"), attribute.String("gen_ai.request.model", redact.Text(o.Model)),
		attribute.Int("kneo_agent.model_call.iteration", o.Iteration), attribute.Int("kneo_agent.model_call.message_count", o.Messages)))
	if o.Temperature != nil {
		span.SetAttributes(attribute.Float64("gen_ai.request.temperature", *o.Temperature))
	}
	return ctx, func(d Done) {
		span.SetAttributes(attribute.Int("kneo_agent.model_call.tool_calls", d.ToolCalls), attribute.Int("kneo_agent.model_call.text_length", d.TextLength))
		for key, value := range map[string]string{"gen_ai.response.model": d.Model, "gen_ai.response.id": d.RequestID} {
			if value != "" {
				span.SetAttributes(attribute.String(key, value))
			}
		}
		if d.FinishReason != "" {
			span.SetAttributes(attribute.StringSlice("gen_ai.response.finish_reasons", []string{d.FinishReason}))
		}
		if d.Detail != nil {
			span.SetAttributes(attribute.Int64("gen_ai.usage.cached_tokens", d.Detail.CachedTokens), attribute.Int64("gen_ai.usage.reasoning_tokens", d.Detail.ReasoningTokens))
		}
		finish(span, d)
	}
}

// Tool implements Observer.
func (s *Spans) Tool(ctx context.Context, o Observation) (context.Context, func(Done)) {
	ctx, span := s.tracer.Start(ctx, "execute_tool "+o.Tool, trace.WithAttributes(
		attribute.String("gen_ai.operation.name", "execute_tool"), attribute.String("gen_ai.tool.name", o.Tool), attribute.String("gen_ai.tool.call.id", o.CallID),
		attribute.String("kneo_agent.executor.name", o.Provider), attribute.Int("kneo_agent.model_call.iteration", o.Iteration)))
	if s.options.RecordArguments {
		span.SetAttributes(attribute.String("gen_ai.tool.call.arguments", recorded(string(redact.JSON(o.Arguments)))))
	}
	return ctx, func(d Done) {
		if s.options.RecordResults {
			span.SetAttributes(attribute.String("gen_ai.tool.call.result", recorded(redact.Text(d.Result))))
		}
		if d.Failed {
			span.SetAttributes(attribute.String("error.type", "tool_error"))
		}
		finish(span, d)
	}
}

func recorded(text string) string { return tool.Truncate(text, maxRecorded) }

func finish(span trace.Span, d Done) {
	if d.Usage != nil {
		span.SetAttributes(attribute.Int64("gen_ai.usage.input_tokens", d.Usage.InputTokens), attribute.Int64("gen_ai.usage.output_tokens", d.Usage.OutputTokens))
	}
	if d.Err != nil {
		text := redact.Text(d.Err.Error())
		span.RecordError(errors.New(text))
		span.SetStatus(codes.Error, text)
		if e := llm.AsError(d.Err); e != nil {
			span.SetAttributes(attribute.String("error.type", string(e.Class)))
		}
	}
	span.End()
}

// Observers watches with several observers; the first one is outermost.
type Observers []Observer

// Agent implements Observer.
func (l Observers) Agent(ctx context.Context, o Observation) (context.Context, func(Done)) {
	return l.each(ctx, func(ctx context.Context, w Observer) (context.Context, func(Done)) { return w.Agent(ctx, o) })
}

// Model implements Observer.
func (l Observers) Model(ctx context.Context, o Observation) (context.Context, func(Done)) {
	return l.each(ctx, func(ctx context.Context, w Observer) (context.Context, func(Done)) { return w.Model(ctx, o) })
}

// Tool implements Observer.
func (l Observers) Tool(ctx context.Context, o Observation) (context.Context, func(Done)) {
	return l.each(ctx, func(ctx context.Context, w Observer) (context.Context, func(Done)) { return w.Tool(ctx, o) })
}

func (l Observers) each(ctx context.Context, start func(context.Context, Observer) (context.Context, func(Done))) (context.Context, func(Done)) {
	ends := make([]func(Done), len(l))
	for i, w := range l {
		ctx, ends[i] = start(ctx, w)
	}
	return ctx, func(d Done) {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i](d)
		}
	}
}

// Counts is an Observer that counts finished calls by kind ("model" or "tool"), name and outcome ("ok", "failed" or a provider's error class). Models
// are named by their provider and all tools alike, because specs can invent names without end.
type Counts func(kind, name, outcome string)

// Agent implements Observer.
func (Counts) Agent(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(Done) {}
}

// Model implements Observer.
func (c Counts) Model(ctx context.Context, o Observation) (context.Context, func(Done)) {
	return ctx, func(d Done) { c("model", o.Provider, outcome(d)) }
}

// Tool implements Observer.
func (c Counts) Tool(ctx context.Context, _ Observation) (context.Context, func(Done)) {
	return ctx, func(d Done) { c("tool", "tool", outcome(d)) }
}

func outcome(d Done) string {
	if e := llm.AsError(d.Err); e != nil {
		return string(e.Class)
	}
	if d.Err != nil || d.Failed {
		return "failed"
	}
	return "ok"
}

package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/guardrail"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/pytext"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/tool"
)

// Models opens the provider of an agent.
type Models interface {
	Bind(ctx context.Context, b llm.Binding) (llm.Provider, error)
}

// Config is what a Loop needs.
type Config struct {
	Models Models
	// Tools runs handlers and MCP tools.
	Tools *tool.Executor
	// Handlers serves guardrail functions, summarizers and retrievers.
	Handlers handler.Caller
	// InlineKey returns model.extra.api_key of the agent with that component name ("" is the root agent) in a snapshot. Nil: no inline keys.
	InlineKey func(ctx context.Context, snapshotDigest, component string) (string, error)
	// Delegate runs an agent that is backed by a workflow when another agent refers to it. Nil refuses such references.
	Delegate func(ctx context.Context, r Request) (Result, error)
	// Builtin are tools that agents may select although the spec does not declare them, by name.
	Builtin map[string]*plan.Tool
	// TokenBudget is the deployment's ceiling per agent run; 0 means none.
	TokenBudget int64
	// MaxParallelTools bounds the tool calls of one turn that run at the same time; 0 means 8.
	MaxParallelTools int
	// Observer watches model and tool calls; nil means that nobody does.
	Observer Observer
	Logger   *slog.Logger
}

// Loop runs agents. It implements Agents and StepGuardrails and is safe for concurrent use.
type Loop struct {
	Config
	checker *guardrail.Checker
	schemas *tool.Schemas
}

var (
	_ Agents         = (*Loop)(nil)
	_ StepGuardrails = (*Loop)(nil)
)

// New returns a Loop.
func New(c Config) (*Loop, error) {
	checker, err := guardrail.New()
	if err != nil {
		return nil, err
	}
	schemas, err := tool.NewSchemas()
	if err != nil {
		return nil, err
	}
	if c.MaxParallelTools <= 0 {
		c.MaxParallelTools = 8
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.Tools == nil {
		c.Tools = &tool.Executor{Handlers: c.Handlers}
	}
	return &Loop{Config: c, checker: checker, schemas: schemas}, nil
}

// maxDepth bounds agents that call agents.
const maxDepth = 8

// session is one call of an agent.
type session struct {
	*Loop
	r        Request
	agent    *plan.Agent
	provider llm.Provider
	thread   []run.Message
	// start is the index of the first turn of this call.
	start      int
	echo       map[string]string
	usage      *run.Usage
	budget     int64
	modelCalls int
	toolCalls  int
	extra      map[string]json.RawMessage
	format     *llm.Format
	onDelta    func(string)
	res        Result
}

// RunAgent implements Agents.
func (l *Loop) RunAgent(ctx context.Context, r Request) (Result, error) {
	if r.Agent.AsAgent != "" {
		if l.Delegate == nil {
			return Result{}, problem.New(problem.SpecInvalid, "Agent '%s' is backed by a workflow and cannot be used here.", r.Agent.Name)
		}
		return l.Delegate(ctx, r)
	}
	s, err := l.open(ctx, r)
	if err != nil {
		return Result{}, err
	}
	ctx, end := l.Observer.Agent(ctx, Observation{
		Agent: r.Agent.Name, Runtime: s.res.RuntimeName, Provider: s.provider.Name(), Model: r.Agent.Model,
		RunID: r.RunID, Messages: len(r.Messages), Temperature: r.Agent.Temperature,
	})
	err = s.execute(ctx)
	end(Done{Err: err, Usage: s.usage, Iterations: int(s.res.Iterations), ToolCalls: s.toolCalls})
	if err != nil {
		return Result{}, err
	}
	return s.res, nil
}

// open checks the configuration and binds the provider.
func (l *Loop) open(ctx context.Context, r Request) (*session, error) {
	a := r.Agent
	if a.MaxIterations < 1 {
		return nil, problem.New(problem.InvalidRequest, "RunConfig.max_iterations must be an int >= 1, got %d", a.MaxIterations)
	}
	if t := a.Temperature; t != nil && (*t < 0 || math.IsNaN(*t) || math.IsInf(*t, 0)) {
		return nil, problem.New(problem.InvalidRequest, "RunConfig.temperature must be a finite number >= 0, got %s", pytext.Float(*t))
	}
	s := &session{Loop: l, r: r, agent: a, budget: l.TokenBudget, echo: map[string]string{}}
	if a.TokenBudget != nil {
		s.budget = *a.TokenBudget
	}
	if len(a.Extra) > 0 {
		if err := json.Unmarshal(a.Extra, &s.extra); err != nil {
			return nil, problem.Wrap(err, problem.SpecInvalid, "model.extra of agent '%s' is not an object.", a.Name)
		}
		for _, own := range []string{"base_url", "api_key", "api_key_ref"} {
			delete(s.extra, own)
		}
		if s.format = llm.ParseFormat(s.extra[llm.ResponseFormat]); s.format != nil {
			delete(s.extra, llm.ResponseFormat)
		}
	}
	if err := s.bind(ctx); err != nil {
		return nil, err
	}
	if len(a.Output) == 0 && (r.Plan == nil || len(r.Plan.StepGuardrails) == 0) {
		s.onDelta = r.OnDelta
	}
	return s, nil
}

func (s *session) bind(ctx context.Context) error {
	rt := s.agent.Runtime
	b := llm.Binding{Provider: rt.Provider, BaseURL: rt.BaseURL, APIKeyRef: rt.APIKeyRef}
	if rt.HasInlineKey && s.InlineKey != nil {
		key, err := s.InlineKey(ctx, s.r.SnapshotDigest, s.agent.Component)
		if err != nil {
			return err
		}
		b.InlineKey = key
	}
	p, err := s.Models.Bind(ctx, b)
	if err != nil {
		return err
	}
	s.provider = p
	s.res.RuntimeMode = rt.Mode
	if s.res.RuntimeMode == "" || p.Name() == llm.Dummy {
		s.res.RuntimeMode = "bridge"
	}
	s.res.RuntimeName = s.strategy() + "@" + s.platform()
	return nil
}

// platform is the provider as metadata names it; native OpenAI agents keep the name that clients know.
func (s *session) platform() string {
	if s.res.RuntimeMode == "native" && s.provider.Name() == "openai" {
		return "openai-agents"
	}
	return s.provider.Name()
}

func (s *session) strategy() string {
	if s.agent.Strategy == "" {
		return "simple"
	}
	return s.agent.Strategy
}

// execute is the pipeline of execution.md §2.7: memory, input guardrails, loop with budget, output guardrails.
func (s *session) execute(ctx context.Context) error {
	s.thread = normalise(s.r.Messages)
	if err := s.remember(ctx); err != nil {
		return err
	}
	if err := s.guardInput(ctx); err != nil {
		return err
	}
	s.res.Status = run.Completed
	s.start = len(s.thread)
	if err := s.loop(ctx); err != nil {
		return err
	}
	if err := s.guardOutput(ctx); err != nil {
		return err
	}
	s.res.Messages = s.thread
	s.res.Usage = s.usage
	return nil
}

// normalise copies a thread into the form it has after a model saw it: known roles, a tool call list on every message.
func normalise(thread []run.Message) []run.Message {
	out := make([]run.Message, len(thread), len(thread)+4)
	for i, m := range thread {
		switch m.Role {
		case llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool:
		default:
			m.Role = llm.RoleUser
		}
		if m.ToolCalls == nil {
			m.ToolCalls = []run.ToolCall{}
		}
		out[i] = m
	}
	return out
}

func (s *session) guardInput(ctx context.Context) error {
	if len(s.agent.Input) == 0 {
		return nil
	}
	var parts []string
	for i := range s.thread {
		if s.thread[i].Role == llm.RoleUser {
			parts = append(parts, s.thread[i].Content)
		}
	}
	r := s.refs("guardrail/input")
	v, err := s.checker.Check(ctx, guardrail.Input, s.agent.Input, strings.Join(parts, "\n"), r)
	s.usage = s.usage.Add(r.usage)
	if err != nil {
		return s.failure(ctx, err)
	}
	s.warn(ctx, guardrail.Input, v)
	return nil
}

func (s *session) guardOutput(ctx context.Context) error {
	if len(s.agent.Output) == 0 {
		return nil
	}
	r := s.refs("guardrail/output")
	v, err := s.checker.Check(ctx, guardrail.Output, s.agent.Output, s.res.Output, r)
	s.usage = s.usage.Add(r.usage)
	if err != nil {
		return s.failure(ctx, err)
	}
	s.warn(ctx, guardrail.Output, v)
	if v.Revised {
		s.replaceOutput(v.Text)
		s.res.Guardrails = notes(v.Notes)
	}
	if s.r.OnDelta != nil && (s.r.Plan == nil || len(s.r.Plan.StepGuardrails) == 0) {
		s.r.OnDelta(s.res.Output)
	}
	return nil
}

// replaceOutput makes text the only text that goes on: every turn of this call that holds the refused one is rewritten.
func (s *session) replaceOutput(text string) {
	old := s.res.Output
	s.res.Output = text
	last := true
	for i := len(s.thread) - 1; i >= s.start; i-- {
		m := &s.thread[i]
		if m.Role == llm.RoleAssistant && (last || old != "" && strings.Contains(m.Content, old)) {
			m.Content = text
			last = false
		}
	}
}

func notes(list []guardrail.Note) []GuardrailNote {
	out := make([]GuardrailNote, len(list))
	for i, n := range list {
		out[i] = GuardrailNote(n)
	}
	return out
}

func (s *session) warn(ctx context.Context, stage guardrail.Stage, v guardrail.Verdict) {
	for _, w := range v.Warnings {
		s.Logger.WarnContext(ctx, "guardrail warning", "guardrail", w.ID, "stage", string(stage), "agent", s.agent.Name, "run_id", s.r.RunID)
	}
}

// CheckStep implements StepGuardrails with the root agent's workflow stage.
func (l *Loop) CheckStep(ctx context.Context, r CheckRequest) (string, []GuardrailNote, error) {
	if len(r.Plan.StepGuardrails) == 0 {
		return r.Text, nil, nil
	}
	refs := &refs{
		loop: l, r: Request{Plan: r.Plan, Agent: r.Plan.Root, RunID: r.RunID, SnapshotDigest: r.SnapshotDigest, StepKey: r.StepKey, Journal: r.Journal},
		prefix: r.StepKey + "/guardrail/workflow",
	}
	v, err := l.checker.Check(ctx, guardrail.Workflow, r.Plan.StepGuardrails, r.Text, refs)
	if err != nil {
		return "", nil, failure(ctx, err)
	}
	for _, w := range v.Warnings {
		l.Logger.WarnContext(ctx, "guardrail warning", "guardrail", w.ID, "stage", string(guardrail.Workflow), "step", r.StepKey, "run_id", r.RunID)
	}
	return v.Text, notes(v.Notes), nil
}

// timeout is the agent's own limit per model call, or 0.
func (s *session) timeout() time.Duration {
	if t := s.agent.TimeoutSeconds; t != nil && *t > 0 {
		return time.Duration(*t * float64(time.Second))
	}
	return 0
}

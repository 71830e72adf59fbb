package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
)

// maxCallsPerTurn bounds the tool calls of one model turn; a model that asks for more gets the first ones only.
const maxCallsPerTurn = 128

// planningSuffix joins the system prompt of the planning call.
const planningSuffix = "Before acting, write a plan: a numbered list of the steps that lead to the answer. Only list the steps, carry none of them out."

// loop runs the strategy and fills the result, the output included.
func (s *session) loop(ctx context.Context) error {
	switch s.strategy() {
	case "simple":
		return s.simple(ctx)
	case "react":
		return s.react(ctx)
	case "plan-act":
		if err := s.plan(ctx); err != nil {
			return err
		}
		return s.react(ctx)
	}
	return problem.New(problem.SpecInvalid, "Unknown strategy: %s", s.agent.Strategy)
}

// simple makes one completion. The dummy sees the tools, as its answer depends on them; what it asks for is dropped.
func (s *session) simple(ctx context.Context) error {
	req := s.request(s.agent.SystemPrompt)
	if s.provider.Name() == llm.Dummy {
		req.Tools = s.definitions()
	}
	resp, err := s.complete(ctx, req)
	if err != nil {
		return err
	}
	s.res.Iterations = 1
	s.say(resp.Text, nil)
	return nil
}

func (s *session) plan(ctx context.Context) error {
	prompt := planningSuffix
	if s.agent.SystemPrompt != "" {
		prompt = s.agent.SystemPrompt + "\n\n" + planningSuffix
	}
	req := s.request(prompt)
	req.Format, req.Accept = nil, nil
	resp, err := s.complete(ctx, req)
	if err != nil {
		return err
	}
	s.res.Plan = &resp.Text
	s.res.Iterations = 1
	s.say("Plan:\n"+resp.Text, nil)
	return nil
}

func (s *session) react(ctx context.Context) error {
	tools := s.definitions()
	for turn := int64(1); ; turn++ {
		req := s.request(s.agent.SystemPrompt)
		req.Tools = tools
		if len(tools) > 0 {
			req.ParallelToolCalls = s.agent.ParallelToolCalls
		}
		resp, err := s.complete(ctx, req)
		if err != nil {
			return err
		}
		s.res.Iterations++
		calls, malformed := sanitise(resp.ToolCalls, turn)
		s.say(resp.Text, calls)
		for id, e := range resp.Echo {
			s.echo[id] = e
		}
		if len(calls) == 0 {
			return nil
		}
		if err := s.callTools(ctx, turn, calls, malformed); err != nil {
			return err
		}
		if turn >= s.agent.MaxIterations {
			if s.agent.FailOnMaxIterations {
				return &run.StepError{Type: run.FailMaxIterations, Message: "Agent '" + s.agent.Name + "' stopped after reaching max iterations.", Permanent: true}
			}
			s.res.Status = run.MaxIterations
			return nil
		}
	}
}

// sanitise bounds the calls, gives every one an id of its own, and reports those whose arguments are not an object.
func sanitise(calls []run.ToolCall, turn int64) ([]run.ToolCall, map[int]bool) {
	if len(calls) > maxCallsPerTurn {
		calls = calls[:maxCallsPerTurn]
	}
	out := make([]run.ToolCall, len(calls))
	seen := make(map[string]bool, len(calls))
	malformed := map[int]bool{}
	for i, c := range calls {
		if c.ID == "" || seen[c.ID] {
			c.ID = fmt.Sprintf("call_%d_%d", turn, i)
		}
		seen[c.ID] = true
		if len(c.Arguments) == 0 {
			c.Arguments = json.RawMessage("{}")
		}
		if c.Arguments[0] != '{' || !json.Valid(c.Arguments) {
			malformed[i] = true
			c.Arguments = json.RawMessage("{}")
		}
		out[i] = c
	}
	return out, malformed
}

// say appends the assistant's turn and makes its text the output.
func (s *session) say(text string, calls []run.ToolCall) {
	if calls == nil {
		calls = []run.ToolCall{}
	}
	s.thread = append(s.thread, run.Message{Role: llm.RoleAssistant, Content: text, ToolCalls: calls})
	s.res.Output = text
}

func (s *session) request(system string) *llm.Request {
	req := &llm.Request{
		Model: s.agent.Model, System: system, Messages: s.thread, Temperature: s.agent.Temperature, MaxTokens: s.agent.MaxTokens,
		Extra: s.extra, Format: s.format, Echo: s.echo, Timeout: s.timeout(), OnDelta: s.onDelta,
	}
	if s.format != nil && s.format.Strict {
		req.Accept = func(text string) error { return s.schemas.CheckAnswer(s.format.Schema, text) }
	}
	return req
}

// complete makes one model call within the budget; a call that the journal knows is not made again.
func (s *session) complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.beforeCall(); err != nil {
		return nil, err
	}
	n := s.modelCalls
	s.modelCalls++
	var resp *llm.Response
	var err error
	if s.provider.Name() == llm.Dummy {
		resp, err = s.observed(ctx, req)
	} else {
		resp, err = s.journaled(ctx, req, s.r.StepKey+"/model/"+strconv.Itoa(n))
	}
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	s.usage = s.usage.Add(resp.Usage.Run())
	return resp, s.afterCall()
}

func (s *session) journaled(ctx context.Context, req *llm.Request, key string) (*llm.Response, error) {
	name := s.provider.Name()
	if req.Model != "" {
		name += "/" + req.Model
	}
	var resp *llm.Response
	out, err := s.do(ctx, Call{Key: key, Kind: "model", Name: name, Idempotent: true}, func(ctx context.Context, _ string) (Outcome, error) {
		var err error
		if resp, err = s.observed(ctx, req); err != nil {
			return Outcome{}, err
		}
		data, err := json.Marshal(resp)
		return Outcome{Data: data, Usage: resp.Usage.Run()}, err
	})
	if err != nil || resp != nil {
		return resp, err
	}
	resp = &llm.Response{}
	if err := json.Unmarshal(out.Data, resp); err != nil {
		return nil, fmt.Errorf("journal entry %s: %w", key, err)
	}
	return resp, nil
}

func (s *session) observed(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	ctx, end := s.Observer.Model(ctx, Observation{
		Agent: s.agent.Name, Runtime: s.res.RuntimeName, Provider: s.provider.Name(), Model: req.Model, RunID: s.r.RunID,
		Messages: len(req.Messages), Iteration: int(s.res.Iterations) + 1, Temperature: req.Temperature,
	})
	resp, err := s.provider.Complete(ctx, req)
	if err != nil {
		end(Done{Err: err})
		return nil, err
	}
	end(Done{
		Usage: resp.Usage.Run(), Model: resp.Model, RequestID: resp.RequestID, FinishReason: resp.FinishReason, ToolCalls: len(resp.ToolCalls),
		TextLength: len(resp.Text), Detail: resp.Usage,
	})
	return resp, nil
}

// do goes through the journal when there is one.
func (s *session) do(ctx context.Context, c Call, fn func(context.Context, string) (Outcome, error)) (Outcome, error) {
	return do(ctx, s.r, c, fn)
}

func do(ctx context.Context, r Request, c Call, fn func(context.Context, string) (Outcome, error)) (Outcome, error) {
	if r.Journal == nil {
		return fn(ctx, r.RunID+"/"+c.Key)
	}
	return r.Journal.Do(ctx, c, fn)
}

func (s *session) spent() int64 {
	if s.usage == nil {
		return 0
	}
	return s.usage.InputTokens + s.usage.OutputTokens
}

// beforeCall refuses a call when the budget is used up, so that nothing more is paid (decision X9).
func (s *session) beforeCall() error {
	if s.budget > 0 && s.spent() >= s.budget {
		return problem.New(problem.TokenBudgetExceeded, "TokenBudgetMiddleware: per_run usage %d reached limit %d before the next model call", s.spent(), s.budget)
	}
	return nil
}

func (s *session) afterCall() error {
	if s.budget > 0 && s.spent() > s.budget {
		return problem.New(problem.TokenBudgetExceeded, "TokenBudgetMiddleware: per_run usage %d exceeded limit %d", s.spent(), s.budget)
	}
	return nil
}

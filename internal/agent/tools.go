package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/kneo-go/kneo/internal/guardrail"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/pytext"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/tool"
)

// lookup returns the tool that the agent sees under a name, or nil.
func (s *session) lookup(name string) *plan.Tool {
	if !slices.Contains(s.agent.Tools, name) {
		return nil
	}
	if s.r.Plan != nil {
		if t := s.r.Plan.Tools[name]; t != nil {
			return t
		}
	}
	return s.Builtin[name]
}

// parameters are the tool's schema; an agent as a tool has a fixed one.
func (s *session) parameters(t *plan.Tool) json.RawMessage {
	if t.Agent == "" {
		return t.Parameters
	}
	name := t.Agent
	if a := s.r.Plan.Agents[t.Agent]; a != nil {
		name = a.Name
	}
	p := []byte(`{"type":"object","properties":{"input":{"type":"string","description":`)
	p = run.AppendString(p, "Input passed to the "+name+" agent.")
	return append(p, `}},"required":["input"]}`...)
}

// definitions describes the visible tools and the skills' tools to the model.
func (s *session) definitions() []llm.ToolDefinition {
	var out []llm.ToolDefinition
	seen := map[string]bool{}
	for _, name := range s.agent.Tools {
		if t := s.lookup(name); t != nil && !seen[name] {
			seen[name] = true
			out = append(out, llm.ToolDefinition{Name: name, Description: t.Description, Parameters: s.parameters(t)})
		}
	}
	for _, t := range s.agent.SkillTools {
		if !seen[t.Name] {
			seen[t.Name] = true
			out = append(out, llm.ToolDefinition{Name: t.Name, Description: t.Description, Parameters: t.Parameters})
		}
	}
	return out
}

// callTools runs the calls of one turn, several at a time unless the agent forbids it, and appends the results in the order of the calls.
func (s *session) callTools(ctx context.Context, turn int64, calls []run.ToolCall, malformed map[int]bool) error {
	results := make([]tool.Outcome, len(calls))
	errs := make([]error, len(calls))
	usages := make([]*run.Usage, len(calls))
	s.toolCalls += len(calls)
	one := func(i int) {
		if malformed[i] {
			results[i] = tool.Failure("The arguments were not a JSON object.")
			return
		}
		c := &toolCall{session: s, key: fmt.Sprintf("%s/tool/%d/%d", s.r.StepKey, turn, i), call: calls[i]}
		results[i], errs[i] = c.run(ctx)
		usages[i] = c.usage
	}
	if len(calls) == 1 {
		one(0)
	} else {
		var g errgroup.Group
		g.SetLimit(s.parallel())
		for i := range calls {
			g.Go(func() error { one(i); return nil })
		}
		_ = g.Wait() // failures are in errs, so that the first one in call order wins
	}
	for i := range calls {
		s.usage = s.usage.Add(usages[i])
		if errs[i] != nil {
			return s.failure(ctx, errs[i])
		}
	}
	for i, c := range calls {
		s.thread = append(s.thread, toolMessage(c, results[i].Text))
	}
	return s.stopOnError(calls, results)
}

func (s *session) parallel() int {
	if p := s.agent.ParallelToolCalls; p != nil && !*p {
		return 1
	}
	return s.MaxParallelTools
}

func (s *session) stopOnError(calls []run.ToolCall, results []tool.Outcome) error {
	if !s.agent.StopOnToolError {
		return s.afterCall()
	}
	for i, r := range results {
		if r.Failed {
			return &run.StepError{Type: run.FailTool, Message: "Tool '" + calls[i].Name + "' failed: " + errorText(r.Text)}
		}
	}
	return s.afterCall()
}

func errorText(text string) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(text), &e) == nil && e.Error != "" {
		return e.Error
	}
	return text
}

func toolMessage(c run.ToolCall, content string) run.Message {
	name, id := c.Name, c.ID
	return run.Message{Role: llm.RoleTool, Content: content, Name: &name, ToolCallID: &id, ToolCalls: []run.ToolCall{}}
}

// toolCall is one call of a turn.
type toolCall struct {
	*session
	key  string
	call run.ToolCall
	// usage is what sub-agents spent.
	usage *run.Usage
}

// run passes the gate, executes the tool through the journal, and checks the result.
func (c *toolCall) run(ctx context.Context) (tool.Outcome, error) {
	ctx, end := c.Observer.Tool(ctx, Observation{
		Agent: c.agent.Name, Runtime: c.res.RuntimeName, Provider: c.provider.Name(), RunID: c.r.RunID,
		Iteration: int(c.res.Iterations), Tool: c.call.Name, CallID: c.call.ID, Arguments: c.call.Arguments,
	})
	out, err := c.guarded(ctx)
	end(Done{Err: err, Result: out.Text, Failed: out.Failed})
	return out, err
}

func (c *toolCall) guarded(ctx context.Context) (tool.Outcome, error) {
	out, err := c.gated(ctx)
	if err != nil || len(c.agent.ToolResult) == 0 {
		return out, err
	}
	r := c.refs("")
	r.prefix = c.key + "/guardrail"
	v, err := c.checker.Check(ctx, guardrail.Tool, c.agent.ToolResult, out.Text, r)
	c.usage = c.usage.Add(r.usage)
	if err != nil {
		return tool.Outcome{}, err
	}
	c.warn(ctx, guardrail.Tool, v)
	out.Text = v.Text
	return out, nil
}

func (c *toolCall) gated(ctx context.Context) (tool.Outcome, error) {
	name := c.call.Name
	t := c.lookup(name)
	gate := tool.Gate{Include: c.agent.Include, Exclude: c.agent.Exclude, Permissions: c.agent.Permissions}
	if t == nil {
		gate.Include = nil // a name that the agent does not see reaches nothing; only an explicit denial ends the run
	}
	if err := gate.Check(name, c.call.Arguments); err != nil {
		return tool.Outcome{}, err
	}
	if t == nil {
		return c.invisible(name), nil
	}
	if err := c.schemas.Check(name, c.parameters(t), c.call.Arguments); err != nil {
		return tool.Outcome{}, err
	}
	if t.Agent != "" {
		return c.delegate(ctx, t)
	}
	return c.execute(ctx, t)
}

// invisible answers a call of a tool that the agent does not have: the dummy gets its echo, a model is told.
func (c *toolCall) invisible(name string) tool.Outcome {
	if c.provider.Name() == llm.Dummy {
		return tool.Outcome{Text: name + ": " + pytext.JSON(c.call.Arguments)}
	}
	return tool.Failure(tool.NoHandler(name))
}

func (c *toolCall) execute(ctx context.Context, t *plan.Tool) (tool.Outcome, error) {
	call := Call{Key: c.key, Kind: "tool", Name: c.call.Name, SideEffect: true, Idempotent: c.idempotent(ctx, t), Arguments: c.call.Arguments}
	recorded, err := c.do(ctx, call, func(ctx context.Context, key string) (Outcome, error) {
		out, err := c.Tools.Execute(ctx, c.r.Plan, t, c.call.Arguments, tool.Meta{RunID: c.r.RunID, IdempotencyKey: key, Once: !call.Idempotent})
		if err != nil {
			return Outcome{}, err
		}
		data, err := json.Marshal(out)
		return Outcome{Data: data}, err
	})
	if err != nil {
		return tool.Outcome{}, err
	}
	return decodeOutcome(recorded.Data), nil
}

// decodeOutcome reads a recorded result; a person who says what an interrupted call returned may have left plain text.
func decodeOutcome(data json.RawMessage) tool.Outcome {
	var out struct {
		Text   *string `json:"text"`
		Failed bool    `json:"failed"`
	}
	if json.Unmarshal(data, &out) == nil && out.Text != nil {
		return tool.Outcome{Text: *out.Text, Failed: out.Failed}
	}
	return tool.Outcome{Text: tool.Text(data)}
}

// idempotent asks the server's annotations only for tools that the spec does not already protect.
func (c *toolCall) idempotent(ctx context.Context, t *plan.Tool) bool {
	if !t.Idempotent || t.Server == "" || c.Tools.Remote == nil || c.r.Plan.Servers[t.Server] == nil {
		return t.Idempotent
	}
	name := t.RemoteName
	if name == "" {
		name = t.Name
	}
	return c.Tools.Remote.Idempotent(ctx, c.r.Plan.Servers[t.Server], name)
}

// delegate runs an agent as a tool: its own thread, its own guardrails, its final text as the result.
func (c *toolCall) delegate(ctx context.Context, t *plan.Tool) (tool.Outcome, error) {
	a := c.r.Plan.Agents[t.Agent]
	if a == nil {
		return tool.Outcome{}, problem.New(problem.SpecInvalid, "Tool '%s' refers to the unknown agent '%s'.", t.Name, t.Agent)
	}
	res, err := c.sub(ctx, a, c.key, agentInput(c.call.Arguments))
	c.usage = c.usage.Add(res.Usage)
	if err == nil {
		return tool.Outcome{Text: tool.Truncate(res.Output, tool.DefaultMaxResult)}, nil
	}
	if step, ok := stepFailure(err); ok && ctx.Err() == nil {
		return tool.Failure(step.Message), nil
	}
	return tool.Outcome{}, err
}

// agentInput is the argument input, else the only argument, else all of them as JSON.
func agentInput(arguments json.RawMessage) string {
	var args map[string]json.RawMessage
	if json.Unmarshal(arguments, &args) != nil {
		return string(arguments)
	}
	if v, ok := args["input"]; ok {
		return tool.Text(v)
	}
	if len(args) == 1 {
		for _, v := range args {
			return tool.Text(v)
		}
	}
	return pytext.Dump(arguments)
}

// sub runs another agent of the plan on one text under the keys of the call that needs it.
func (s *session) sub(ctx context.Context, a *plan.Agent, key, input string) (Result, error) {
	return sub(ctx, s.Loop, s.r, a, key, input)
}

func sub(ctx context.Context, l *Loop, r Request, a *plan.Agent, key, input string) (Result, error) {
	if r.depth+1 > maxDepth {
		return Result{}, &run.StepError{Type: run.FailTool, Message: "Agents refer to each other more than " + strconv.Itoa(maxDepth) + " levels deep.", Permanent: true}
	}
	return l.RunAgent(ctx, Request{
		Plan: r.Plan, Agent: a, RunID: r.RunID, SnapshotDigest: r.SnapshotDigest, StepKey: key, Journal: r.Journal,
		Messages: []run.Message{{Role: llm.RoleUser, Content: input}}, depth: r.depth + 1,
	})
}

package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/dummy"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/secret"
)

// handlers serves the functions of the tests.
type handlers map[string]func(input json.RawMessage) (any, error)

func (h handlers) Call(_ context.Context, kind handler.Kind, name string, input json.RawMessage, _ handler.Meta) (json.RawMessage, error) {
	fn := h[name]
	if fn == nil {
		return nil, handler.NewError(handler.CodeUnavailable, "No %s handler named %q is registered.", kind, name)
	}
	out, err := fn(input)
	if err != nil {
		return nil, handler.NewError(handler.CodeFailed, "%s", err.Error())
	}
	return json.Marshal(out)
}

// script is a provider that answers from a list and records what it was asked.
type script struct {
	mu    sync.Mutex
	turns []*llm.Response
	asked []llm.Request
}

func (s *script) Name() string { return "scripted" }

func (s *script) Complete(_ context.Context, r *llm.Request) (*llm.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, *r)
	if len(s.turns) == 0 {
		return nil, &llm.Error{Class: llm.ClassServer, Provider: "scripted", Status: 500, Message: "boom"}
	}
	t := s.turns[0]
	s.turns = s.turns[1:]
	if r.OnDelta != nil {
		r.OnDelta(t.Text)
	}
	return t, nil
}

func newLoop(t testing.TB, p llm.Provider, h handlers, change func(*agent.Config)) *agent.Loop {
	t.Helper()
	definitions := map[string]llm.Definition{llm.Dummy: {Open: dummy.Open, KeyFree: true}}
	if p != nil {
		definitions["scripted"] = llm.Definition{Open: func(llm.Endpoint) (llm.Provider, error) { return p, nil }, KeyFree: true}
	}
	c := agent.Config{Models: llm.NewRegistry(llm.RegistryOptions{Definitions: definitions, Secrets: secret.Map{}}), Handlers: h}
	if change != nil {
		change(&c)
	}
	l, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func agentPlan(a plan.Agent) (*plan.Plan, *plan.Agent) {
	if a.MaxIterations == 0 {
		a.MaxIterations = 10
	}
	a.Name = "root"
	return &plan.Plan{Root: &a, Agents: map[string]*plan.Agent{}, Tools: map[string]*plan.Tool{}, Functions: map[string]*plan.Function{}}, &a
}

func user(text string) []run.Message { return []run.Message{{Role: "user", Content: text}} }

func lookupTool(name string) *plan.Tool {
	return &plan.Tool{
		Name: name, Implementation: "demo.lookup", Idempotent: true,
		Parameters: json.RawMessage(`{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}`),
	}
}

var demo = handlers{
	"demo.lookup": func(in json.RawMessage) (any, error) {
		var a struct{ Query string }
		if err := json.Unmarshal(in, &a); err != nil {
			return nil, err
		}
		if strings.Contains(a.Query, "fail") {
			return nil, errors.New("lookup failed: é")
		}
		return "hit for " + a.Query, nil
	},
	"demo.long": func(in json.RawMessage) (any, error) { return len(in) < 20, nil },
	"demo.tidy": func(in json.RawMessage) (any, error) {
		return map[string]any{"passed": false, "reason": "untidy", "revised_text": "(revised)"}, nil
	},
	"demo.summary": func(in json.RawMessage) (any, error) { return "S" + string(in), nil },
	"demo.notes":   func(in json.RawMessage) (any, error) { return "N" + string(in), nil },
}

func TestDummyStrategies(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		agent      plan.Agent
		input      string
		output     string
		status     run.Status
		iterations int64
		plan       string
		roles      string
	}{
		"simple":              {plan.Agent{Strategy: "simple"}, "hello", "Final answer: hello", run.Completed, 1, "", "user assistant"},
		"react":               {plan.Agent{Strategy: "react"}, "hello", "Final answer: hello", run.Completed, 1, "", "user assistant"},
		"plan-act":            {plan.Agent{Strategy: "plan-act"}, "hi", "Final answer: hi", run.Completed, 2, "Final answer: hi", "user assistant assistant"},
		"react with tool":     {plan.Agent{Strategy: "react", Tools: []string{"web_search"}, Include: []string{"web_search"}}, "please search x", "Final answer based on tool results: hit for please search x", run.Completed, 2, "", "user assistant tool assistant"},
		"tool error":          {plan.Agent{Strategy: "react", Tools: []string{"web_search"}}, "search fail", `Final answer based on tool results: {"error": "lookup failed: \u00e9"}`, run.Completed, 2, "", "user assistant tool assistant"},
		"one iteration":       {plan.Agent{Strategy: "react", Tools: []string{"web_search"}, MaxIterations: 1}, "search", "I need to search.", run.MaxIterations, 1, "", "user assistant tool"},
		"simple drops calls":  {plan.Agent{Strategy: "simple", Tools: []string{"web_search"}}, "search", "I need to search.", run.Completed, 1, "", "user assistant"},
		"no tools, no search": {plan.Agent{Strategy: "react"}, "search", "Final answer: search", run.Completed, 1, "", "user assistant"},
		"echo":                {plan.Agent{Strategy: "react", Tools: []string{"other"}, Include: []string{"other"}}, "search it's", `Final answer based on tool results: web_search: {'query': "search it's"}`, run.Completed, 2, "", "user assistant tool assistant"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := agentPlan(tt.agent)
			p.Tools["web_search"], p.Tools["other"] = lookupTool("web_search"), lookupTool("other")
			res, err := newLoop(t, nil, demo, nil).RunAgent(context.Background(), agent.Request{Plan: p, Agent: a, Messages: user(tt.input), StepKey: "s#1"})
			if err != nil {
				t.Fatal(err)
			}
			if res.Output != tt.output || res.Status != tt.status || res.Iterations != tt.iterations {
				t.Errorf("got %q %s %d", res.Output, res.Status, res.Iterations)
			}
			if got := roles(res.Messages); got != tt.roles {
				t.Errorf("roles %q", got)
			}
			if (res.Plan != nil) != (tt.plan != "") || res.Plan != nil && *res.Plan != tt.plan {
				t.Errorf("plan %v", res.Plan)
			}
			if res.RuntimeName != tt.agent.Strategy+"@dummy" || res.RuntimeMode != "bridge" || res.Usage != nil {
				t.Errorf("runtime %s %s %v", res.RuntimeMode, res.RuntimeName, res.Usage)
			}
		})
	}
}

func roles(thread []run.Message) string {
	var out []string
	for _, m := range thread {
		out = append(out, m.Role)
	}
	return strings.Join(out, " ")
}

func TestThreadOfAToolCall(t *testing.T) {
	t.Parallel()
	p, a := agentPlan(plan.Agent{Strategy: "react", Tools: []string{"web_search"}})
	p.Tools["web_search"] = lookupTool("web_search")
	res, err := newLoop(t, nil, demo, nil).RunAgent(context.Background(), agent.Request{Plan: p, Agent: a, Messages: user("search <x>")})
	if err != nil {
		t.Fatal(err)
	}
	got := string(run.AppendMessages(nil, res.Messages))
	want := `[{"role":"user","content":"search <x>","name":null,"tool_call_id":null,"metadata":{"tool_calls":[]}},` +
		`{"role":"assistant","content":"I need to search.","name":null,"tool_call_id":null,"metadata":{"tool_calls":[{"id":"web_search_1","name":"web_search","arguments":{"query":"search <x>"},"metadata":{}}]}},` +
		`{"role":"tool","content":"hit for search <x>","name":"web_search","tool_call_id":"web_search_1","metadata":{"tool_calls":[]}},` +
		`{"role":"assistant","content":"Final answer based on tool results: hit for search <x>","name":null,"tool_call_id":null,"metadata":{"tool_calls":[]}}]`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	base := plan.Agent{Strategy: "react", Tools: []string{"web_search"}, Include: []string{"web_search"}}
	with := func(change func(*plan.Agent)) plan.Agent {
		a := base
		change(&a)
		return a
	}
	keyword := func(word, action string) []plan.Guardrail {
		return []plan.Guardrail{{ID: "g1", Type: "keyword", Action: action, Keywords: []string{word}}}
	}
	tests := map[string]struct {
		agent     plan.Agent
		input     string
		code      problem.Code
		violation string
		message   string
	}{
		"input":          {with(func(a *plan.Agent) { a.Input = keyword("HELLO", "block") }), "say hello", problem.GuardrailViolation, "GuardrailViolation", "Guardrail 'g1' failed: Blocked keywords found: ['HELLO']"},
		"output":         {with(func(a *plan.Agent) { a.Output = keyword("final", "retry") }), "hello", problem.GuardrailViolation, "GuardrailViolation", "Guardrail 'g1' failed: Blocked keywords found: ['final']"},
		"tool result":    {with(func(a *plan.Agent) { a.ToolResult = keyword("hit", "escalate") }), "search", problem.GuardrailViolation, "ToolResultGuardrailViolation", "Tool result guardrail 'g1' failed: Blocked keywords found: ['hit']"},
		"revise at tool": {with(func(a *plan.Agent) { a.ToolResult = keyword("hit", "revise") }), "search", problem.GuardrailViolation, "ToolResultGuardrailViolation", "Tool result guardrail 'g1' failed: Blocked keywords found: ['hit']"},
		"denied name":    {with(func(a *plan.Agent) { a.Exclude = []string{"web_search"}; a.Tools = []string{"other"} }), "search", problem.GuardrailViolation, "ToolMiddlewareViolation", "Tool 'web_search' is explicitly denied."},
		"denied domain":  {with(func(a *plan.Agent) { a.Permissions = &plan.Permissions{DeniedDomains: []string{"example.org"}} }), "https://a.example.org/search", problem.GuardrailViolation, "ToolMiddlewareViolation", "Tool 'web_search' call targets denied domain 'a.example.org'."},
		"max iterations": {plan.Agent{Strategy: "simple", MaxIterations: -1}, "x", problem.InvalidRequest, "", "RunConfig.max_iterations must be an int >= 1, got -1"},
		"temperature":    {plan.Agent{Strategy: "simple", Temperature: new(-1.0)}, "x", problem.InvalidRequest, "", "RunConfig.temperature must be a finite number >= 0, got -1.0"},
		"function": {with(func(a *plan.Agent) {
			a.Input = []plan.Guardrail{{ID: "f", Type: "function", Ref: &plan.Ref{Bucket: "functions", Name: "long"}}}
		}), "a text that is too long", problem.GuardrailViolation, "GuardrailViolation", "Guardrail 'f' failed: None"},
		"reviewer": {with(func(a *plan.Agent) {
			a.Output = []plan.Guardrail{{ID: "r", Type: "agent", Ref: &plan.Ref{Bucket: "agents", Name: "reviewer"}}}
		}), "x", problem.GuardrailViolation, "GuardrailViolation", ""},
		"agent as a tool": {with(func(a *plan.Agent) { a.Tools, a.Include = []string{"helper"}, []string{"helper"} }), "x", "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := agentPlan(tt.agent)
			p.Tools["web_search"], p.Tools["other"] = lookupTool("web_search"), lookupTool("other")
			p.Tools["helper"] = &plan.Tool{Name: "helper", Agent: "reviewer", Idempotent: true}
			p.Functions["long"] = &plan.Function{Name: "long", Implementation: "demo.long"}
			p.Agents["reviewer"] = &plan.Agent{Name: "rv", Strategy: "simple", MaxIterations: 10}
			_, err := newLoop(t, nil, demo, nil).RunAgent(context.Background(), agent.Request{Plan: p, Agent: a, Messages: user(tt.input)})
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := problem.As(err)
			if e == nil || e.Code != tt.code {
				t.Fatalf("got %v", err)
			}
			if tt.message != "" && e.Message != tt.message {
				t.Errorf("message %q", e.Message)
			}
			if tt.violation != "" && (len(e.Fields) != 1 || e.Fields[0].Key != "violation_type" || e.Fields[0].Value != tt.violation) {
				t.Errorf("fields %v", e.Fields)
			}
		})
	}
}

// TestMaxIterationsAsFailure: a skill can ask that reaching the limit fails the call.
func TestMaxIterationsAsFailure(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		p, a := toolPlan(scripted(plan.Agent{Strategy: "react", MaxIterations: 1, FailOnMaxIterations: fails, Tools: []string{"lookup"}}))
		res, err := newLoop(t, &script{turns: []*llm.Response{calls("lookup")}}, demo, nil).
			RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
		var step *run.StepError
		if fails != errors.As(err, &step) || fails && step.Type != run.FailMaxIterations || !fails && res.Status != run.MaxIterations {
			t.Errorf("%v: %+v %v", fails, res, err)
		}
	}
}

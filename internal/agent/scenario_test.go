package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/catalog"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/secret"
)

// memoryJournal records outcomes like a runner's journal does.
type memoryJournal struct {
	mu    sync.Mutex
	done  map[string]agent.Outcome
	calls []agent.Call
	fresh []string
}

func (j *memoryJournal) Do(ctx context.Context, c agent.Call, fn func(context.Context, string) (agent.Outcome, error)) (agent.Outcome, error) {
	j.mu.Lock()
	j.calls = append(j.calls, c)
	out, ok := j.done[c.Key]
	j.mu.Unlock()
	if ok {
		return out, nil
	}
	out, err := fn(ctx, "key:"+c.Key)
	if err != nil {
		return out, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done[c.Key] = out
	j.fresh = append(j.fresh, c.Key)
	return out, nil
}

func scripted(a plan.Agent) plan.Agent {
	a.Runtime = plan.Runtime{Mode: "bridge", Provider: "scripted"}
	return a
}

func calls(names ...string) *llm.Response {
	r := &llm.Response{Text: "calling", Usage: &llm.Usage{InputTokens: 2, OutputTokens: 1, TotalTokens: 3}}
	for i, n := range names {
		r.ToolCalls = append(r.ToolCalls, run.ToolCall{ID: fmt.Sprintf("c%d", i), Name: n, Arguments: json.RawMessage(`{"query":"x"}`)})
	}
	return r
}

func says(text string) *llm.Response {
	return &llm.Response{Text: text, Usage: &llm.Usage{InputTokens: 2, OutputTokens: 1, TotalTokens: 3}, Model: "m-1"}
}

func toolPlan(a plan.Agent) (*plan.Plan, *plan.Agent) {
	p, ag := agentPlan(a)
	p.Tools["lookup"] = lookupTool("lookup")
	return p, ag
}

func TestJournalReplaysEveryCall(t *testing.T) {
	t.Parallel()
	p, a := toolPlan(scripted(plan.Agent{Strategy: "plan-act", Tools: []string{"lookup"}}))
	s := &script{turns: []*llm.Response{says("1. look"), calls("lookup", "lookup"), says("done")}}
	var executed atomic.Int32
	h := handlers{"demo.lookup": func(json.RawMessage) (any, error) { return fmt.Sprint("r", executed.Add(1) > 0), nil }}
	l := newLoop(t, s, h, nil)
	j := &memoryJournal{done: map[string]agent.Outcome{}}
	request := agent.Request{Plan: p, Agent: a, Messages: user("q"), StepKey: "s#1@1", Journal: j}
	first, err := l.RunAgent(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"s#1@1/model/0": true, "s#1@1/model/1": true, "s#1@1/tool/1/0": true, "s#1@1/tool/1/1": true, "s#1@1/model/2": true}
	for _, k := range j.fresh {
		if !want[k] {
			t.Errorf("unexpected key %s", k)
		}
		delete(want, k)
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
	second, err := l.RunAgent(t.Context(), request)
	if err != nil || executed.Load() != 2 || len(s.asked) != 3 {
		t.Fatalf("%v, %d tool calls, %d model calls", err, executed.Load(), len(s.asked))
	}
	if d := cmp.Diff(first, second); d != "" {
		t.Error(d)
	}
	if first.Usage.TotalTokens != 9 || first.Output != "done" || first.Iterations != 3 || first.RuntimeName != "plan-act@scripted" {
		t.Errorf("%+v", first)
	}
}

// TestCutOffCallStopsTheRun: what the journal returns reaches the caller unchanged, and an idempotency key reaches the tool.
func TestCutOffCallStopsTheRun(t *testing.T) {
	t.Parallel()
	p, a := toolPlan(scripted(plan.Agent{Strategy: "react", Tools: []string{"lookup"}}))
	p.Tools["lookup"].Idempotent = false
	cut := errors.New("ask a person")
	refuse := journalFunc(func(_ context.Context, c agent.Call, fn func(context.Context, string) (agent.Outcome, error)) (agent.Outcome, error) {
		if c.Kind == "tool" {
			if c.Idempotent || !c.SideEffect || string(c.Arguments) != `{"query":"x"}` || c.Name != "lookup" {
				t.Errorf("call %+v", c)
			}
			return agent.Outcome{}, cut
		}
		return fn(t.Context(), "k")
	})
	_, err := newLoop(t, &script{turns: []*llm.Response{calls("lookup")}}, demo, nil).
		RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q"), Journal: refuse})
	if !errors.Is(err, cut) {
		t.Errorf("got %v", err)
	}
}

type journalFunc func(context.Context, agent.Call, func(context.Context, string) (agent.Outcome, error)) (agent.Outcome, error)

func (f journalFunc) Do(ctx context.Context, c agent.Call, fn func(context.Context, string) (agent.Outcome, error)) (agent.Outcome, error) {
	return f(ctx, c, fn)
}

func TestParallelToolCalls(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		allowed *bool
		peak    int32
	}{"together": {nil, 3}, "one by one": {new(false), 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := toolPlan(scripted(plan.Agent{Strategy: "react", Tools: []string{"lookup"}, ParallelToolCalls: tt.allowed}))
			var now, peak atomic.Int32
			var all sync.WaitGroup
			if tt.peak > 1 {
				all.Add(3)
			}
			h := handlers{"demo.lookup": func(json.RawMessage) (any, error) {
				n := now.Add(1)
				defer now.Add(-1)
				for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
				}
				if tt.peak > 1 {
					all.Done()
					all.Wait()
				}
				return "r", nil
			}}
			s := &script{turns: []*llm.Response{calls("lookup", "lookup", "lookup"), says("ok")}}
			res, err := newLoop(t, s, h, nil).RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
			if err != nil || peak.Load() != tt.peak || roles(res.Messages) != "user assistant tool tool tool assistant" {
				t.Errorf("%v, peak %d, %s", err, peak.Load(), roles(res.Messages))
			}
			if p := s.asked[0].ParallelToolCalls; p != tt.allowed {
				t.Error("parallel_tool_calls is not passed on")
			}
		})
	}
}

func TestToolFaults(t *testing.T) {
	t.Parallel()
	many := make([]string, 200)
	for i := range many {
		many[i] = "lookup"
	}
	malformed := calls("lookup")
	malformed.ToolCalls[0].Arguments = json.RawMessage(`"{half"`)
	same := calls("lookup", "lookup")
	same.ToolCalls[1].ID = "c0"
	tests := map[string]struct {
		turn    *llm.Response
		agent   plan.Agent
		results []string
		failure string
	}{
		"unknown name":        {calls("nope"), plan.Agent{}, []string{`{"error": "No handler registered for tool \"nope\"."}`}, ""},
		"malformed arguments": {malformed, plan.Agent{}, []string{`{"error": "The arguments were not a JSON object."}`}, ""},
		"same id twice":       {same, plan.Agent{}, []string{"hit for x", "hit for x"}, ""},
		"stop on error":       {calls("nope"), plan.Agent{StopOnToolError: true}, nil, `Tool 'nope' failed: No handler registered for tool "nope".`},
		"too many":            {calls(many...), plan.Agent{}, strings.Split(strings.Repeat("hit for x,", 127)+"hit for x", ","), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.agent.Strategy, tt.agent.Tools = "react", []string{"lookup"}
			p, a := toolPlan(scripted(tt.agent))
			res, err := newLoop(t, &script{turns: []*llm.Response{tt.turn, says("ok")}}, demo, nil).
				RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
			var step *run.StepError
			if tt.failure != "" {
				if !errors.As(err, &step) || step.Type != run.FailTool || step.Message != tt.failure {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			var results []string
			for _, m := range res.Messages {
				if m.Role == "tool" {
					results = append(results, m.Content)
					ids[*m.ToolCallID] = true
				}
			}
			if d := cmp.Diff(tt.results, results); d != "" || len(ids) != len(results) {
				t.Errorf("%s %v", d, ids)
			}
		})
	}
}

func TestTokenBudget(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		agent      *int64
		deployment int64
		asked      int
		message    string
	}{
		"none":             {nil, 0, 2, ""},
		"enough":           {new(int64(6)), 0, 2, ""},
		"exceeded after":   {new(int64(2)), 0, 1, "TokenBudgetMiddleware: per_run usage 3 exceeded limit 2"},
		"reached before":   {new(int64(3)), 0, 1, "TokenBudgetMiddleware: per_run usage 3 reached limit 3 before the next model call"},
		"second call":      {new(int64(5)), 0, 2, "TokenBudgetMiddleware: per_run usage 6 exceeded limit 5"},
		"deployment":       {nil, 2, 1, "TokenBudgetMiddleware: per_run usage 3 exceeded limit 2"},
		"agent goes first": {new(int64(100)), 2, 2, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := toolPlan(scripted(plan.Agent{Strategy: "react", Tools: []string{"lookup"}, TokenBudget: tt.agent}))
			s := &script{turns: []*llm.Response{calls("lookup"), says("ok")}}
			l := newLoop(t, s, demo, func(c *agent.Config) { c.TokenBudget = tt.deployment })
			_, err := l.RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
			e := problem.As(err)
			if len(s.asked) != tt.asked || (e == nil) != (tt.message == "") || e != nil && (e.Code != problem.TokenBudgetExceeded || e.Message != tt.message) {
				t.Errorf("%d calls, %v", len(s.asked), err)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	thread := []run.Message{{Role: "system", Content: "S"}, {Role: "user", Content: "u1"}, {Role: "assistant", Content: "a1"}, {Role: "user", Content: "u2"}}
	function := func(name string) *plan.Ref { return &plan.Ref{Bucket: "functions", Name: name} }
	tests := map[string]struct {
		memory plan.Memory
		want   string
	}{
		"full":              {plan.Memory{Policy: "full"}, "S|u1|a1|u2"},
		"window":            {plan.Memory{Policy: "sliding_window", MaxMessages: 2, PreserveSystemMessages: true}, "S|u2"},
		"window, no system": {plan.Memory{Policy: "sliding_window", MaxMessages: 2}, "a1|u2"},
		"wide window":       {plan.Memory{Policy: "sliding_window", MaxMessages: 9}, "S|u1|a1|u2"},
		"no window":         {plan.Memory{Policy: "sliding_window", PreserveSystemMessages: true}, "S"},
		"nothing":           {plan.Memory{Policy: "sliding_window", MaxMessages: -1}, ""},
		"summary":           {plan.Memory{Policy: "summary", Summarizer: function("sum")}, "S|Conversation summary:\nS\"user: u1\\nassistant: a1\"|u2"},
		"summary by agent":  {plan.Memory{Policy: "summary", Summarizer: &plan.Ref{Bucket: "agents", Name: "helper"}}, "S|Conversation summary:\nFinal answer: user: u1\nassistant: a1|u2"},
		"retrieval":         {plan.Memory{Policy: "retrieval", TopK: 3, Retriever: function("notes")}, "Relevant retrieved memory:\nN{\"text\":\"u2\",\"top_k\":3}|S|u1|a1|u2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := agentPlan(scripted(plan.Agent{Strategy: "simple", Memory: &tt.memory, SystemPrompt: "SP"}))
			p.Functions["sum"], p.Functions["notes"] = &plan.Function{Implementation: "demo.summary"}, &plan.Function{Implementation: "demo.notes"}
			p.Agents["helper"] = &plan.Agent{Name: "helper", Component: "helper", Strategy: "simple", MaxIterations: 10}
			s := &script{turns: []*llm.Response{says("ok")}}
			res, err := newLoop(t, s, demo, nil).RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: thread})
			if err != nil {
				t.Fatal(err)
			}
			var seen []string
			for _, m := range s.asked[0].Messages {
				seen = append(seen, m.Content)
			}
			if got := strings.Join(seen, "|"); got != tt.want || s.asked[0].System != "SP" {
				t.Errorf("the model saw %q", got)
			}
			if res.Memory == nil || res.Memory.BeforeMessageCount != 4 || res.Memory.AfterMessageCount != len(seen) || res.Memory.Policy != tt.memory.Policy {
				t.Errorf("%+v", res.Memory)
			}
			if len(res.Messages) != len(seen)+1 {
				t.Errorf("%d messages", len(res.Messages))
			}
		})
	}
}

// TestRevisedTextIsTheOnlyOne: neither result nor thread nor stream keeps what an output guardrail replaced.
func TestRevisedTextIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	p, a := agentPlan(scripted(plan.Agent{Strategy: "plan-act", Output: []plan.Guardrail{{ID: "tidy", Type: "function", Action: "revise", Ref: &plan.Ref{Bucket: "functions", Name: "tidy"}}}}))
	p.Functions["tidy"] = &plan.Function{Implementation: "demo.tidy"}
	var streamed []string
	s := &script{turns: []*llm.Response{says("the secret"), says("the secret")}}
	res, err := newLoop(t, s, demo, nil).RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q"), OnDelta: func(s string) { streamed = append(streamed, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if all := string(run.AppendMessages(nil, res.Messages)) + res.Output + strings.Join(streamed, ""); strings.Contains(all, "secret") {
		t.Error(all)
	}
	if d := cmp.Diff([]string{"(revised)"}, streamed); d != "" || res.Output != "(revised)" || len(res.Guardrails) != 1 || res.Guardrails[0].ID != "tidy" {
		t.Errorf("%s %+v", d, res)
	}
}

func TestStreaming(t *testing.T) {
	t.Parallel()
	p, a := agentPlan(scripted(plan.Agent{Strategy: "simple"}))
	for name, guard := range map[string][]plan.Guardrail{"live": nil, "held back for the workflow stage": {{ID: "g", Type: "keyword", Keywords: []string{"x"}}}} {
		p.StepGuardrails = guard
		var streamed []string
		_, err := newLoop(t, &script{turns: []*llm.Response{says("hi")}}, demo, nil).
			RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q"), OnDelta: func(s string) { streamed = append(streamed, s) }})
		if err != nil || (len(streamed) == 1) != (guard == nil) {
			t.Errorf("%s: %v %v", name, streamed, err)
		}
	}
}

func TestCheckStep(t *testing.T) {
	t.Parallel()
	p, _ := agentPlan(plan.Agent{})
	l := newLoop(t, nil, demo, nil)
	check := func(text string) (string, []agent.GuardrailNote, error) {
		return l.CheckStep(t.Context(), agent.CheckRequest{Plan: p, StepKey: "s", Text: text})
	}
	if text, _, err := check("leak"); text != "leak" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	p.StepGuardrails = []plan.Guardrail{{ID: "g", Type: "keyword", Action: "redact", Keywords: []string{"leak"}}}
	if text, notes, err := check("a LEAK"); text != "[redacted by workflow guardrail]" || len(notes) != 1 || err != nil {
		t.Errorf("%q %v %v", text, notes, err)
	}
	p.StepGuardrails[0].Action = "block"
	if text, _, err := check("a LEAK"); text != "" || !problem.Is(err, problem.GuardrailViolation) {
		t.Errorf("%q %v", text, err)
	}
}

func TestAgentAsTool(t *testing.T) {
	t.Parallel()
	p, a := agentPlan(scripted(plan.Agent{Strategy: "react", Tools: []string{"helper"}}))
	p.Tools["helper"] = &plan.Tool{Name: "helper", Agent: "h", Idempotent: true}
	p.Agents["h"] = &plan.Agent{Name: "Helper", Component: "h", Strategy: "simple", MaxIterations: 10, Input: []plan.Guardrail{{ID: "g", Type: "keyword", Keywords: []string{"forbidden"}}}}
	run1 := func(arguments string) (agent.Result, *script, error) {
		turn := calls("helper")
		turn.ToolCalls[0].Arguments = json.RawMessage(arguments)
		s := &script{turns: []*llm.Response{turn, says("ok")}}
		res, err := newLoop(t, s, demo, nil).RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
		return res, s, err
	}
	res, s, err := run1(`{"input":"do it"}`)
	if err != nil || res.Messages[2].Content != "Final answer: do it" {
		t.Fatalf("%+v %v", res, err)
	}
	want := `{"type":"object","properties":{"input":{"type":"string","description":"Input passed to the Helper agent."}},"required":["input"]}`
	if got := string(s.asked[0].Tools[0].Parameters); got != want {
		t.Error(got)
	}
	if _, _, err = run1(`{"query":"x"}`); !problem.Is(err, problem.GuardrailViolation) {
		t.Errorf("schema: %v", err)
	}
	if _, _, err = run1(`{"input":"forbidden"}`); !problem.Is(err, problem.GuardrailViolation) {
		t.Errorf("the helper's own guardrail: %v", err)
	}
	// An agent that has itself as a tool comes to an end.
	p.Agents["h"].Strategy, p.Agents["h"].Runtime, p.Agents["h"].Tools = "react", a.Runtime, []string{"helper"}
	var turns []*llm.Response
	for range 20 {
		turn := calls("helper")
		turn.ToolCalls[0].Arguments = json.RawMessage(`{"input":"again"}`)
		turns = append(turns, turn)
	}
	for i := range turns[9:] {
		turns[9+i] = says("enough")
	}
	res, err = newLoop(t, &script{turns: turns}, demo, nil).RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
	if err != nil || res.Output != "enough" {
		t.Errorf("%q %v", res.Output, err)
	}
}

func TestProviderFailures(t *testing.T) {
	t.Parallel()
	p, a := agentPlan(scripted(plan.Agent{Strategy: "simple"}))
	_, err := newLoop(t, &script{}, demo, nil).RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
	var step *run.StepError
	if !errors.As(err, &step) || step.Type != run.FailProvider || step.Message != "scripted: Error code: 500 - boom" || step.Permanent {
		t.Errorf("got %#v", err)
	}
	cause := errors.New("cancelled by a person")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := newLoop(t, &script{}, demo, nil).RunAgent(ctx, agent.Request{Plan: p, Agent: a, Messages: user("q")}); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	a.Runtime = plan.Runtime{Mode: "bridge", Provider: "openai"}
	l := newLoop(t, nil, demo, func(c *agent.Config) {
		o := catalog.Options(exchange.Policy{})
		o.Secrets = secret.Map{}
		c.Models = llm.NewRegistry(o)
	})
	if _, err := l.RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")}); !problem.Is(err, problem.MissingSecret) || !strings.Contains(err.Error(), "OPENAI_API_KEY") {
		t.Errorf("got %v", err)
	}
}

// TestSameRunOnEveryProvider: one conversation with a tool gives the same thread whichever wire format carries it.
func TestSameRunOnEveryProvider(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"openai", "anthropic", "google", "ollama", "made-up"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := llmtest.New(t,
				llmtest.Turn{Text: "let me see", Calls: []llmtest.Call{{ID: "c1", Name: "lookup", Arguments: `{"query":"tea"}`}}, Input: 5, Output: 2},
				llmtest.Turn{Text: "tea it is", Input: 8, Output: 3})
			p, a := toolPlan(plan.Agent{Strategy: "react", Tools: []string{"lookup"}, SystemPrompt: "be brief", Runtime: plan.Runtime{Mode: "native", Provider: name, BaseURL: server.URL, HasInlineKey: true}})
			l := newLoop(t, nil, demo, func(c *agent.Config) {
				c.Models = llm.NewRegistry(catalog.Options(exchange.Policy{}))
				c.InlineKey = func(context.Context, string, string) (string, error) { return "inline", nil }
			})
			res, err := l.RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("tea?")})
			if err != nil {
				t.Fatal(err)
			}
			for i := range res.Messages {
				res.Messages[i].ToolCallID = nil
				for k := range res.Messages[i].ToolCalls {
					res.Messages[i].ToolCalls[k].ID = ""
				}
			}
			want := `[{"role":"user","content":"tea?","name":null,"tool_call_id":null,"metadata":{"tool_calls":[]}},` +
				`{"role":"assistant","content":"let me see","name":null,"tool_call_id":null,"metadata":{"tool_calls":[{"id":"","name":"lookup","arguments":{"query":"tea"},"metadata":{}}]}},` +
				`{"role":"tool","content":"hit for tea","name":"lookup","tool_call_id":null,"metadata":{"tool_calls":[]}},` +
				`{"role":"assistant","content":"tea it is","name":null,"tool_call_id":null,"metadata":{"tool_calls":[]}}]`
			if d := cmp.Diff(want, string(run.AppendMessages(nil, res.Messages))); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(&run.Usage{InputTokens: 13, OutputTokens: 5, TotalTokens: 18}, res.Usage); d != "" {
				t.Error(d)
			}
			if h := server.Requests()[0].Header; !strings.Contains(h.Get("Authorization")+h.Get("X-Api-Key")+h.Get("X-Goog-Api-Key"), "inline") {
				t.Error("the inline key was not used")
			}
		})
	}
}

func BenchmarkModelCall(b *testing.B) {
	p, a := agentPlan(plan.Agent{Strategy: "simple"})
	l := newLoop(b, nil, demo, nil)
	request := agent.Request{Plan: p, Agent: a, Messages: user("hello"), StepKey: "s#1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.RunAgent(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToolCall(b *testing.B) {
	p, a := agentPlan(plan.Agent{Strategy: "react", Tools: []string{"web_search"}})
	p.Tools["web_search"] = lookupTool("web_search")
	l := newLoop(b, nil, demo, nil)
	request := agent.Request{Plan: p, Agent: a, Messages: user("search"), StepKey: "s#1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.RunAgent(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

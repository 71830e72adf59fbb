package agent_test

import (
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/plan"
)

func TestSpansAndCounts(t *testing.T) {
	t.Parallel()
	for _, record := range []bool{false, true} {
		recorder := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		var counted []string
		p, a := agentPlan(plan.Agent{Strategy: "react", Tools: []string{"web_search"}})
		p.Tools["web_search"] = lookupTool("web_search")
		l := newLoop(t, nil, demo, func(c *agent.Config) {
			c.Observer = agent.Observers{
				agent.NewSpans(provider, agent.SpanOptions{RecordArguments: record, RecordResults: record}),
				agent.Counts(func(kind, name, outcome string) { counted = append(counted, kind+" "+name+" "+outcome) }),
			}
		})
		if _, err := l.RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("search for me@example.org")}); err != nil {
			t.Fatal(err)
		}
		var names []string
		var all strings.Builder
		for _, s := range recorder.Ended() {
			names = append(names, s.Name())
			for _, kv := range s.Attributes() {
				all.WriteString(string(kv.Key) + "=" + kv.Value.Emit() + "\n")
			}
		}
		if !slices.Equal(names, []string{"chat iter=1", "execute_tool web_search", "chat iter=2", "chat root"}) {
			t.Errorf("spans %v", names)
		}
		if !slices.Equal(counted, []string{"model dummy ok", "tool tool ok", "model dummy ok"}) {
			t.Errorf("counted %v", counted)
		}
		if strings.Contains(all.String(), "me@example.org") || strings.Contains(all.String(), "gen_ai.tool.call.arguments") != record {
			t.Error(all.String())
		}
		if !strings.Contains(all.String(), "kneo_agent.runtime=react@dummy\n") {
			t.Error(all.String())
		}
	}
}

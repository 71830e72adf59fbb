package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/plan"
)

// TestMeters reads the client metrics of two model calls and of one that fails.
func TestMeters(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	meters, err := agent.NewMeters(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	p, a := toolPlan(scripted(plan.Agent{Strategy: "react", Model: "big", Tools: []string{"lookup"}}))
	l := newLoop(t, &script{turns: []*llm.Response{calls("lookup"), says("done")}}, demo, func(c *agent.Config) { c.Observer = meters })
	for range 2 { // the script is over at the second run
		_, err = l.RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q")})
	}
	if err == nil {
		t.Error("the script is not over")
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch h := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range h.DataPoints {
				got = append(got, fmt.Sprintf("%s %s n=%d %s", m.Name, m.Unit, p.Count, attributes(p.Attributes)))
			}
		case metricdata.Histogram[int64]:
			for _, p := range h.DataPoints {
				got = append(got, fmt.Sprintf("%s %s n=%d sum=%d %s", m.Name, m.Unit, p.Count, p.Sum, attributes(p.Attributes)))
			}
		}
	}
	slices.Sort(got)
	const common = "gen_ai.operation.name=chat gen_ai.provider.name=scripted gen_ai.request.model=big"
	want := []string{
		"gen_ai.client.operation.duration s n=1 " + common,
		"gen_ai.client.operation.duration s n=1 " + common + " gen_ai.response.model=m-1",
		"gen_ai.client.operation.duration s n=1 error.type=server " + common,
		"gen_ai.client.token.usage {token} n=1 sum=1 " + common + " gen_ai.response.model=m-1 gen_ai.token.type=output",
		"gen_ai.client.token.usage {token} n=1 sum=1 " + common + " gen_ai.token.type=output",
		"gen_ai.client.token.usage {token} n=1 sum=2 " + common + " gen_ai.response.model=m-1 gen_ai.token.type=input",
		"gen_ai.client.token.usage {token} n=1 sum=2 " + common + " gen_ai.token.type=input",
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func attributes(set attribute.Set) string {
	var out []string
	for _, kv := range set.ToSlice() {
		out = append(out, string(kv.Key)+"="+kv.Value.Emit())
	}
	return strings.Join(out, " ")
}

// TestSpanConventions: the spans carry the attributes of the conventions, and texts only behind their switches.
func TestSpanConventions(t *testing.T) {
	t.Parallel()
	for _, o := range []agent.SpanOptions{{}, {RecordArguments: true}, {RecordResults: true}, {RecordArguments: true, RecordResults: true}} {
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		p, a := toolPlan(scripted(plan.Agent{Strategy: "react", Model: "big", Tools: []string{"lookup"}}))
		l := newLoop(t, &script{turns: []*llm.Response{calls("lookup"), says("done")}}, demo, func(c *agent.Config) { c.Observer = agent.NewSpans(provider, o) })
		if _, err := l.RunAgent(t.Context(), agent.Request{Plan: p, Agent: a, Messages: user("q"), RunID: "r1"}); err != nil {
			t.Fatal(err)
		}
		byName := map[string]map[string]string{}
		for _, s := range exporter.GetSpans() {
			byName[s.Name] = map[string]string{}
			for _, kv := range s.Attributes {
				byName[s.Name][string(kv.Key)] = kv.Value.Emit()
			}
		}
		for span, want := range map[string]map[string]string{
			"chat root": {
				"gen_ai.operation.name": "chat", "gen_ai.provider.name": "scripted", "gen_ai.agent.name": "root", "gen_ai.usage.input_tokens": "4",
				"gen_ai.usage.output_tokens": "2", "kneo.run.id": "r1",
			},
			"chat iter=2": {
				"gen_ai.operation.name": "chat", "gen_ai.provider.name": "scripted", "gen_ai.request.model": "big", "gen_ai.response.model": "m-1",
				"gen_ai.usage.input_tokens": "2",
			},
			"execute_tool lookup": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup", "gen_ai.tool.call.id": "c0"},
		} {
			for key, value := range want {
				if got := byName[span][key]; got != value {
					t.Errorf("%s: %s is %q, want %q", span, key, got, value)
				}
			}
		}
		tool := byName["execute_tool lookup"]
		if _, there := tool["gen_ai.tool.call.arguments"]; there != o.RecordArguments {
			t.Errorf("%+v: arguments %v", o, tool)
		}
		if _, there := tool["gen_ai.tool.call.result"]; there != o.RecordResults {
			t.Errorf("%+v: results %v", o, tool)
		}
	}
}

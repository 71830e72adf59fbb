package specview

import (
	"encoding/json"
	"testing"

	"github.com/kneo-go/kneo/internal/plan"
)

func ptr[T any](v T) *T { return &v }

func TestGraphJSON(t *testing.T) {
	line := &plan.Workflow{Name: "line", Kind: plan.Sequential, Steps: []plan.Step{
		{ID: "a", Kind: plan.StepAgent, OnError: "continue", MaxRetries: 2}, {ID: "b", Kind: plan.StepHuman, OnError: "fail"},
	}}
	net := &plan.Workflow{Name: "net", Kind: plan.Graph, Start: "a", MaxSteps: 7, Steps: []plan.Step{
		{ID: "a", Kind: plan.StepAgent, OnError: "fallback", Fallback: "b", MaxRetries: 2, TimeoutSeconds: ptr(int64(3))},
		{ID: "b", Kind: plan.StepHuman, OnError: "fail"},
	}, Edges: []plan.Edge{{From: "a", To: "b", Label: ptr("go"), Condition: &plan.Condition{Type: "always"}}}}
	team := &plan.Workflow{Name: "team", Kind: plan.Concurrent, Steps: line.Steps}
	at := Position{RunID: "r", Status: "completed", CurrentStepID: ptr("b"), VisitedSteps: []string{"a", "b"}, CurrentNodeID: ptr("n"), VisitedNodes: []string{"n"}}
	for _, tc := range []struct {
		name     string
		workflow *plan.Workflow
		want     string
	}{
		{"agent only", nil, `{"run_id":"r","status":"completed","workflow_name":null,"workflow_kind":null,"start":null,"max_steps":null,"nodes":[],"edges":[],"current":"n","visited":["n"]}`},
		{"line", line, `{"run_id":"r","status":"completed","workflow_name":"line","workflow_kind":"sequential","start":"a","max_steps":null,` +
			`"nodes":[{"id":"a","kind":null,"name":"a","on_error":null,"fallback_node":null,"max_retries":0,"timeout_seconds":null},` +
			`{"id":"b","kind":null,"name":"b","on_error":null,"fallback_node":null,"max_retries":0,"timeout_seconds":null}],` +
			`"edges":[{"source":"a","target":"b","label":null,"conditional":false,"priority":0}],"current":"b","visited":["a","b"]}`},
		{"net", net, `{"run_id":"r","status":"completed","workflow_name":"net","workflow_kind":"graph","start":"a","max_steps":7,` +
			`"nodes":[{"id":"a","kind":"agent","name":"a","on_error":"fallback","fallback_node":"b","max_retries":2,"timeout_seconds":3},` +
			`{"id":"b","kind":"human","name":"b","on_error":"fail","fallback_node":null,"max_retries":0,"timeout_seconds":null}],` +
			`"edges":[{"source":"a","target":"b","label":"go","conditional":true,"priority":0}],"current":"n","visited":["n"]}`},
		{"team", team, `{"run_id":"r","status":"completed","workflow_name":"team","workflow_kind":null,"start":null,"max_steps":null,"nodes":[],"edges":[],"current":"n","visited":["n"]}`},
	} {
		got, err := json.Marshal(NewRunGraph(&plan.Plan{Workflow: tc.workflow}, at))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tc.name, err, got, tc.want)
		}
	}
}

func TestSummaries(t *testing.T) {
	p := &plan.Plan{Root: &plan.Agent{Name: "root"}, Workflow: &plan.Workflow{Name: "w"}, AgentOrder: []string{"b", "a"}}
	for _, tc := range []struct {
		value any
		want  string
	}{
		{Compiled(p), `{"has_root_agent":true,"has_root_workflow":true,"component_agents":["b","a"]}`},
		{Explain(p), `{"root_agent":"root","root_workflow":"w","component_agents":["b","a"]}`},
		{Explain(&plan.Plan{Root: p.Root}), `{"root_agent":"root","root_workflow":null,"component_agents":[]}`},
	} {
		if got, err := json.Marshal(tc.value); err != nil || string(got) != tc.want {
			t.Errorf("got %s, want %s (%v)", got, tc.want, err)
		}
	}
}

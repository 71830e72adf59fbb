// Package specview renders what the API tells about a plan: the compile and explain summaries and the graph of the root workflow, alone or
// with the position of a run. Everything is pure. It imports internal/plan only.
package specview

import "github.com/kneo-go/kneo/internal/plan"

// CompileSummary is the summary of a compilation, in wire order.
type CompileSummary struct {
	HasRootAgent    bool     `json:"has_root_agent"`
	HasRootWorkflow bool     `json:"has_root_workflow"`
	ComponentAgents []string `json:"component_agents"`
}

// ExplainSummary is the summary of an explanation, in wire order.
type ExplainSummary struct {
	RootAgent       *string  `json:"root_agent"`
	RootWorkflow    *string  `json:"root_workflow"`
	ComponentAgents []string `json:"component_agents"`
}

// Compiled summarises a plan.
func Compiled(p *plan.Plan) CompileSummary {
	return CompileSummary{HasRootAgent: p.Root != nil, HasRootWorkflow: p.Workflow != nil, ComponentAgents: agents(p)}
}

// Explain names the parts of a plan.
func Explain(p *plan.Plan) ExplainSummary {
	s := ExplainSummary{ComponentAgents: agents(p)}
	if p.Root != nil {
		s.RootAgent = &p.Root.Name
	}
	if p.Workflow != nil {
		s.RootWorkflow = &p.Workflow.Name
	}
	return s
}

func agents(p *plan.Plan) []string { return append([]string{}, p.AgentOrder...) }

// Graph is the topology of a root workflow, in wire order. Lists are never null. Concurrent, handoff and group-chat workflows show their name
// only.
type Graph struct {
	WorkflowName *string `json:"workflow_name"`
	WorkflowKind *string `json:"workflow_kind"`
	Start        *string `json:"start"`
	MaxSteps     *int64  `json:"max_steps"`
	Nodes        []Node  `json:"nodes"`
	Edges        []Edge  `json:"edges"`
}

// Node is one step. Those of a sequential workflow show their id only.
type Node struct {
	ID             string  `json:"id"`
	Kind           *string `json:"kind"`
	Name           string  `json:"name"`
	OnError        *string `json:"on_error"`
	FallbackNode   *string `json:"fallback_node"`
	MaxRetries     int64   `json:"max_retries"`
	TimeoutSeconds *int64  `json:"timeout_seconds"`
}

// Edge leads from one node to the next.
type Edge struct {
	Source      string  `json:"source"`
	Target      string  `json:"target"`
	Label       *string `json:"label"`
	Conditional bool    `json:"conditional"`
	Priority    int     `json:"priority"`
}

// NewGraph returns the topology of a plan's root workflow.
func NewGraph(p *plan.Plan) Graph {
	g := Graph{Nodes: []Node{}, Edges: []Edge{}}
	w := p.Workflow
	if w == nil {
		return g
	}
	g.WorkflowName = &w.Name
	switch w.Kind {
	case plan.Sequential:
		g.line(w)
	case plan.Graph:
		g.net(w)
	}
	return g
}

func (g *Graph) line(w *plan.Workflow) {
	kind := string(w.Kind)
	g.WorkflowKind = &kind
	for i, s := range w.Steps {
		if i == 0 {
			start := s.ID
			g.Start = &start
		} else {
			g.Edges = append(g.Edges, Edge{Source: w.Steps[i-1].ID, Target: s.ID})
		}
		g.Nodes = append(g.Nodes, Node{ID: s.ID, Name: s.ID})
	}
}

func (g *Graph) net(w *plan.Workflow) {
	kind, start, steps := string(w.Kind), w.Start, w.MaxSteps
	g.WorkflowKind, g.Start, g.MaxSteps = &kind, &start, &steps
	for _, s := range w.Steps {
		kind, onError := string(s.Kind), s.OnError
		n := Node{ID: s.ID, Kind: &kind, Name: s.ID, OnError: &onError, MaxRetries: s.MaxRetries, TimeoutSeconds: s.TimeoutSeconds}
		if s.Fallback != "" {
			fallback := s.Fallback
			n.FallbackNode = &fallback
		}
		g.Nodes = append(g.Nodes, n)
	}
	for _, e := range w.Edges {
		g.Edges = append(g.Edges, Edge{Source: e.From, Target: e.To, Label: e.Label, Conditional: e.Condition != nil})
	}
}

// Position is where a run is.
type Position struct {
	RunID, Status                string
	CurrentStepID, CurrentNodeID *string
	VisitedSteps, VisitedNodes   []string
}

// RunGraph is the topology of a run's workflow with the run's position, in wire order.
type RunGraph struct {
	RunID  string `json:"run_id"`
	Status string `json:"status"`
	Graph
	Current *string  `json:"current"`
	Visited []string `json:"visited"`
}

// NewRunGraph returns the topology with the position: the step fields of a run of a sequential workflow, the node fields of every other.
func NewRunGraph(p *plan.Plan, at Position) RunGraph {
	g := RunGraph{RunID: at.RunID, Status: at.Status, Graph: NewGraph(p), Current: at.CurrentNodeID, Visited: at.VisitedNodes}
	if p.Workflow != nil && p.Workflow.Kind == plan.Sequential {
		g.Current, g.Visited = at.CurrentStepID, at.VisitedSteps
	}
	g.Visited = append([]string{}, g.Visited...)
	return g
}

package spec

// Summary is what a reader first wants to know of a document.
type Summary struct {
	RootAgent    *string `json:"root_agent"`
	RootWorkflow *string `json:"root_workflow"`
	// ComponentAgents are in build order.
	ComponentAgents []string `json:"component_agents"`
}

// Explain summarises a document. Components that form a cycle come last.
func Explain(d *Document) Summary {
	s := Summary{ComponentAgents: []string{}}
	if d.Agent != nil {
		s.RootAgent = &d.Agent.Name
	}
	if d.Workflow != nil {
		name := d.Workflow.DisplayName()
		s.RootWorkflow = &name
	}
	order, _ := BuildOrder(d)
	listed := map[string]bool{}
	for _, c := range order {
		if c.Kind == "agent" {
			s.ComponentAgents = append(s.ComponentAgents, c.Name)
			listed[c.Name] = true
		}
	}
	for _, name := range d.Components.Agents.Keys() {
		if !listed[name] {
			s.ComponentAgents = append(s.ComponentAgents, name)
		}
	}
	return s
}

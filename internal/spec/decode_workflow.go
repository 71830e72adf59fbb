package spec

func decodeWorkflow(n *Node) *Workflow {
	w := &Workflow{Node: n, MaxSteps: defaultMaxSteps, Rounds: 1, Selector: Selector{Type: SelectorSequence}}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "type":
			w.Type = v.Value
			if w.Type == "group_chat" {
				w.Type = WorkflowGroupChat
			}
		case "name":
			w.Name = v.Text()
		case "description":
			w.Description = v.Text()
		case "steps":
			w.Steps = decodeList(v, decodeStep)
		case "participants":
			w.Participants = decodeList(v, decodeStep)
		case "start":
			w.Start = v.Value
		case "nodes":
			decodeMap(&w.Nodes, v, decodeStep)
		case "edges":
			w.Edges = decodeList(v, decodeEdge)
		case "max_steps":
			w.MaxSteps, _ = v.AsInt()
		case "max_iterations":
			w.MaxIterations = optInt(v)
		case "rounds":
			w.Rounds, _ = v.AsInt()
		case "selector":
			decodeSelector(&w.Selector, v)
		}
	}
	return w
}

func decodeList[T any](n *Node, decode func(*Node) T) []T {
	out := make([]T, len(n.Items))
	for i, item := range n.Items {
		out[i] = decode(item)
	}
	return out
}

func decodeSelector(s *Selector, n *Node) {
	if t := n.Get("type"); t != nil {
		s.Type = t.Value
	}
	if seq := n.Get("sequence"); seq != nil {
		s.Sequence = texts(seq)
	}
}

func decodeStep(n *Node) *Step {
	s := &Step{Node: n, Enabled: true, OnError: OnErrorFail}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "id":
			s.ID = v.Value
		case "kind":
			s.Kind = v.Value
		case "ref":
			s.Ref = v.Value
		case "enabled":
			s.Enabled, _ = v.AsBool()
		case "on_error":
			s.OnError = v.Value
		case "fallback_ref":
			s.FallbackRef = v.Text()
		case "max_retries":
			s.MaxRetries, _ = v.AsInt()
		case "timeout_seconds":
			s.TimeoutSeconds = optInt(v)
		}
	}
	return s
}

func decodeEdge(n *Node) *Edge {
	e := &Edge{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "from", "from_":
			e.From = v.Value
		case "to":
			e.To = v.Value
		case "condition":
			e.Condition = decodeCondition(v)
		case "label":
			e.Label = optText(v)
		}
	}
	return e
}

func decodeCondition(n *Node) *Condition {
	if n.Kind == Null {
		return nil
	}
	c := &Condition{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "type":
			c.Type = v.Value
		case "value":
			c.Value = notNull(v)
		case "key":
			c.Key = v.Text()
		case "case_sensitive":
			c.CaseSensitive, _ = v.AsBool()
		case "conditions":
			c.Conditions = decodeList(v, decodeCondition)
		case "condition":
			c.Condition = decodeCondition(v)
		}
	}
	return c
}

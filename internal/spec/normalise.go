package spec

// defaultMaxSteps bounds a graph that does not say how many steps it may take.
const defaultMaxSteps = 50

// Normalise expands the shorthands of the language. Shapes it does not know
// pass through for the schema to refuse. The input is not changed.
func Normalise(tree *Node) *Node {
	if !tree.IsMapping() {
		return tree
	}
	if agent := tree.Get("agent"); agent.Len() > 0 && agent.IsMapping() {
		tree = replace(tree, "agent", agent, normaliseAgent(agent))
	}
	if !tree.Has("components") {
		tree = tree.With("components", NewMapping())
	}
	components := tree.Get("components")
	if agents := components.Get("agents"); agents.IsMapping() {
		out := agents.shallow()
		for i := range out.Entries {
			if e := &out.Entries[i]; e.Value.IsMapping() && e.Value.Len() > 0 {
				e.Value = normaliseAgent(e.Value)
			}
		}
		tree = tree.With("components", components.With("agents", out))
	}
	if w := tree.Get("workflow"); w.IsMapping() {
		tree = replace(tree, "workflow", w, normaliseWorkflow(w))
	}
	return tree
}

func replace(tree *Node, key string, old, updated *Node) *Node {
	if old == updated {
		return tree
	}
	return tree.With(key, updated)
}

func normaliseAgent(a *Node) *Node {
	if s := a.Get("strategy"); s != nil && s.Kind == String {
		a = a.With("strategy", mappingAt(s.Pos, "type", s))
	}
	if t := a.Get("tools"); t != nil && t.Kind == Sequence {
		a = a.With("tools", mappingAt(t.Pos, "include", t))
	}
	if m := a.Get("model"); m != nil && m.Kind == String {
		a = a.With("model", mappingAt(m.Pos, "name", m).With("provider", &Node{Kind: String, Value: "default", Pos: m.Pos}))
	}
	if !a.Has("defaults") {
		a = a.With("defaults", NewMapping())
	}
	return a
}

func mappingAt(pos Pos, key string, value *Node) *Node {
	return &Node{Kind: Mapping, Pos: pos, Entries: []Entry{{Key: key, KeyKind: String, KeyPos: pos, Value: value}}}
}

func normaliseWorkflow(w *Node) *Node {
	switch w.Get("type").Text() {
	case WorkflowSequential:
		steps := w.Get("steps")
		if steps.IsNull() {
			return w.With("steps", &Node{Kind: Sequence, Pos: w.Pos})
		}
		return replace(w, "steps", steps, normaliseSteps(steps))
	case WorkflowGraph:
		if !w.Has("max_steps") {
			return w.With("max_steps", NewInt(defaultMaxSteps))
		}
	}
	return w
}

func normaliseSteps(steps *Node) *Node {
	if steps.Kind != Sequence {
		return steps
	}
	out := steps
	for i, s := range steps.Items {
		if s.Kind != String {
			continue
		}
		if out == steps {
			out = &Node{Kind: Sequence, Pos: steps.Pos, Items: append([]*Node(nil), steps.Items...)}
		}
		out.Items[i] = mappingAt(s.Pos, "id", s).
			With("kind", &Node{Kind: String, Value: StepAgent, Pos: s.Pos}).With("ref", s)
	}
	return out
}

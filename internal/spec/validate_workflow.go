package spec

import (
	"slices"
	"strings"
)

func at(prefix, list string, i int) string { return prefix + "." + list + "[" + itoa(i) + "]" }

// workflowRefs is the first pass: ids, references, fallbacks, starts, turns.
func (v *validator) workflowRefs(w *Workflow, path, name string) {
	switch w.Type {
	case WorkflowSequential:
		v.sequentialRefs(w, path, name)
	case WorkflowGraph:
		v.graphRefs(w, path, name)
	default:
		v.participantRefs(w, path, name)
	}
}

func (v *validator) sequentialRefs(w *Workflow, path, name string) {
	last := make(map[string]*Step, len(w.Steps))
	for _, s := range w.Steps {
		last[s.ID] = s
	}
	seen := make(map[string]bool, len(w.Steps))
	for i, s := range w.Steps {
		if seen[s.ID] {
			v.fail("E_STEP_DUPLICATE_ID", "Step id '"+s.ID+"' is duplicated.",
				finding{path: at(path, "steps", i) + ".id", owner: s.Node, key: "id"})
		}
		seen[s.ID] = true
		if s.OnError == OnErrorFallback || s.FallbackRef != "" {
			v.stepFallback(s, last, at(path, "steps", i)+".fallback_ref")
		}
		v.stepRef(s, name, func() string { return at(path, "steps", i) })
	}
}

func (v *validator) stepFallback(s *Step, steps map[string]*Step, path string) {
	where := finding{path: path, owner: s.Node, key: "fallback_ref"}
	head := "Step '" + s.ID + "' fallback_ref '" + s.FallbackRef + "' is "
	target := steps[s.FallbackRef]
	switch {
	case s.FallbackRef == "":
		v.fail("E_STEP_FALLBACK_REF", "Step '"+s.ID+"' uses on_error=fallback but has no fallback_ref.", where)
	case target == nil:
		v.fail("E_STEP_FALLBACK_UNKNOWN", head+"not a step in this workflow.", where)
	case target.Kind == StepHuman:
		v.fail("E_STEP_FALLBACK_HUMAN", head+
			"a human step — fallbacks cannot pause for human input; keep human steps in the main chain.", where)
	case !target.Enabled:
		v.warn("W_STEP_FALLBACK_DISABLED", head+
			"disabled: the fallback stays unresolved and the step degrades to on_error=fail.", where)
	}
}

// stepRef checks what a step refers to; path is built only for a finding.
func (v *validator) stepRef(s *Step, workflow string, path func() string) {
	c := &v.doc.Components
	missing := func(code, kind, bucket string) {
		v.fail(code, kind+" component '"+s.Ref+"' is referenced but not defined.",
			finding{path: path() + ".ref", suggestion: "Add it under components." + bucket + ".", owner: s.Node, key: "ref"})
	}
	switch s.Kind {
	case StepAgent:
		if !c.Agents.Has(s.Ref) {
			missing("E_STEP_AGENT_REF", "Agent", "agents")
		}
	case StepFunction:
		if !c.Functions.Has(s.Ref) {
			missing("E_STEP_FUNCTION_REF", "Function", "functions")
		}
	case StepHuman:
		if !c.Humans.Has(s.Ref) {
			missing("E_STEP_HUMAN_REF", "Human", "humans")
		}
	case StepWorkflow:
		if !c.Workflows.Has(s.Ref) {
			missing("E_STEP_WORKFLOW_REF", "Workflow", "workflows")
		}
		v.nestedWorkflow(s, workflow, path)
	}
}

func (v *validator) nestedWorkflow(s *Step, workflow string, path func() string) {
	if workflow != "" && s.Ref == workflow {
		v.fail("E_STEP_WORKFLOW_SELF_REF", "Workflow component '"+workflow+"' references itself.",
			finding{path: path() + ".ref", owner: s.Node, key: "ref"})
	}
	if s.Enabled && v.humanInside[s.Ref] {
		v.fail("E_STEP_WORKFLOW_NESTED_HUMAN", "Workflow step references component workflow '"+s.Ref+
			"', which contains a human-approval step. A human step inside a nested kind=workflow step cannot pause the run, "+
			"so its unapproved output would flow downstream as if completed.",
			finding{
				path: path() + ".ref", owner: s.Node, key: "ref",
				suggestion: "Declare the human step in the top-level workflow rather than inside a kind=workflow component.",
			})
	}
}

func (v *validator) graphRefs(w *Workflow, path, name string) {
	for i := range w.Nodes.Len() {
		key, s := w.Nodes.At(i)
		node := func() string { return path + ".nodes." + key }
		if s.ID != key {
			v.warn("W_GRAPH_NODE_ID_MISMATCH", "Graph node key '"+key+"' differs from step id '"+s.ID+"'.",
				finding{path: node() + ".id", owner: s.Node, key: "id"})
		}
		if s.OnError == OnErrorFallback || s.FallbackRef != "" {
			v.nodeFallback(w, key, s, node()+".fallback_ref")
		}
		v.stepRef(s, name, node)
	}
	v.graphStart(w, path)
}

func (v *validator) nodeFallback(w *Workflow, key string, s *Step, path string) {
	where := finding{path: path, owner: s.Node, key: "fallback_ref"}
	head := "Node '" + key + "' fallback_ref '" + s.FallbackRef + "' is "
	if s.FallbackRef == "" {
		v.fail("E_GRAPH_NODE_FALLBACK_REF", "Node '"+key+"' uses on_error=fallback but has no fallback_ref.", where)
		return
	}
	target, ok := w.Nodes.Get(s.FallbackRef)
	if !ok {
		v.fail("E_GRAPH_NODE_FALLBACK_UNKNOWN", head+"not a graph node.", where)
		return
	}
	if !target.Enabled {
		v.fail("E_GRAPH_NODE_FALLBACK_DISABLED", head+
			"a disabled node — it is dropped at build, so the fallback cannot execute.", where)
	}
	if target.Kind == StepHuman {
		v.fail("E_GRAPH_FALLBACK_HUMAN", head+
			"a human node — fallbacks cannot pause for human input; keep human nodes on the main graph path.", where)
	}
}

func (v *validator) graphStart(w *Workflow, path string) {
	where := finding{path: path + ".start", owner: w.Node, key: "start"}
	start, ok := w.Nodes.Get(w.Start)
	switch {
	case !ok:
		v.fail("E_GRAPH_START_UNKNOWN", "Graph start node '"+w.Start+"' is not defined among the graph nodes.", where)
	case !start.Enabled:
		v.fail("E_GRAPH_START_DISABLED", "Graph start node '"+w.Start+
			"' is disabled — it is dropped at build, so the workflow has no entry point.", where)
	default:
		v.unreachable(w, path)
	}
}

func (v *validator) unreachable(w *Workflow, path string) {
	enabled := func(key string) bool {
		s, ok := w.Nodes.Get(key)
		return ok && s.Enabled
	}
	next := make(map[string][]string, w.Nodes.Len())
	for _, e := range w.Edges {
		next[e.From] = append(next[e.From], e.To)
	}
	reached := map[string]bool{w.Start: true}
	queue := []string{w.Start}
	for len(queue) > 0 {
		key := queue[0]
		queue = queue[1:]
		targets := next[key]
		if s, _ := w.Nodes.Get(key); s.FallbackRef != "" {
			targets = append(slices.Clip(targets), s.FallbackRef)
		}
		for _, to := range targets {
			if !reached[to] && enabled(to) {
				reached[to] = true
				queue = append(queue, to)
			}
		}
	}
	var lost []string
	for _, key := range w.Nodes.Keys() {
		if !reached[key] && enabled(key) {
			lost = append(lost, key)
		}
	}
	slices.Sort(lost)
	for _, key := range lost {
		s, _ := w.Nodes.Get(key)
		v.warn("W_GRAPH_NODE_UNREACHABLE", "Node '"+key+"' is unreachable from start '"+w.Start+
			"' over enabled nodes — a disabled upstream node orphans its subgraph.",
			finding{path: path + ".nodes." + key, owner: s.Node})
	}
}

func (v *validator) participantRefs(w *Workflow, path, name string) {
	seen := make(map[string]bool, len(w.Participants))
	var humans []string
	for i, s := range w.Participants {
		if seen[s.ID] {
			v.fail("E_PARTICIPANT_DUPLICATE_ID", "Participant id '"+s.ID+"' is duplicated.",
				finding{path: at(path, "participants", i) + ".id", owner: s.Node, key: "id"})
		}
		seen[s.ID] = true
		v.stepRef(s, name, func() string { return at(path, "participants", i) })
		if s.OnError == OnErrorFallback || s.FallbackRef != "" {
			v.fail("E_PARTICIPANT_FALLBACK_UNSUPPORTED", "Participant '"+s.ID+
				"' declares a fallback (on_error=fallback / fallback_ref), but participant fallback is not honored in "+
				"concurrent / handoff / group-chat workflows — it would be silently ignored.",
				finding{
					path: at(path, "participants", i) + ".fallback_ref", owner: s.Node, key: "fallback_ref",
					suggestion: "Remove the participant fallback, or use a sequential / graph workflow where fallback is enforced.",
				})
		}
		if s.Enabled && s.Kind == StepHuman {
			humans = append(humans, s.ID)
		}
	}
	v.turns(w, path, seen, humans)
}

func (v *validator) turns(w *Workflow, path string, ids map[string]bool, humans []string) {
	switch w.Type {
	case WorkflowConcurrent:
		if len(humans) > 1 {
			v.fail("E_ORCHESTRATION_MULTI_HUMAN_UNSUPPORTED", "A concurrent workflow has more than one human participant ("+
				strings.Join(humans, ", ")+"), but a concurrent fan-out can pause on only one human gate per round. "+
				"Keep at most one human participant, or use a handoff/group-chat/sequential workflow.",
				finding{path: path + ".participants", owner: w.Node, key: "participants"})
		}
	case WorkflowHandoff:
		sequence := w.Node.At("selector", "sequence")
		for i, id := range w.Selector.Sequence {
			if !ids[id] {
				v.fail("E_HANDOFF_SELECTOR_REF", "Handoff selector references unknown participant '"+id+"'.",
					finding{path: at(path, "selector.sequence", i), owner: sequence.Items[i]})
			}
		}
	case WorkflowGroupChat:
		if w.Rounds < 1 {
			v.fail("E_GROUP_CHAT_ROUNDS", "Group-chat rounds must be at least 1.",
				finding{path: path + ".rounds", owner: w.Node, key: "rounds"})
		}
	}
}

// graphShape is the fifth pass: limits, start, edges and their conditions.
func (v *validator) graphShape(w *Workflow, path, _ string) {
	if w.Type != WorkflowGraph {
		return
	}
	if w.MaxSteps < 1 {
		v.fail("E_GRAPH_MAX_STEPS", "Graph max_steps must be at least 1.",
			finding{path: path + ".max_steps", owner: w.Node, key: "max_steps"})
	}
	if !w.Nodes.Has(w.Start) {
		v.fail("E_GRAPH_START", "Graph start node '"+w.Start+"' is not defined.",
			finding{path: path + ".start", owner: w.Node, key: "start"})
	}
	for i, e := range w.Edges {
		if !w.Nodes.Has(e.From) {
			v.fail("E_GRAPH_EDGE_FROM", "Graph edge source '"+e.From+"' is not defined.",
				finding{path: at(path, "edges", i), owner: e.Node, key: "from"})
		}
		if !w.Nodes.Has(e.To) {
			v.fail("E_GRAPH_EDGE_TO", "Graph edge target '"+e.To+"' is not defined.",
				finding{path: at(path, "edges", i), owner: e.Node, key: "to"})
		}
		if e.Condition != nil {
			v.condition(e.Condition, at(path, "edges", i)+".condition")
		}
	}
}

func (v *validator) condition(c *Condition, path string) {
	head := "Condition '" + c.Type + "' requires "
	if (c.Type == ConditionMetadataEquals || c.Type == ConditionVariableEquals) && c.Key == "" {
		v.fail("E_CONDITION_KEY", head+"key.", finding{path: path + ".key", owner: c.Node, key: "key"})
	}
	switch c.Type {
	case ConditionOutputContains, ConditionOutputEquals, ConditionStatusIs, ConditionMetadataEquals, ConditionVariableEquals:
		if c.Value == nil {
			v.fail("E_CONDITION_VALUE", head+"value.", finding{path: path + ".value", owner: c.Node, key: "value"})
		}
	case ConditionAllOf, ConditionAnyOf:
		if len(c.Conditions) == 0 {
			v.fail("E_CONDITION_CHILDREN", head+"at least one child condition.",
				finding{path: path + ".conditions", owner: c.Node, key: "conditions"})
		}
	case ConditionNot:
		if c.Condition == nil {
			v.fail("E_CONDITION_CHILD", head+"condition.", finding{path: path + ".condition", owner: c.Node, key: "condition"})
		}
	}
	for j, child := range c.Conditions {
		v.condition(child, at(path, "conditions", j))
	}
	if c.Condition != nil {
		v.condition(c.Condition, path+".condition")
	}
}

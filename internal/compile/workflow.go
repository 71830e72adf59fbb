package compile

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

// shapes are the names of workflow kinds in messages that clients know.
var shapes = map[string]string{
	spec.WorkflowSequential: "SequentialWorkflow", spec.WorkflowGraph: "GraphWorkflow", spec.WorkflowConcurrent: "ConcurrentWorkflow",
	spec.WorkflowHandoff: "HandoffWorkflow", spec.WorkflowGroupChat: "GroupChatWorkflow",
}

func (b *builder) workflow(w *spec.Workflow, path string) *plan.Workflow {
	out := &plan.Workflow{
		Name: w.DisplayName(), Description: w.Description, Kind: plan.Kind(w.Type), Steps: b.steps(w, path),
		MaxIterations: wide(w.MaxIterations),
	}
	if len(out.Steps) == 0 {
		b.report(CodeEmptyWorkflow, w.Node, path, "Enable at least one step.", "%s requires at least one participant.", shapes[w.Type])
		return out
	}
	switch w.Type {
	case spec.WorkflowGraph:
		out.Start, out.MaxSteps = w.Start, int64(w.MaxSteps)
		out.Edges = b.edges(w, out, path)
		if !hasStep(out, w.Start) {
			b.report(CodeRef, firstOf(w.Node.Get("start"), w.Node), path+".start", "", "Graph start node '%s' is not an enabled node.", w.Start)
		}
	case spec.WorkflowHandoff:
		b.handoff(w, out, path)
	case spec.WorkflowGroupChat:
		out.Rounds = int64(w.Rounds)
	}
	return out
}

// steps returns the enabled steps; the id of a graph node is its key.
func (b *builder) steps(w *spec.Workflow, path string) []plan.Step {
	var out []plan.Step
	add := func(s *spec.Step, id, at string) {
		if s.Enabled {
			out = append(out, b.step(s, id, at))
		}
	}
	switch w.Type {
	case spec.WorkflowGraph:
		for key, s := range w.Nodes.All() {
			add(s, key, path+".nodes."+key)
		}
	case spec.WorkflowSequential:
		for i, s := range w.Steps {
			add(s, named(s.ID, "step", i), fmt.Sprintf("%s.steps[%d]", path, i))
		}
	default:
		for i, s := range w.Participants {
			add(s, named(s.ID, "participant", i), fmt.Sprintf("%s.participants[%d]", path, i))
		}
	}
	for i := range out {
		unlinkFallback(&out[i], out)
	}
	return out
}

// named returns the id of a step; one with an empty id is called by its place.
func named(id, kind string, place int) string {
	if id == "" {
		return fmt.Sprintf("%s_%d", kind, place)
	}
	return id
}

// unlinkFallback turns a fallback to a step that is not there into on_error fail, which is what such a step does.
func unlinkFallback(s *plan.Step, all []plan.Step) {
	if s.Fallback != "" && !slices.ContainsFunc(all, func(o plan.Step) bool { return o.ID == s.Fallback }) {
		s.Fallback = ""
	}
	if s.OnError == spec.OnErrorFallback && s.Fallback == "" {
		s.OnError = spec.OnErrorFail
	}
}

func (b *builder) step(s *spec.Step, id, path string) plan.Step {
	var known bool
	bucket := s.Kind + "s"
	switch s.Kind {
	case spec.StepAgent, spec.StepGuardrail:
		bucket = bucketAgents
		known = b.doc.Components.Agents.Has(s.Ref)
	case spec.StepFunction:
		if known = b.doc.Components.Functions.Has(s.Ref); known {
			b.use(s.Ref, handler.Function)
		}
	case spec.StepWorkflow:
		known = b.doc.Components.Workflows.Has(s.Ref)
	case spec.StepHuman:
		known = b.doc.Components.Humans.Has(s.Ref)
	}
	if !known {
		b.report(CodeRef, firstOf(s.Node.Get("ref"), s.Node), path+".ref", "Add it under components."+bucket+".",
			"Unknown component reference: %s", s.Ref)
	}
	return plan.Step{
		ID: id, Kind: plan.StepKind(s.Kind), Ref: s.Ref, OnError: s.OnError, Fallback: s.FallbackRef,
		MaxRetries: int64(s.MaxRetries), TimeoutSeconds: wide(s.TimeoutSeconds),
	}
}

func hasStep(w *plan.Workflow, id string) bool {
	return slices.ContainsFunc(w.Steps, func(s plan.Step) bool { return s.ID == id })
}

// edges drops the edges that touch a disabled node.
func (b *builder) edges(w *spec.Workflow, out *plan.Workflow, path string) []plan.Edge {
	var edges []plan.Edge
	for i, e := range w.Edges {
		if !hasStep(out, e.From) || !hasStep(out, e.To) {
			continue
		}
		edges = append(edges, plan.Edge{
			From: e.From, To: e.To, Label: e.Label, Condition: b.condition(e.Condition, fmt.Sprintf("%s.edges[%d].condition", path, i)),
		})
	}
	return edges
}

func (b *builder) condition(c *spec.Condition, path string) *plan.Condition {
	if c == nil {
		return nil
	}
	out := &plan.Condition{Type: c.Type, Key: c.Key, CaseSensitive: c.CaseSensitive, Condition: b.condition(c.Condition, path+".condition")}
	if c.Value != nil {
		out.Value = json.RawMessage(c.Value.JSON())
	}
	switch c.Type {
	case spec.ConditionOutputContains, spec.ConditionOutputEquals:
		if !c.Value.IsNull() && c.Value.Kind != spec.String {
			b.report(CodeCondition, c.Value, path+".value", "Quote the value.", "Condition '%s' compares text; its value is a %s.", c.Type, c.Value.Kind)
		}
	}
	for i, child := range c.Conditions {
		if sub := b.condition(child, fmt.Sprintf("%s.conditions[%d]", path, i)); sub != nil {
			out.Conditions = append(out.Conditions, *sub)
		}
	}
	return out
}

// handoff keeps the enabled part of a declared sequence. A sequence of which nothing is left has no turns, and is refused.
func (b *builder) handoff(w *spec.Workflow, out *plan.Workflow, path string) {
	out.Selector = w.Selector.Type
	if out.Selector != spec.SelectorSequence {
		return
	}
	for _, id := range w.Selector.Sequence {
		if hasStep(out, id) {
			out.Sequence = append(out.Sequence, id)
		}
	}
	if len(w.Selector.Sequence) > 0 && len(out.Sequence) == 0 {
		b.report(CodeEmptyWorkflow, firstOf(w.Node.Get("selector"), w.Node), path+".selector.sequence", "Enable at least one participant of the sequence.",
			"%s requires at least one participant.", shapes[w.Type])
	}
}

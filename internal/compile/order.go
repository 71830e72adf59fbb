package compile

import (
	"maps"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

// agentOrder lists the component agents in build order.
func agentOrder(doc *spec.Document) []string {
	order, _ := spec.BuildOrder(doc)
	var out []string
	for _, c := range order {
		if c.Kind == spec.StepAgent {
			out = append(out, c.Name)
		}
	}
	return out
}

// cycles reports a component that reaches itself. Validation follows tools, skills and steps only; an agent that checks or summarises
// itself would never end either, so guardrails and memory count here.
func (b *builder) cycles(p *plan.Plan) {
	w := walk{plan: p, done: map[string]bool{}}
	found := w.all("agent", slices.Sorted(maps.Keys(p.Agents)))
	if found == nil {
		found = w.all("workflow", slices.Sorted(maps.Keys(p.Workflows)))
	}
	if found == nil {
		return
	}
	b.report(CodeCycle, b.doc.Root.Get("components"), "components", "Break the cycle so no component (transitively) depends on itself.",
		"Component dependency cycle: %s.", strings.Join(found, " -> "))
}

// walk is a depth-first search over the components of a plan, named "kind:name".
type walk struct {
	plan *plan.Plan
	path []string
	done map[string]bool
}

func (w *walk) all(kind string, names []string) []string {
	for _, name := range names {
		if found := w.visit(kind + ":" + name); found != nil {
			return found
		}
	}
	return nil
}

// visit returns a cycle, its first component repeated at the end, or nil.
func (w *walk) visit(id string) []string {
	if i := slices.Index(w.path, id); i >= 0 {
		return append(slices.Clone(w.path[i:]), id)
	}
	if w.done[id] {
		return nil
	}
	w.path = append(w.path, id)
	for _, need := range w.needs(id) {
		if found := w.visit(need); found != nil {
			return found
		}
	}
	w.path = w.path[:len(w.path)-1]
	w.done[id] = true
	return nil
}

func (w *walk) needs(id string) []string {
	kind, name, _ := strings.Cut(id, ":")
	var out []string
	switch kind {
	case "agent":
		if a := w.plan.Agents[name]; a != nil {
			out = agentNeeds(a)
		}
	case "tool":
		if t := w.plan.Tools[name]; t != nil && t.Agent != "" {
			out = append(out, "agent:"+t.Agent)
		}
	case "workflow":
		if f := w.plan.Workflows[name]; f != nil {
			for _, s := range f.Steps {
				out = append(out, stepNeed(s))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func agentNeeds(a *plan.Agent) []string {
	var out []string
	for _, t := range a.Include {
		out = append(out, "tool:"+t)
	}
	if a.AsAgent != "" {
		out = append(out, "workflow:"+a.AsAgent)
	}
	for _, g := range slices.Concat(a.Input, a.Output, a.ToolResult) {
		if g.Ref != nil {
			out = append(out, strings.TrimSuffix(g.Ref.Bucket, "s")+":"+g.Ref.Name)
		}
	}
	if a.Memory != nil && a.Memory.Summarizer != nil {
		out = append(out, strings.TrimSuffix(a.Memory.Summarizer.Bucket, "s")+":"+a.Memory.Summarizer.Name)
	}
	return out
}

func stepNeed(s plan.Step) string {
	if s.Kind == plan.StepGuardrail {
		return "agent:" + s.Ref
	}
	return string(s.Kind) + ":" + s.Ref
}

package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

// part is a component, tool or skill as a node of the dependency graph.
type part struct{ kind, name string }

func (p part) String() string { return p.kind + ":" + p.name }

func compareParts(a, b part) int {
	return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
}

// dependencies is the graph of spec-language.md §7.2: what each part needs to be built first. The root agent and workflow are outside.
type dependencies struct {
	nodes []part
	needs map[part][]part
}

func newOrder(doc *spec.Document) *dependencies {
	d := &dependencies{needs: map[part][]part{}}
	for _, keys := range []struct {
		kind  string
		names []string
	}{
		{"agent", doc.Components.Agents.Keys()}, {"function", doc.Components.Functions.Keys()},
		{"human", doc.Components.Humans.Keys()}, {"skill", doc.Skills.Keys()}, {"tool", doc.Tools.Keys()},
		{"workflow", doc.Components.Workflows.Keys()},
	} {
		for _, name := range keys.names {
			n := part{keys.kind, name}
			d.nodes = append(d.nodes, n)
			d.needs[n] = nil
		}
	}
	slices.SortFunc(d.nodes, compareParts)
	for name, a := range doc.Components.Agents.All() {
		self := part{"agent", name}
		if a.Tools != nil {
			for _, t := range a.Tools.Include {
				d.add(self, part{"tool", t})
			}
		}
		for _, s := range a.Skills {
			d.add(self, part{"skill", s})
		}
		d.add(self, part{"workflow", a.AsAgent})
	}
	for name, t := range doc.Tools.All() {
		d.add(part{"tool", name}, part{"agent", t.Agent})
	}
	for name, w := range doc.Components.Workflows.All() {
		for _, s := range w.AllSteps() {
			kind := s.Kind
			if kind == spec.StepGuardrail {
				kind = spec.StepAgent
			}
			if s.Enabled {
				d.add(part{"workflow", name}, part{kind, s.Ref})
			}
		}
	}
	return d
}

// add records a need; a part that is not declared adds nothing.
func (d *dependencies) add(from, to part) {
	if _, ok := d.needs[to]; ok && !slices.Contains(d.needs[from], to) {
		d.needs[from] = append(d.needs[from], to)
	}
}

// emit runs Kahn's algorithm with a first-in, first-out queue that starts with the free parts in sorted order.
func (d *dependencies) emit() []part {
	open := make(map[part]int, len(d.nodes))
	dependents := make(map[part][]part, len(d.nodes))
	var queue []part
	for _, n := range d.nodes {
		open[n] = len(d.needs[n])
		if open[n] == 0 {
			queue = append(queue, n)
		}
		for _, need := range d.needs[n] {
			dependents[need] = append(dependents[need], n)
		}
	}
	for i := 0; i < len(queue); i++ {
		// The parts were visited in sorted order, so every list of dependents is sorted.
		for _, n := range dependents[queue[i]] {
			if open[n]--; open[n] == 0 {
				queue = append(queue, n)
			}
		}
	}
	return queue
}

func (d *dependencies) agents() []string {
	var out []string
	for _, n := range d.emit() {
		if n.kind == spec.StepAgent {
			out = append(out, n.name)
		}
	}
	return out
}

// cycle returns the first cycle, its first part repeated at the end, or nil.
func (d *dependencies) cycle() []part {
	emitted := d.emit()
	if len(emitted) == len(d.nodes) {
		return nil
	}
	done := make(map[part]bool, len(d.nodes))
	for _, n := range emitted {
		done[n] = true
	}
	var path []part
	var walk func(n part) []part
	walk = func(n part) []part {
		if i := slices.Index(path, n); i >= 0 {
			return append(slices.Clone(path[i:]), n)
		}
		if done[n] {
			return nil
		}
		path = append(path, n)
		needs := slices.SortedFunc(slices.Values(d.needs[n]), compareParts)
		for _, need := range needs {
			if found := walk(need); found != nil {
				return found
			}
		}
		path = path[:len(path)-1]
		done[n] = true
		return nil
	}
	for _, n := range d.nodes {
		if found := walk(n); found != nil {
			return found
		}
	}
	return nil
}

// cycles reports a component that reaches itself. Validation looks at tools, skills and steps only; a guardrail or summarizer agent that
// checks itself would never end either.
func (b *builder) cycles(d *dependencies, p *plan.Plan) {
	for name, a := range p.Agents {
		self := part{"agent", name}
		for _, list := range [][]plan.Guardrail{a.Input, a.Output, a.ToolResult} {
			for _, g := range list {
				d.addRef(self, g.Ref)
			}
		}
		if a.Memory != nil {
			d.addRef(self, a.Memory.Summarizer)
		}
	}
	found := d.cycle()
	if found == nil {
		return
	}
	text := make([]string, len(found))
	for i, n := range found {
		text[i] = n.String()
	}
	at := b.doc.Root.Get("components")
	b.report(CodeCycle, at, "components", "Break the cycle so no component (transitively) depends on itself.",
		"Component dependency cycle: %s.", strings.Join(text, " -> "))
}

func (d *dependencies) addRef(from part, ref *plan.Ref) {
	if ref != nil {
		d.add(from, part{strings.TrimSuffix(ref.Bucket, "s"), ref.Name})
	}
}

package spec

import (
	"cmp"
	"slices"
	"strings"
)

// Component names a part of a document by kind (agent, function, human, skill,
// tool, workflow) and name.
type Component struct {
	Kind string
	Name string
}

// String renders the component as kind:name.
func (c Component) String() string { return c.Kind + ":" + c.Name }

func compareComponents(a, b Component) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
}

// BuildOrder lists the components so that each one follows everything it
// needs. When that is impossible the cycle, from a component back to itself,
// is returned and the order holds what lies outside of it.
func BuildOrder(d *Document) (order, cycle []Component) {
	needs, users := dependencies(d)
	nodes := make([]Component, 0, len(needs))
	missing := make(map[Component]int, len(needs))
	for c, list := range needs {
		nodes = append(nodes, c)
		missing[c] = len(list)
	}
	slices.SortFunc(nodes, compareComponents)
	for _, c := range nodes {
		if missing[c] == 0 {
			order = append(order, c)
		}
	}
	for i := 0; i < len(order); i++ {
		list := users[order[i]]
		slices.SortFunc(list, compareComponents)
		for _, user := range list {
			if missing[user]--; missing[user] == 0 {
				order = append(order, user)
			}
		}
	}
	if len(order) == len(nodes) {
		return order, nil
	}
	for _, c := range nodes {
		if missing[c] > 0 {
			return order, findCycle(c, needs, missing)
		}
	}
	return order, nil
}

// findCycle walks the unmet needs from one component. Every component that
// could not be ordered has one, so the walk must come back to itself.
func findCycle(from Component, needs map[Component][]Component, missing map[Component]int) []Component {
	const onPath, done = 1, 2
	state := map[Component]int{}
	var path []Component
	var visit func(c Component) []Component
	visit = func(c Component) []Component {
		state[c] = onPath
		path = append(path, c)
		list := needs[c]
		slices.SortFunc(list, compareComponents)
		for _, n := range list {
			if missing[n] == 0 {
				continue
			}
			if state[n] == onPath {
				return append(slices.Clone(path[slices.Index(path, n):]), n)
			}
			if state[n] != done {
				if cycle := visit(n); cycle != nil {
					return cycle
				}
			}
		}
		path = path[:len(path)-1]
		state[c] = done
		return nil
	}
	return visit(from)
}

// dependencies returns, for each component, the declared components it needs
// and those that need it, each pair once.
func dependencies(d *Document) (needs, users map[Component][]Component) {
	needs, users = map[Component][]Component{}, map[Component][]Component{}
	declare := func(kind string, names []string) {
		for _, n := range names {
			needs[Component{kind, n}] = nil
		}
	}
	declare("agent", d.Components.Agents.Keys())
	declare("workflow", d.Components.Workflows.Keys())
	declare("function", d.Components.Functions.Keys())
	declare("human", d.Components.Humans.Keys())
	declare("tool", d.Tools.Keys())
	declare("skill", d.Skills.Keys())
	type pair struct{ from, to Component }
	linked := map[pair]bool{}
	link := func(from, to Component) {
		if _, ok := needs[to]; !ok || linked[pair{from, to}] {
			return
		}
		linked[pair{from, to}] = true
		needs[from] = append(needs[from], to)
		users[to] = append(users[to], from)
	}
	for name, a := range d.Components.Agents.All() {
		linkAgent(a, func(kind, to string) { link(Component{"agent", name}, Component{kind, to}) })
	}
	for name, t := range d.Tools.All() {
		if t.Agent != "" {
			link(Component{"tool", name}, Component{"agent", t.Agent})
		}
	}
	for name, w := range d.Components.Workflows.All() {
		for _, s := range w.AllSteps() {
			if kind := s.Kind; s.Enabled {
				if kind == StepGuardrail {
					kind = StepAgent
				}
				link(Component{"workflow", name}, Component{kind, s.Ref})
			}
		}
	}
	return needs, users
}

func linkAgent(a *Agent, link func(kind, to string)) {
	if a.Tools != nil {
		for _, t := range a.Tools.Include {
			link("tool", t)
		}
	}
	for _, s := range a.Skills {
		link("skill", s)
	}
	if a.AsAgent != "" {
		link("workflow", a.AsAgent)
	}
}

func (v *validator) buildOrder() {
	_, cycle := BuildOrder(v.doc)
	if cycle == nil {
		return
	}
	names := make([]string, len(cycle))
	for i, c := range cycle {
		names[i] = c.String()
	}
	v.fail("E_BUILD_CYCLE", "Component dependency cycle: "+strings.Join(names, " -> ")+".", finding{
		path: "components", owner: v.doc.Root, key: "components",
		suggestion: "Break the cycle so no component (transitively) depends on itself.",
	})
}

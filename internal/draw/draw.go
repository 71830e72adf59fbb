// Package draw draws the graph of a workflow as Mermaid, DOT, SVG or terminal text, with the visited and the current step marked. The same
// input gives the same bytes. It imports internal/plan only.
package draw

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
)

// Format names a kind of drawing.
type Format string

// Formats.
const (
	Mermaid  Format = "mermaid"
	DOT      Format = "dot"
	SVG      Format = "svg"
	Terminal Format = "text"
)

// Formats lists all formats.
func Formats() []Format { return []Format{Terminal, Mermaid, DOT, SVG} }

// Options steer a drawing.
type Options struct {
	// Current is the id of the step where a run is, or empty.
	Current string
	// Visited are the ids of the steps that ran.
	Visited []string
	// Color allows escape sequences in terminal text.
	Color bool
}

// Draw draws a picture. An unknown format is an error.
func Draw(f Format, p Picture, o Options) (string, error) {
	p.mark(o)
	switch f {
	case Mermaid:
		return mermaid(p), nil
	case DOT:
		return dot(p), nil
	case SVG:
		return svg(p), nil
	case Terminal:
		return terminal(p, o.Color), nil
	}
	return "", fmt.Errorf("unknown graph format %q", f)
}

// Node is one box.
type Node struct {
	ID string
	// Label is what the box says.
	Label string
	// Kind is the kind of step, or start or end.
	Kind    string
	visited bool
	current bool
}

// Edge is one arrow.
type Edge struct {
	From, To string
	Label    string
	// Dashed arrows are fallbacks.
	Dashed bool
}

// Picture is a graph to draw. Build it with NewPicture, or by hand from a graph answer of the API.
type Picture struct {
	Title string
	Nodes []Node
	Edges []Edge
}

const (
	kindStart = "start"
	kindEnd   = "end"
	startID   = "__start"
	endID     = "__end"
)

// NewPicture lays out the root workflow of a plan; a plan without a workflow is one box, the root agent.
func NewPicture(p *plan.Plan) Picture {
	if p.Workflow == nil {
		return Picture{Title: p.Root.Name, Nodes: []Node{{ID: p.Root.Name, Label: p.Root.Name, Kind: string(plan.StepAgent)}}}
	}
	w := p.Workflow
	pic := Picture{Title: w.Name}
	for _, s := range w.Steps {
		pic.Nodes = append(pic.Nodes, Node{ID: s.ID, Label: s.ID, Kind: string(s.Kind)})
	}
	switch w.Kind {
	case plan.Graph:
		pic.Edges = append(pic.Edges, Edge{From: startID, To: w.Start})
		for _, e := range w.Edges {
			pic.Edges = append(pic.Edges, Edge{From: e.From, To: e.To, Label: edgeLabel(e)})
		}
	case plan.Concurrent:
		for _, s := range w.Steps {
			pic.Edges = append(pic.Edges, Edge{From: startID, To: s.ID}, Edge{From: s.ID, To: endID})
		}
	case plan.Handoff:
		pic.chain(turns(w))
	default:
		pic.chain(ids(w))
		if w.Kind == plan.GroupChat && w.Rounds > 1 && len(w.Steps) > 0 {
			pic.Edges = append(pic.Edges, Edge{From: w.Steps[len(w.Steps)-1].ID, To: w.Steps[0].ID, Label: fmt.Sprintf("%d rounds", w.Rounds)})
		}
	}
	for _, s := range w.Steps {
		if s.Fallback != "" {
			pic.Edges = append(pic.Edges, Edge{From: s.ID, To: s.Fallback, Label: "on error", Dashed: true})
		}
	}
	return pic.ends()
}

func ids(w *plan.Workflow) []string {
	out := make([]string, len(w.Steps))
	for i, s := range w.Steps {
		out[i] = s.ID
	}
	return out
}

// turns is the order of a handoff.
func turns(w *plan.Workflow) []string {
	out := ids(w)
	if w.Selector == "sequence" && len(w.Sequence) > 0 {
		out = slices.Clone(w.Sequence)
	}
	if w.MaxIterations != nil && *w.MaxIterations >= 0 && *w.MaxIterations < int64(len(out)) {
		out = out[:*w.MaxIterations]
	}
	return out
}

func (p *Picture) chain(steps []string) {
	last := startID
	for _, id := range steps {
		p.Edges = append(p.Edges, Edge{From: last, To: id})
		last = id
	}
	p.Edges = append(p.Edges, Edge{From: last, To: endID})
}

// ends adds the boxes that arrows begin or end at and that are no steps.
func (p Picture) ends() Picture {
	uses := func(id string) bool {
		return slices.ContainsFunc(p.Edges, func(e Edge) bool { return e.From == id || e.To == id })
	}
	if uses(startID) {
		p.Nodes = slices.Insert(p.Nodes, 0, Node{ID: startID, Label: kindStart, Kind: kindStart})
	}
	if uses(endID) {
		p.Nodes = append(p.Nodes, Node{ID: endID, Label: kindEnd, Kind: kindEnd})
	}
	return p
}

func edgeLabel(e plan.Edge) string {
	switch {
	case e.Label != nil && *e.Label != "":
		return *e.Label
	case e.Condition != nil:
		return Condition(e.Condition)
	}
	return ""
}

// Condition renders a condition in a few words.
func Condition(c *plan.Condition) string {
	switch c.Type {
	case "output_contains":
		return "contains " + string(c.Value)
	case "output_equals":
		return "= " + string(c.Value)
	case "status_is":
		return "status " + strings.Trim(string(c.Value), `"`)
	case "metadata_equals", "variable_equals":
		return c.Key + " = " + string(c.Value)
	case "not":
		if c.Condition != nil {
			return "not (" + Condition(c.Condition) + ")"
		}
	case "all_of", "any_of":
		parts := make([]string, len(c.Conditions))
		for i := range c.Conditions {
			parts[i] = Condition(&c.Conditions[i])
		}
		word := " and "
		if c.Type == "any_of" {
			word = " or "
		}
		return strings.Join(parts, word)
	}
	return c.Type
}

func (p *Picture) mark(o Options) {
	p.Nodes = slices.Clone(p.Nodes)
	for i := range p.Nodes {
		n := &p.Nodes[i]
		n.visited = slices.Contains(o.Visited, n.ID)
		n.current = o.Current != "" && n.ID == o.Current
	}
}

// state is the class of a node in the drawings.
func (n *Node) state() string {
	switch {
	case n.current:
		return "current"
	case n.visited:
		return "visited"
	}
	return ""
}

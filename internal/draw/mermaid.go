package draw

import (
	"fmt"
	"strings"
)

// mermaid draws a flow chart. Nodes get short ids, so that any name is safe.
func mermaid(p Picture) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	name := numbering(p)
	for i := range p.Nodes {
		n := &p.Nodes[i]
		open, shut := mermaidShape(n.Kind)
		fmt.Fprintf(&b, "  %s%s\"%s\"%s", name[n.ID], open, strings.ReplaceAll(mermaidText(n.caption("\v")), "\v", "<br/>"), shut)
		if s := n.state(); s != "" {
			b.WriteString(":::" + s)
		}
		b.WriteByte('\n')
	}
	for _, e := range p.Edges {
		from, to := name[e.From], name[e.To]
		if from == "" || to == "" {
			continue
		}
		arrow := "-->"
		if e.Dashed {
			arrow = "-.->"
		}
		if e.Label != "" {
			arrow += "|\"" + mermaidText(e.Label) + "\"|"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", from, arrow, to)
	}
	b.WriteString("  classDef visited fill:#d9f2df,stroke:#2e8b57\n  classDef current fill:#fff1c2,stroke:#c98a00,stroke-width:3px\n")
	return b.String()
}

func mermaidShape(kind string) (open, shut string) {
	switch kind {
	case kindStart, kindEnd:
		return "([", "])"
	case "human":
		return "{{", "}}"
	case "workflow":
		return "[[", "]]"
	case "function":
		return "[/", "/]"
	}
	return "[", "]"
}

func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ", "\r", " ", "`", "#96;").Replace(s)
}

// numbering gives every node a plain id.
func numbering(p Picture) map[string]string {
	out := make(map[string]string, len(p.Nodes))
	for i := range p.Nodes {
		out[p.Nodes[i].ID] = fmt.Sprintf("n%d", i)
	}
	return out
}

// caption is the label with the kind of the step below it.
func (n *Node) caption(newline string) string {
	switch n.Kind {
	case "", kindStart, kindEnd:
		return n.Label
	}
	return n.Label + newline + "(" + n.Kind + ")"
}

// dot draws a Graphviz digraph.
func dot(p Picture) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];\n", dotText(p.Title))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		fmt.Fprintf(&b, "  %s [label=%s", dotText(n.ID), dotText(n.caption("\n")))
		switch n.Kind {
		case kindStart, kindEnd:
			b.WriteString(", shape=oval")
		case "human":
			b.WriteString(", shape=hexagon")
		case "workflow":
			b.WriteString(", shape=box3d")
		}
		switch n.state() {
		case "current":
			b.WriteString(`, fillcolor="#fff1c2", color="#c98a00", penwidth=3`)
		case "visited":
			b.WriteString(`, fillcolor="#d9f2df", color="#2e8b57"`)
		}
		b.WriteString("];\n")
	}
	for _, e := range p.Edges {
		fmt.Fprintf(&b, "  %s -> %s", dotText(e.From), dotText(e.To))
		var attributes []string
		if e.Label != "" {
			attributes = append(attributes, "label="+dotText(e.Label))
		}
		if e.Dashed {
			attributes = append(attributes, "style=dashed")
		}
		if len(attributes) > 0 {
			b.WriteString(" [" + strings.Join(attributes, ", ") + "]")
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", "").Replace(s) + `"`
}

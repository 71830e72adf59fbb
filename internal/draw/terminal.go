package draw

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// marks of the steps in a terminal drawing.
const (
	markPlain   = "○"
	markVisited = "●"
	markCurrent = "▶"
)

// terminal draws one line per node in the order of the layers, followed by its arrows.
func terminal(p Picture, color bool) string {
	var b strings.Builder
	b.WriteString(clean(p.Title))
	b.WriteByte('\n')
	wide := 0
	for i := range p.Nodes {
		wide = max(wide, utf8.RuneCountInString(p.Nodes[i].Label))
	}
	wide = min(wide, maxText)
	for _, row := range layers(p) {
		for _, i := range row {
			n := &p.Nodes[i]
			if n.Kind == kindStart || n.Kind == kindEnd {
				continue
			}
			line := fmt.Sprintf("%s %-*s  %s", n.glyph(), wide, clean(shorten(n.Label)), n.Kind)
			b.WriteString(paint(strings.TrimRight(line, " "), n, color))
			b.WriteByte('\n')
			arrows(&b, p, n.ID)
		}
	}
	return b.String()
}

func arrows(b *strings.Builder, p Picture, id string) {
	var out []Edge
	for _, e := range p.Edges {
		if e.From == id && e.To != endID {
			out = append(out, e)
		}
	}
	for i, e := range out {
		branch, line := "├", "─"
		if i == len(out)-1 {
			branch = "└"
		}
		if e.Dashed {
			line = "┄"
		}
		fmt.Fprintf(b, "  %s%s▸ %s", branch, line, clean(shorten(e.To)))
		if e.Label != "" {
			fmt.Fprintf(b, "  [%s]", clean(shorten(e.Label)))
		}
		b.WriteByte('\n')
	}
}

func (n *Node) glyph() string {
	switch n.state() {
	case "current":
		return markCurrent
	case "visited":
		return markVisited
	}
	return markPlain
}

func paint(s string, n *Node, color bool) string {
	if !color {
		return s
	}
	switch n.state() {
	case "current":
		return "\x1b[1;33m" + s + "\x1b[0m"
	case "visited":
		return "\x1b[32m" + s + "\x1b[0m"
	}
	return s
}

// clean keeps names from a spec from steering the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

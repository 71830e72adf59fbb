package draw

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

const (
	boxHeight  = 44
	gapX, gapY = 40, 56
	margin     = 24
	charWidth  = 8
	minWidth   = 96
	maxText    = 48
)

type box struct{ x, y, w int }

// svg draws layers of boxes from top to bottom; arrows that go back run along the right side.
func svg(p Picture) string {
	boxes, width, height := place(p)
	index := make(map[string]int, len(p.Nodes))
	for i := range p.Nodes {
		index[p.Nodes[i].ID] = i
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(clean(p.Title)))
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>` + "\n")
	lane := 0
	for _, e := range p.Edges {
		from, okFrom := index[e.From]
		to, okTo := index[e.To]
		if !okFrom || !okTo {
			continue
		}
		if boxes[to].y <= boxes[from].y {
			lane++
		}
		svgEdge(&b, boxes[from], boxes[to], e, width-margin-lane*6)
	}
	for i := range p.Nodes {
		svgNode(&b, &p.Nodes[i], boxes[i])
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func place(p Picture) (boxes []box, width, height int) {
	boxes = make([]box, len(p.Nodes))
	rows := layers(p)
	widths := make([]int, len(rows))
	for r, row := range rows {
		for _, n := range row {
			boxes[n].w = max(minWidth, min(utf8.RuneCountInString(p.Nodes[n].Label), maxText)*charWidth+24)
			widths[r] += boxes[n].w + gapX
		}
		width = max(width, widths[r]-gapX)
	}
	back := 0
	for _, e := range p.Edges {
		if e.From != startID && e.To != endID {
			back++
		}
	}
	for r, row := range rows {
		x := margin + (width-(widths[r]-gapX))/2
		for _, n := range row {
			boxes[n].x, boxes[n].y = x, margin+r*(boxHeight+gapY)
			x += boxes[n].w + gapX
		}
	}
	return boxes, width + 2*margin + min(back, 20)*6 + 40, 2*margin + len(rows)*(boxHeight+gapY) - gapY
}

func svgNode(b *strings.Builder, n *Node, at box) {
	fill, stroke, line := "#ffffff", "#555555", 1
	switch n.state() {
	case "current":
		fill, stroke, line = "#fff1c2", "#c98a00", 3
	case "visited":
		fill, stroke = "#d9f2df", "#2e8b57"
	}
	radius := 6
	if n.Kind == kindStart || n.Kind == kindEnd {
		radius = boxHeight / 2
	}
	fmt.Fprintf(b, `<g data-id="%s" data-state="%s"><rect x="%d" y="%d" width="%d" height="%d" rx="%d" fill="%s" stroke="%s" stroke-width="%d"/>`,
		html.EscapeString(clean(n.ID)), n.state(), at.x, at.y, at.w, boxHeight, radius, fill, stroke, line)
	text := func(y int, size, s string) {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle"%s>%s</text>`, at.x+at.w/2, at.y+y, size, html.EscapeString(clean(shorten(s))))
	}
	if n.Kind == kindStart || n.Kind == kindEnd || n.Kind == "" {
		text(boxHeight/2+5, "", n.Label)
	} else {
		text(20, "", n.Label)
		text(36, ` font-size="10" fill="#666"`, n.Kind)
	}
	b.WriteString("</g>\n")
}

func svgEdge(b *strings.Builder, from, to box, e Edge, side int) {
	dash := ""
	if e.Dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	x1, y1 := from.x+from.w/2, from.y+boxHeight
	x2, y2 := to.x+to.w/2, to.y
	labelX, labelY := (x1+x2)/2+4, (y1+y2)/2
	path := fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+gapY/2, x2, y2-gapY/2, x2, y2)
	if to.y <= from.y {
		x1, y1, x2, y2 = from.x+from.w, from.y+boxHeight/2, to.x+to.w, to.y+boxHeight/2
		path = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, side, y1, side, y2, x2, y2)
		labelX, labelY = max(x1, x2)+6, (y1+y2)/2
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="#555"%s marker-end="url(#arrow)"/>`, path, dash)
	if e.Label != "" {
		fmt.Fprintf(b, `<text x="%d" y="%d" font-size="11" fill="#333">%s</text>`, labelX, labelY, html.EscapeString(clean(shorten(e.Label))))
	}
	b.WriteByte('\n')
}

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxText {
		return s
	}
	return string([]rune(s)[:maxText-1]) + "…"
}

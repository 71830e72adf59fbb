package term

import (
	"slices"
	"strings"

	"golang.org/x/text/width"
)

// minColumn is the narrowest a column is squeezed to.
const minColumn = 6

// Table is a titled grid. Cells are cut to one paragraph and wrapped at the width of their column.
type Table struct {
	Title   string
	Headers []string
	Rows    [][]string
	// Keep are columns that are never squeezed, for ids that people copy.
	Keep []int
	// Style, when not nil, colours a cell.
	Style func(row, column int) Style
}

// Table writes t.
func (s *Screen) Table(t Table) {
	widths := s.columns(t)
	if t.Title != "" {
		s.Println(s.Paint(Bold, t.Title))
	}
	s.rule(widths, "┌", "┬", "┐")
	s.row(t.Headers, widths, func(int) Style { return Bold })
	s.rule(widths, "├", "┼", "┤")
	for i, r := range t.Rows {
		s.row(r, widths, func(column int) Style {
			if t.Style == nil {
				return ""
			}
			return t.Style(i, column)
		})
	}
	s.rule(widths, "└", "┴", "┘")
}

func (s *Screen) columns(t Table) []int {
	widths := make([]int, len(t.Headers))
	for i, h := range t.Headers {
		widths[i] = Width(h)
	}
	for _, r := range t.Rows {
		for i := range widths {
			for line := range strings.SplitSeq(cell(r, i), "\n") {
				widths[i] = max(widths[i], Width(line))
			}
		}
	}
	room := s.width - 3*len(widths) - 1
	for total(widths) > room {
		widest := -1
		for i, w := range widths {
			if !slices.Contains(t.Keep, i) && w > minColumn && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

func total(widths []int) int {
	n := 0
	for _, w := range widths {
		n += w
	}
	return n
}

func (s *Screen) rule(widths []int, left, middle, right string) {
	parts := make([]string, len(widths))
	for i, w := range widths {
		parts[i] = strings.Repeat("─", w+2)
	}
	s.Println(s.Paint(Dim, left+strings.Join(parts, middle)+right))
}

func (s *Screen) row(cells []string, widths []int, style func(int) Style) {
	lines := make([][]string, len(widths))
	height := 1
	for i, w := range widths {
		lines[i] = Wrap(cell(cells, i), w)
		height = max(height, len(lines[i]))
	}
	bar := s.Paint(Dim, "│")
	for n := range height {
		var b strings.Builder
		b.WriteString(bar)
		for i, w := range widths {
			text := ""
			if n < len(lines[i]) {
				text = lines[i][n]
			}
			pad := strings.Repeat(" ", max(0, w-Width(text)))
			if st := style(i); st != "" {
				text = s.Paint(st, text)
			}
			b.WriteString(" " + text + pad + " " + bar)
		}
		s.Println(b.String())
	}
}

func cell(r []string, i int) string {
	if i >= len(r) {
		return ""
	}
	return Clean(strings.ReplaceAll(r[i], "\t", " "))
}

// Width is the number of columns that text takes.
func Width(text string) int {
	n := 0
	for _, r := range text {
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// Wrap breaks text into lines of at most w columns, at blanks where there are any.
func Wrap(text string, w int) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		out = append(out, wrapLine(line, max(w, 2))...)
	}
	return out
}

func wrapLine(line string, w int) []string {
	var out []string
	for Width(line) > w {
		cut, blank, n := 0, -1, 0
		for i, r := range line {
			n += Width(string(r))
			if n > w {
				break
			}
			cut = i + len(string(r))
			if r == ' ' {
				blank = i
			}
		}
		if blank > 0 && cut < len(line) && line[cut] != ' ' {
			cut = blank
		}
		out = append(out, strings.TrimRight(line[:cut], " "))
		line = strings.TrimLeft(line[cut:], " ")
	}
	return append(out, line)
}

// Panel writes lines in a titled frame.
func (s *Screen) Panel(title string, lines []string) {
	inner := Width(title) + 2
	var body []string
	room := max(s.width-4, minColumn)
	for _, l := range lines {
		for _, part := range Wrap(Clean(l), room) {
			inner = max(inner, Width(part))
			body = append(body, part)
		}
	}
	inner = min(max(inner, Width(title)+2), max(room, Width(title)+2))
	head := "╭─ " + title + " "
	s.Println(s.Paint(Dim, "╭─ ") + s.Paint(Bold, title) + s.Paint(Dim, " "+strings.Repeat("─", max(0, inner+3-Width(head)))+"╮"))
	for _, l := range body {
		s.Println(s.Paint(Dim, "│") + " " + l + strings.Repeat(" ", max(0, inner-Width(l))) + " " + s.Paint(Dim, "│"))
	}
	s.Println(s.Paint(Dim, "╰"+strings.Repeat("─", inner+2)+"╯"))
}

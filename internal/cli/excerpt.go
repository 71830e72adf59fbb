package cli

import (
	"fmt"
	"strconv"
	"strings"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/spec"
)

// specError is a spec that does not build, with where it is wrong.
type specError struct {
	found spec.Diagnostics
	e     *project.Effective
}

// Error returns one line per finding.
func (e *specError) Error() string { return strings.TrimRight(e.found.Text(), "\n") }

// fromProto reads the findings of an answer.
func fromProto(list []*kneov1.Diagnostic) spec.Diagnostics {
	out := make(spec.Diagnostics, 0, len(list))
	for _, d := range list {
		out = append(out, spec.Diagnostic{
			Code: d.GetCode(), Severity: spec.Severity(d.GetSeverity()), Message: d.GetMessage(), Path: d.GetPath(), Suggestion: d.GetSuggestion(),
		})
	}
	return out
}

// toProto writes findings as an answer has them.
func toProto(found spec.Diagnostics) []*kneov1.Diagnostic {
	out := make([]*kneov1.Diagnostic, 0, len(found))
	for _, d := range found {
		p := &kneov1.Diagnostic{Code: d.Code, Severity: string(d.Severity), Message: d.Message, Path: optional(d.Path), Suggestion: optional(d.Suggestion)}
		if d.Line > 0 {
			p.Line, p.Column = narrow(d.Line), narrow(d.Column)
		}
		out = append(out, p)
	}
	return out
}

func narrow(n int) *int32 {
	v := int32(min(n, 1<<31-1)) //nolint:gosec // bounded
	return &v
}

// located gives findings the places of the values they are about, as far as the files tell.
func located(found spec.Diagnostics, e *project.Effective) spec.Diagnostics {
	out := make(spec.Diagnostics, len(found))
	for i, d := range found {
		if d.Line == 0 {
			if n := lookup(e.Tree, d.Path); n != nil && n.Line > 0 {
				d.File, d.Line, d.Column = n.File, n.Line, n.Column
			}
		}
		out[i] = d
	}
	return out
}

// lookup finds the value at a dotted path, or the nearest value above it.
func lookup(n *spec.Node, path string) *spec.Node {
	best := n
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		var next *spec.Node
		if i, err := strconv.Atoi(part); err == nil && n.Len() > i && i >= 0 && n.Kind == spec.Sequence {
			next = n.Items[i]
		} else {
			next = n.Get(part)
		}
		if next == nil {
			return best
		}
		n = next
		if n.Line > 0 {
			best = n
		}
	}
	return best
}

// diagnostics prints findings with the lines they are about.
func (s *shell) diagnostics(w *term.Screen, found spec.Diagnostics, e *project.Effective) {
	for _, d := range located(found, e) {
		style := severityStyle(d.Severity)
		w.Println(w.Paint(style, strings.ToUpper(string(d.Severity))+" "+d.Code+":") + " " + term.Clean(strings.ReplaceAll(d.Message, "\n", "\n  ")))
		if d.Path != "" {
			w.Println("  " + w.Paint(term.Dim, "at "+d.Path))
		}
		if len(d.Violations) == 0 {
			s.excerpt(w, style, spec.Pos{File: d.File, Line: d.Line, Column: d.Column}, e)
		}
		for _, v := range d.Violations {
			s.excerpt(w, style, v.Pos, e)
		}
		if d.Suggestion != "" {
			w.Println("  " + w.Paint(term.Cyan, "help:") + " " + term.Clean(d.Suggestion))
		}
	}
}

func severityStyle(severity spec.Severity) term.Style {
	switch severity {
	case spec.SeverityError:
		return term.Red
	case spec.SeverityWarning:
		return term.Yellow
	}
	return term.Blue
}

// excerpt prints a line of a file with carets under the value.
func (s *shell) excerpt(w *term.Screen, style term.Style, at spec.Pos, e *project.Effective) {
	source, ok := e.Sources[at.File]
	lines := strings.Split(string(source), "\n")
	if !ok || at.Line < 1 || at.Line > len(lines) {
		return
	}
	line := strings.ReplaceAll(strings.TrimRight(lines[at.Line-1], "\r"), "\t", " ")
	begin := []rune(line)
	column := min(max(at.Column, 1), len(begin)+1)
	marked := strings.Repeat("^", max(1, valueLength(begin[column-1:])))
	gutter := strconv.Itoa(at.Line)
	bar := w.Paint(term.Dim, strings.Repeat(" ", len(gutter))+" |")
	w.Println(fmt.Sprintf("  %s %s:%d:%d", w.Paint(term.Dim, "-->"), at.File, at.Line, column))
	w.Println("  " + bar)
	w.Println("  " + w.Paint(term.Dim, gutter+" |") + " " + term.Clean(line))
	w.Println("  " + bar + " " + strings.Repeat(" ", term.Width(string(begin[:column-1]))) + w.Paint(style, marked))
}

// valueLength is how far a value reaches on its line.
func valueLength(rest []rune) int {
	if len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'') {
		for i := 1; i < len(rest); i++ {
			if rest[i] == rest[0] {
				return i + 1
			}
		}
	}
	for i, r := range rest {
		if strings.ContainsRune(" ,]}#:", r) {
			return i
		}
	}
	return len(rest)
}

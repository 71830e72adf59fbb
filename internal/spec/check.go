package spec

import (
	"strings"
)

// CodeSchema is the one diagnostic that lists every structural problem.
const CodeSchema = "E_SCHEMA"

const (
	schemaSuggestion = "Check required fields, enum values, and object shapes."
	// maxListed bounds the problems that one diagnostic spells out.
	maxListed = 50
)

// Violation is one structural problem of a spec.
type Violation struct {
	// Location is the dotted place, list positions as numbers, workflow types
	// as a part of their own: workflow.sequential.steps.0.kind.
	Location string
	Reason   string
	Pos      Pos
}

type checker struct {
	found []Violation
	total int
	path  []string
}

// checkSchema holds the tree against the language and returns nil or the one
// E_SCHEMA diagnostic.
func checkSchema(tree *Node) *Diagnostic {
	c := checker{path: make([]string, 0, 16)}
	c.block(tree, language.blocks["Spec"], Pos{})
	if c.total == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(itoa(c.total))
	b.WriteString(plural(c.total, " problem", " problems"))
	b.WriteString(" in the spec")
	for _, v := range c.found {
		b.WriteString("\n  ")
		b.WriteString(v.Location)
		b.WriteString(": ")
		b.WriteString(v.Reason)
		if v.Pos.Line > 0 {
			b.WriteString(" (line " + itoa(v.Pos.Line) + ", column " + itoa(v.Pos.Column) + ")")
		}
	}
	if c.total > len(c.found) {
		b.WriteString("\n  and " + itoa(c.total-len(c.found)) + " more")
	}
	first := c.found[0].Pos
	return &Diagnostic{
		Code: CodeSchema, Severity: SeverityError, Message: b.String(), Suggestion: schemaSuggestion,
		File: first.File, Line: first.Line, Column: first.Column, Violations: c.found,
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func (c *checker) enter(part string) { c.path = append(c.path, part) }
func (c *checker) leave()            { c.path = c.path[:len(c.path)-1] }

func (c *checker) report(pos Pos, reason string) {
	c.total++
	if len(c.found) >= maxListed {
		return
	}
	location := strings.Join(c.path, ".")
	if location == "" {
		location = "the spec"
	}
	c.found = append(c.found, Violation{Location: location, Reason: reason, Pos: pos})
}

func (c *checker) expected(n *Node, what string) {
	found := n.Kind.String()
	switch n.Kind {
	case String:
		found = "the string " + quote(n.Value)
	case Bool, Int, Float, Timestamp:
		found += " " + n.Value
	}
	c.report(n.Pos, "expected "+what+", found "+found)
}

// quote shortens a value for a message.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		cut := most
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		s = s[:cut] + "…"
	}
	return "'" + s + "'"
}

func (c *checker) block(n *Node, b *block, at Pos) {
	if n.Kind != Mapping {
		c.expected(n, "a mapping")
		return
	}
	if n.Line > 0 {
		at = n.Pos
	}
	var seen uint32
	for i := range n.Entries {
		e := &n.Entries[i]
		c.enter(e.Key)
		f := -1
		if e.KeyKind == String {
			if j, ok := b.index[e.Key]; ok {
				f = j
			}
		}
		switch {
		case f < 0:
			c.unknown(e, b)
		case seen&(1<<f) != 0:
			c.report(e.KeyPos, "the field is given twice under two spellings")
		default:
			seen |= 1 << f
			c.value(e.Value, &b.fields[f], e.KeyPos)
		}
		c.leave()
	}
	for i := range b.fields {
		if f := &b.fields[i]; f.required && seen&(1<<i) == 0 {
			c.enter(f.name)
			c.report(at, "the field is required")
			c.leave()
		}
	}
}

func (c *checker) unknown(e *Entry, b *block) {
	if e.KeyKind != String {
		c.report(e.KeyPos, "a key must be a string, found "+e.KeyKind.String()+" "+e.Key)
		return
	}
	names := make([]string, 0, len(b.fields))
	for i := range b.fields {
		names = append(names, b.fields[i].name)
	}
	reason := "unknown field"
	if near := Nearest(e.Key, names); near != "" {
		reason += "; did you mean '" + near + "'?"
	}
	c.report(e.KeyPos, reason)
}

func (c *checker) value(n *Node, f *field, at Pos) {
	if n.Kind == Null {
		if f.nullable {
			return
		}
		if n.Line > 0 {
			at = n.Pos
		}
		c.report(at, "null is not allowed here, expected "+f.expectation())
		return
	}
	switch f.shape {
	case shapeAny:
	case shapeBlock:
		c.block(n, language.blocks[f.block], at)
	case shapeBlocks:
		if n.Kind != Sequence {
			c.expected(n, f.expectation())
			return
		}
		for i, item := range n.Items {
			c.enter(itoa(i))
			c.block(item, language.blocks[f.block], at)
			c.leave()
		}
	case shapeWorkflow:
		c.workflow(n, at)
	case shapeBlockMap, shapeWorkflowMap, shapeTextMap, shapeMap:
		c.mapping(n, f)
	case shapeTexts:
		c.texts(n, f)
	default:
		c.scalar(n, f)
	}
}

func (c *checker) mapping(n *Node, f *field) {
	if n.Kind != Mapping {
		c.expected(n, f.expectation())
		return
	}
	for i := range n.Entries {
		e := &n.Entries[i]
		c.enter(e.Key)
		switch {
		case e.KeyKind != String:
			c.report(e.KeyPos, "a key must be a string, found "+e.KeyKind.String()+" "+e.Key)
		case f.shape == shapeBlockMap:
			c.block(e.Value, language.blocks[f.block], e.KeyPos)
		case f.shape == shapeWorkflowMap:
			c.workflow(e.Value, e.KeyPos)
		case f.shape == shapeTextMap:
			if e.Value.Kind != String {
				c.expected(e.Value, "a string")
			}
		}
		c.leave()
	}
}

func (c *checker) texts(n *Node, f *field) {
	if n.Kind != Sequence {
		c.expected(n, f.expectation())
		return
	}
	for i, item := range n.Items {
		switch {
		case item.Kind != String:
			c.enter(itoa(i))
			c.expected(item, "a string")
			c.leave()
		case f.enum != nil && !contains(f.enum, item.Value):
			c.enter(itoa(i))
			c.oneOf(item, f.enum)
			c.leave()
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func (c *checker) oneOf(n *Node, enum []string) {
	reason := "expected one of " + strings.Join(enum, ", ")
	if len(enum) == 1 {
		reason = "expected " + enum[0]
	}
	if n.Kind != String {
		c.report(n.Pos, reason+", found "+n.Kind.String())
		return
	}
	reason += ", found " + quote(n.Value)
	if near := Nearest(n.Value, enum); near != "" {
		reason += "; did you mean '" + near + "'?"
	}
	c.report(n.Pos, reason)
}

func (c *checker) scalar(n *Node, f *field) {
	switch f.shape {
	case shapeText:
		if n.Kind != String {
			c.expected(n, "a string")
		} else if f.path != "" {
			c.confined(n, f.path)
		}
	case shapeEnum:
		if n.Kind != String || !contains(f.enum, n.Value) {
			c.oneOf(n, f.enum)
		}
	case shapeInt:
		if v, ok := n.AsInt(); !ok {
			c.expected(n, "an integer")
		} else if f.positive && v <= 0 {
			c.report(n.Pos, "expected an integer above 0, found "+n.Value)
		}
	case shapeFloat:
		if _, ok := n.AsFloat(); !ok {
			c.expected(n, "a number")
		}
	case shapeBool:
		if _, ok := n.AsBool(); !ok {
			c.expected(n, "true or false")
		}
	}
}

func (c *checker) confined(n *Node, label string) {
	switch {
	case strings.HasPrefix(n.Value, "~"):
		c.report(n.Pos, label+" must not use '~' home-directory expansion.")
	case HasParentSegment(n.Value):
		c.report(n.Pos, label+" must not contain parent-directory ('..') segments.")
	}
}

// HasParentSegment reports whether a path, with separators of any system, has
// a ".." segment.
func HasParentSegment(path string) bool {
	for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return true
		}
	}
	return false
}

func (c *checker) workflow(n *Node, at Pos) {
	if n.Kind != Mapping {
		c.expected(n, "a workflow mapping")
		return
	}
	kind := n.Get("type")
	if kind == nil {
		if n.Line > 0 {
			at = n.Pos
		}
		c.report(at, "the field type is required: one of "+strings.Join(language.types, ", "))
		return
	}
	b := language.workflows[kind.Text()]
	if b == nil {
		c.enter("type")
		c.oneOf(kind, language.types)
		c.leave()
		return
	}
	c.enter(kind.Value)
	c.block(n, b, at)
	c.leave()
}

// expectation says what a field wants.
func (f *field) expectation() string {
	switch f.shape {
	case shapeText:
		return "a string"
	case shapeInt:
		return "an integer"
	case shapeFloat:
		return "a number"
	case shapeBool:
		return "true or false"
	case shapeEnum:
		return "one of " + strings.Join(f.enum, ", ")
	case shapeTexts:
		return "a list of strings"
	case shapeTextMap:
		return "a mapping of strings"
	case shapeBlocks:
		return "a list of mappings"
	case shapeBlockMap, shapeWorkflowMap:
		return "a mapping of names"
	default:
		return "a mapping"
	}
}

// Nearest returns the name most like the given one, or "" when none is close.
func Nearest(name string, names []string) string {
	best, bestAt := "", max(1, len(name)/3)+1
	for _, candidate := range names {
		if d := editDistance(name, candidate, bestAt); d < bestAt {
			best, bestAt = candidate, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours; it returns limit when there are at least that many.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 200 || len(b) > 200 {
		return limit
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return min(prev[len(b)], limit)
}

package spec

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Parse reads one YAML document (JSON is read as YAML) with YAML 1.1 scalar
// rules into a positioned tree. An empty document gives a nil node. Repeated
// keys are warnings; unreadable text and text beyond the limits is a
// *SyntaxError.
func Parse(name string, data []byte, limits Limits) (*Node, Diagnostics, error) {
	limits = limits.withDefaults()
	if err := checkText(name, data, limits); err != nil {
		return nil, nil, err
	}
	doc, err := oneDocument(name, data, limits)
	if err != nil || doc == nil {
		return nil, nil, err
	}
	c := yamlConverter{file: name, limits: limits}
	root := doc
	if root.Kind == yaml.DocumentNode {
		if len(root.Content) == 0 {
			return nil, nil, nil
		}
		root = root.Content[0]
	}
	node, _, err := c.convert(root, "", 0)
	if err != nil {
		return nil, nil, err
	}
	if node.Kind == Null && root.Value == "" {
		return nil, nil, nil
	}
	return node, c.found, nil
}

// oneDocument returns the only document of the text, or nil when there is none.
func oneDocument(name string, data []byte, limits Limits) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV4Defaults(), yaml.WithUniqueKeys(false),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(limits.Depth))))
	if err != nil {
		return nil, yamlSyntax(name, err)
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlSyntax(name, err)
	}
	switch err := loader.Load(&more); {
	case errors.Is(err, io.EOF):
		return &doc, nil
	case err != nil:
		return nil, yamlSyntax(name, err)
	default:
		pos := Pos{File: name, Line: more.Line, Column: more.Column}
		return nil, &SyntaxError{Message: "The file holds more than one YAML document.", Pos: pos}
	}
}

func checkText(name string, data []byte, limits Limits) error {
	if len(data) > limits.Bytes {
		return &SyntaxError{Message: "The spec is larger than " + itoa(limits.Bytes) + " bytes.", Pos: Pos{File: name}}
	}
	if !utf8.Valid(data) {
		return &SyntaxError{Message: "The spec is not valid UTF-8.", Pos: badEncodingAt(name, data)}
	}
	// Every value or pair of values needs one of these marks, so their number
	// bounds what the parser can be made to allocate before it is refused.
	marks := 0
	for i, b := range data {
		switch b {
		case ',', '\n', '\r', '[', '{':
			marks++
		case '-', '?':
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t') {
				marks++
			}
		}
	}
	if marks > limits.Nodes+limits.Nodes/2 {
		return &SyntaxError{Message: "The spec has more than " + itoa(limits.Nodes) + " values.", Pos: Pos{File: name}}
	}
	return nil
}

func badEncodingAt(name string, data []byte) Pos {
	pos := Pos{File: name, Line: 1, Column: 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			pos.Line, pos.Column = pos.Line+1, 0
		}
		pos.Column++
		data = data[size:]
	}
	return pos
}

func yamlSyntax(name string, err error) error {
	out := &SyntaxError{Message: "The spec is not readable YAML.", Pos: Pos{File: name}}
	var load *yaml.LoadError
	var loads *yaml.LoadErrors
	if errors.As(err, &loads) && len(loads.Errors) > 0 {
		load = loads.Errors[0]
	}
	if load != nil || errors.As(err, &load) {
		out.Message = "YAML: " + strings.TrimSuffix(load.Message, ".") + "."
		out.Pos.Line, out.Pos.Column = load.Mark.Line, load.Mark.Column
	}
	return out
}

type yamlConverter struct {
	file   string
	limits Limits
	// anchored holds the finished nodes that aliases share, with their size.
	anchored map[*yaml.Node]sized
	// open are the anchored nodes being converted; meeting one again is a cycle.
	open  map[*yaml.Node]bool
	found Diagnostics
}

type sized struct {
	node *Node
	size int
}

func (c *yamlConverter) fail(n *yaml.Node, message string) error {
	return &SyntaxError{Message: message, Pos: c.pos(n)}
}

func (c *yamlConverter) pos(n *yaml.Node) Pos {
	return Pos{File: c.file, Line: n.Line, Column: n.Column}
}

// convert returns the node and the number of values below it, aliases
// expanded, so that shared subtrees cannot multiply without bound.
func (c *yamlConverter) convert(n *yaml.Node, path string, depth int) (*Node, int, error) {
	if depth > c.limits.Depth {
		return nil, 0, c.fail(n, "The spec is nested deeper than "+itoa(c.limits.Depth)+" levels.")
	}
	if n.Kind == yaml.AliasNode {
		return c.alias(n, path, depth)
	}
	if n.Anchor == "" {
		return c.value(n, path, depth)
	}
	if done, ok := c.anchored[n]; ok {
		return done.node, done.size, nil
	}
	if c.open == nil {
		c.open, c.anchored = map[*yaml.Node]bool{}, map[*yaml.Node]sized{}
	}
	c.open[n] = true
	node, size, err := c.value(n, path, depth)
	if err != nil {
		return nil, 0, err
	}
	delete(c.open, n)
	c.anchored[n] = sized{node, size}
	return node, size, nil
}

func (c *yamlConverter) alias(n *yaml.Node, path string, depth int) (*Node, int, error) {
	target := n.Alias
	if target == nil || c.open[target] {
		return nil, 0, c.fail(n, "The alias *"+n.Value+" contains itself.")
	}
	if done, ok := c.anchored[target]; ok {
		return done.node, done.size, nil
	}
	return c.convert(target, path, depth)
}

func (c *yamlConverter) value(n *yaml.Node, path string, depth int) (*Node, int, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		node, err := c.scalar(n)
		return node, 1, err
	case yaml.SequenceNode:
		return c.sequence(n, path, depth)
	case yaml.MappingNode:
		return c.mapping(n, path, depth)
	default:
		return nil, 0, c.fail(n, "The spec holds something that is not a YAML value.")
	}
}

func (c *yamlConverter) sequence(n *yaml.Node, path string, depth int) (*Node, int, error) {
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!seq" {
		return nil, 0, c.fail(n, "The tag "+n.Tag+" is not supported.")
	}
	out := &Node{Kind: Sequence, Pos: c.pos(n), Items: make([]*Node, 0, len(n.Content))}
	total := 1
	for i, child := range n.Content {
		item, size, err := c.convert(child, path+"["+itoa(i)+"]", depth+1)
		if err != nil {
			return nil, 0, err
		}
		if total += size; total > c.limits.Nodes {
			return nil, 0, c.tooMany(child)
		}
		out.Items = append(out.Items, item)
	}
	return out, total, nil
}

func (c *yamlConverter) tooMany(n *yaml.Node) error {
	return c.fail(n, "The spec has more than "+itoa(c.limits.Nodes)+" values.")
}

func (c *yamlConverter) mapping(n *yaml.Node, path string, depth int) (*Node, int, error) {
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" {
		return nil, 0, c.fail(n, "The tag "+n.Tag+" is not supported.")
	}
	out := &Node{Kind: Mapping, Pos: c.pos(n), Entries: make([]Entry, 0, len(n.Content)/2)}
	own := keySet{}
	total := 1
	merged, err := c.merges(n, out, path, depth)
	if err != nil {
		return nil, 0, err
	}
	total += merged
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMergeKey(n.Content[i]) {
			continue
		}
		entry, err := c.key(n.Content[i])
		if err != nil {
			return nil, 0, err
		}
		below := joinPath(path, entry.Key)
		var size int
		if entry.Value, size, err = c.convert(n.Content[i+1], below, depth+1); err != nil {
			return nil, 0, err
		}
		if total += size + 1; total > c.limits.Nodes {
			return nil, 0, c.tooMany(n.Content[i])
		}
		if own.add(out, entry) {
			c.duplicate(entry, below)
		}
	}
	return out, total, nil
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (c *yamlConverter) duplicate(e Entry, path string) {
	if len(c.found) < c.limits.DuplicateKeys {
		c.found = append(c.found, duplicateKey(e, path))
	}
}

func duplicateKey(e Entry, path string) Diagnostic {
	return Diagnostic{
		Code: CodeDuplicateKey, Severity: SeverityWarning, Path: path,
		Message:    "The key '" + e.Key + "' is given more than once; the last value counts.",
		Suggestion: "Keep one of them.",
		File:       e.KeyPos.File, Line: e.KeyPos.Line, Column: e.KeyPos.Column,
	}
}

func isMergeKey(k *yaml.Node) bool {
	if k.Kind != yaml.ScalarNode {
		return false
	}
	if k.Style&yaml.TaggedStyle != 0 {
		return k.Tag == "!!merge"
	}
	return k.Value == "<<" && k.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// merges puts the entries of `<<` keys into out; the mapping's own keys then
// replace them in place. Of several merged mappings the first one wins.
func (c *yamlConverter) merges(n *yaml.Node, out *Node, path string, depth int) (int, error) {
	total := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMergeKey(n.Content[i]) {
			continue
		}
		value, size, err := c.convert(n.Content[i+1], path, depth+1)
		if err != nil {
			return 0, err
		}
		if total += size; total > c.limits.Nodes {
			return 0, c.tooMany(n.Content[i])
		}
		sources := []*Node{value}
		if value.Kind == Sequence {
			sources = value.Items
		}
		set := keySet{inherited: true}
		for j := len(sources) - 1; j >= 0; j-- {
			if sources[j].Kind != Mapping {
				return 0, c.fail(n.Content[i+1], "A merge key needs a mapping or a list of mappings.")
			}
			for _, e := range sources[j].Entries {
				set.add(out, e)
			}
		}
	}
	return total, nil
}

func (c *yamlConverter) key(k *yaml.Node) (Entry, error) {
	pos := c.pos(k)
	if k.Kind == yaml.AliasNode && k.Alias != nil {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode {
		return Entry{}, c.fail(k, "A mapping key must be a scalar.")
	}
	node, err := c.scalar(k)
	if err != nil {
		return Entry{}, err
	}
	text := node.Value
	if node.Kind == Null {
		text = "null"
	}
	return Entry{Key: text, KeyKind: node.Kind, KeyPos: pos}, nil
}

func (c *yamlConverter) scalar(n *yaml.Node) (*Node, error) {
	out := &Node{Kind: String, Value: n.Value, Pos: c.pos(n)}
	if n.Style&yaml.TaggedStyle != 0 {
		return c.tagged(n, out)
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return out, nil
	}
	out.Kind, out.Value = resolvePlain(n.Value)
	return out, nil
}

func (c *yamlConverter) tagged(n *yaml.Node, out *Node) (*Node, error) {
	var want Kind
	switch n.Tag {
	case "!!str", "!":
		return out, nil
	case "!!null":
		want = Null
	case "!!bool":
		want = Bool
	case "!!int":
		want = Int
	case "!!float":
		want = Float
	case "!!timestamp":
		want = Timestamp
	default:
		return nil, c.fail(n, "The tag "+n.Tag+" is not supported.")
	}
	out.Kind, out.Value = resolvePlain(n.Value)
	if want == Float && out.Kind == Int {
		if f, ok := out.AsFloat(); ok {
			out.Kind, out.Value = Float, formatFloat(f)
		}
	}
	if want == Null {
		out.Kind, out.Value = Null, ""
	}
	if out.Kind != want {
		return nil, c.fail(n, "The value does not fit its tag "+n.Tag+".")
	}
	return out, nil
}

// keySet finds repeated keys while a mapping grows; small mappings need no map.
type keySet struct {
	inherited bool
	index     map[keyID]int
	seen      map[keyID]bool
	first     int
	started   bool
}

type keyID struct {
	kind Kind
	text string
}

const smallMapping = 12

// add appends the entry or replaces the one with the same key in place. It
// reports whether this set had added the key before.
func (s *keySet) add(m *Node, e Entry) bool {
	if !s.started {
		s.started, s.first = true, len(m.Entries)
	}
	at := s.find(m, e)
	if at < 0 {
		if s.index != nil {
			s.index[keyID{e.KeyKind, e.Key}] = len(m.Entries)
		}
		m.Entries = append(m.Entries, e)
		return false
	}
	m.Entries[at] = e
	if s.inherited {
		return false
	}
	if at >= s.first {
		return true
	}
	id := keyID{e.KeyKind, e.Key}
	repeated := s.seen[id]
	if s.seen == nil {
		s.seen = map[keyID]bool{}
	}
	s.seen[id] = true
	return repeated
}

func (s *keySet) find(m *Node, e Entry) int {
	if len(m.Entries) < smallMapping {
		for i := range m.Entries {
			if m.Entries[i].Key == e.Key && m.Entries[i].KeyKind == e.KeyKind {
				return i
			}
		}
		return -1
	}
	if s.index == nil {
		s.index = make(map[keyID]int, 2*len(m.Entries))
		for i := range m.Entries {
			s.index[keyID{m.Entries[i].KeyKind, m.Entries[i].Key}] = i
		}
	}
	if i, ok := s.index[keyID{e.KeyKind, e.Key}]; ok {
		return i
	}
	return -1
}

// isBlank reports whether text holds nothing but white space.
func isBlank(data []byte) bool { return len(bytes.TrimSpace(data)) == 0 }

package spec

import (
	"math"
	"strconv"
	"strings"
)

// Kind says what a Node holds.
type Kind uint8

// The kinds of nodes. Timestamps exist because YAML 1.1 has dates; JSON has no
// form for them.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Timestamp
	Sequence
	Mapping
)

var kindNames = [...]string{"null", "boolean", "integer", "number", "string", "timestamp", "list", "mapping"}

// String names the kind as diagnostics do.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Pos is a place in a source file. Line and Column count from 1; zero means
// that the value did not come from text.
type Pos struct {
	File   string
	Line   int
	Column int
}

// Entry is one key of a mapping with its value. Key is the text of the key;
// KeyKind tells a string key from a number, boolean or null used as a key.
type Entry struct {
	Key     string
	KeyKind Kind
	KeyPos  Pos
	Value   *Node
}

// Node is one value of a spec with the place it came from. Nodes are treated
// as immutable once built: layering and normalising make new mappings and
// share the untouched subtrees.
type Node struct {
	Kind Kind
	// Value is the text of a scalar: a string itself, "true" or "false", an
	// integer in decimal digits, a float in canonical form, a timestamp as written.
	Value string
	// Entries are the keys of a Mapping in declaration order.
	Entries []Entry
	// Items are the elements of a Sequence.
	Items []*Node
	Pos
}

// NewMapping returns an empty mapping without a position.
func NewMapping() *Node { return &Node{Kind: Mapping} }

// NewSequence returns a sequence of the items.
func NewSequence(items ...*Node) *Node { return &Node{Kind: Sequence, Items: items} }

// NewString returns a string node.
func NewString(s string) *Node { return &Node{Kind: String, Value: s} }

// NewInt returns an integer node.
func NewInt(i int64) *Node { return &Node{Kind: Int, Value: strconv.FormatInt(i, 10)} }

// NewBool returns a boolean node.
func NewBool(b bool) *Node { return &Node{Kind: Bool, Value: strconv.FormatBool(b)} }

// IsNull reports whether the node is absent or null.
func (n *Node) IsNull() bool { return n == nil || n.Kind == Null }

// IsMapping reports whether the node is a mapping.
func (n *Node) IsMapping() bool { return n != nil && n.Kind == Mapping }

// Len returns the number of entries or items, and zero for scalars and nil.
func (n *Node) Len() int {
	if n == nil {
		return 0
	}
	return len(n.Entries) + len(n.Items)
}

// Get returns the value of a string key, or nil when there is none or the node
// is not a mapping.
func (n *Node) Get(key string) *Node {
	if i := n.index(key); i >= 0 {
		return n.Entries[i].Value
	}
	return nil
}

// Has reports whether a mapping has the key, null values included.
func (n *Node) Has(key string) bool { return n.index(key) >= 0 }

// At walks keys of nested mappings and returns nil as soon as one is missing.
func (n *Node) At(keys ...string) *Node {
	for _, k := range keys {
		if n = n.Get(k); n == nil {
			return nil
		}
	}
	return n
}

func (n *Node) index(key string) int {
	if n == nil || n.Kind != Mapping {
		return -1
	}
	for i := range n.Entries {
		if n.Entries[i].Key == key && n.Entries[i].KeyKind == String {
			return i
		}
	}
	return -1
}

// Text returns the string of a string node and "" for everything else.
func (n *Node) Text() string {
	if n == nil || n.Kind != String {
		return ""
	}
	return n.Value
}

// Truthy reports what a dynamic language would take for true: not null, not
// false, not zero, not empty.
func (n *Node) Truthy() bool {
	if n == nil {
		return false
	}
	switch n.Kind {
	case Null:
		return false
	case Bool:
		return n.Value == "true"
	case Int:
		return n.Value != "0"
	case Float:
		f, err := strconv.ParseFloat(n.Value, 64)
		return err != nil || f != 0
	case String:
		return n.Value != ""
	case Timestamp:
		return true
	default:
		return n.Len() > 0
	}
}

// AsInt reads an integer the lax way of the language: integers, floats without
// a fraction, numeric strings and booleans.
func (n *Node) AsInt() (int, bool) {
	if n == nil {
		return 0, false
	}
	switch n.Kind {
	case Bool:
		if n.Value == "true" {
			return 1, true
		}
		return 0, true
	case Int:
		i, err := strconv.Atoi(n.Value)
		return i, err == nil
	case Float:
		return wholeFloat(n.Value)
	case String:
		return intFromText(n.Value)
	default:
		return 0, false
	}
}

func wholeFloat(text string) (int, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int(f), true
}

func intFromText(text string) (int, bool) {
	s := strings.TrimSpace(text)
	if whole, frac, found := strings.Cut(s, "."); found && strings.Trim(frac, "0") == "" && whole != "" {
		s = whole
	}
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return 0, false
	}
	i, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	return i, err == nil
}

// AsFloat reads a number the lax way: integers, floats, numeric strings and
// booleans.
func (n *Node) AsFloat() (float64, bool) {
	if n == nil {
		return 0, false
	}
	switch n.Kind {
	case Bool:
		if n.Value == "true" {
			return 1, true
		}
		return 0, true
	case Int, Float:
		f, err := strconv.ParseFloat(n.Value, 64)
		return f, err == nil
	case String:
		s := strings.TrimSpace(n.Value)
		if strings.ContainsAny(s, "xXpP") {
			return 0, false
		}
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	default:
		return 0, false
	}
}

// AsBool reads a boolean the lax way: booleans, 0 and 1, and the usual words.
func (n *Node) AsBool() (value, ok bool) {
	if n == nil {
		return false, false
	}
	switch n.Kind {
	case Bool:
		return n.Value == "true", true
	case Int:
		return n.Value == "1", n.Value == "0" || n.Value == "1"
	case Float:
		f, err := strconv.ParseFloat(n.Value, 64)
		return f == 1, err == nil && (f == 0 || f == 1)
	case String:
		return boolFromText(n.Value)
	default:
		return false, false
	}
}

func boolFromText(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "t", "yes", "y", "on", "1":
		return true, true
	case "false", "f", "no", "n", "off", "0":
		return false, true
	default:
		return false, false
	}
}

// Any converts the node to plain Go values: nil, bool, int64 (float64 for
// integers beyond it), float64, string, []any and map[string]any. The
// order of keys is lost; use JSON to keep it.
func (n *Node) Any() any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case Null:
		return nil
	case Bool:
		return n.Value == "true"
	case Int:
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return i
		}
		f, _ := strconv.ParseFloat(n.Value, 64)
		return f
	case Float:
		f, _ := strconv.ParseFloat(n.Value, 64)
		return f
	case Sequence:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = item.Any()
		}
		return out
	case Mapping:
		out := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			out[e.Key] = e.Value.Any()
		}
		return out
	default:
		return n.Value
	}
}

// With returns a copy of a mapping in which key has the value; a new key goes
// to the end. The receiver is not changed.
func (n *Node) With(key string, value *Node) *Node {
	out := n.shallow()
	if i := out.index(key); i >= 0 {
		out.Entries[i].Value = value
		return out
	}
	out.Entries = append(out.Entries, Entry{Key: key, KeyKind: String, KeyPos: posOf(value), Value: value})
	return out
}

// Without returns a copy of a mapping that lacks the key.
func (n *Node) Without(key string) *Node {
	i := n.index(key)
	if i < 0 {
		return n
	}
	out := n.shallow()
	out.Entries = append(out.Entries[:i], out.Entries[i+1:]...)
	return out
}

func (n *Node) shallow() *Node {
	if n == nil {
		return NewMapping()
	}
	out := *n
	out.Entries = append(make([]Entry, 0, len(n.Entries)+1), n.Entries...)
	return &out
}

func posOf(n *Node) Pos {
	if n == nil {
		return Pos{}
	}
	return n.Pos
}

package spec

import (
	"slices"
	"strings"
)

// JSON renders the node as compact JSON in declaration order. Timestamps and
// the numbers that JSON lacks become strings.
func (n *Node) JSON() []byte { return n.AppendJSON(nil) }

// AppendJSON appends the compact JSON of the node, keys in declaration order.
func (n *Node) AppendJSON(b []byte) []byte { return appendNode(b, n, false) }

// Canonical renders the canonical form that digests and signatures are made
// of: keys sorted by code point at every level, no white space, no escapes but
// the necessary ones.
func (n *Node) Canonical() []byte { return appendNode(nil, n, true) }

func appendNode(b []byte, n *Node, sorted bool) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	switch n.Kind {
	case Null:
		return append(b, "null"...)
	case Bool, Int:
		return append(b, n.Value...)
	case Float:
		if strings.HasSuffix(n.Value, "y") || n.Value == "NaN" {
			return appendString(b, n.Value)
		}
		return append(b, n.Value...)
	case Sequence:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendNode(b, item, sorted)
		}
		return append(b, ']')
	case Mapping:
		return appendMapping(b, n, sorted)
	default:
		return appendString(b, n.Value)
	}
}

func appendMapping(b []byte, n *Node, sorted bool) []byte {
	entries := n.Entries
	if sorted {
		entries = sortedEntries(entries)
	}
	b = append(b, '{')
	for i := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, entries[i].Key)
		b = append(b, ':')
		b = appendNode(b, entries[i].Value, sorted)
	}
	return append(b, '}')
}

// sortedEntries orders by the bytes of the UTF-8 key, which is code point order.
func sortedEntries(entries []Entry) []Entry {
	out := slices.Clone(entries)
	slices.SortStableFunc(out, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return out
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// indented renders the node as JSON for people: two spaces, keys sorted.
func indented(b []byte, n *Node, prefix string) []byte {
	inner := prefix + "  "
	switch {
	case n != nil && n.Kind == Mapping && len(n.Entries) > 0:
		b = append(b, '{')
		for i, e := range sortedEntries(n.Entries) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '\n'), inner...)
			b = append(appendString(b, e.Key), ": "...)
			b = indented(b, e.Value, inner)
		}
		return append(append(append(b, '\n'), prefix...), '}')
	case n != nil && n.Kind == Sequence && len(n.Items) > 0:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '\n'), inner...)
			b = indented(b, item, inner)
		}
		return append(append(append(b, '\n'), prefix...), ']')
	default:
		return appendNode(b, n, true)
	}
}

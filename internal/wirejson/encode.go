package wirejson

import (
	"cmp"
	"encoding/base64"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func (c *Codec) appendMessage(dst []byte, p *plan, m protoreflect.Message) []byte {
	if p.raw != notRaw {
		return appendRaw(dst, p.raw, m.Get(p.rawFd).Bytes())
	}
	dst = append(dst, '{')
	first := true
	for _, f := range p.fields {
		set := f.list || f.isMap || !f.desc.HasPresence() || m.Has(f.desc)
		if !set && f.unset == nil {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, f.key...)
		switch {
		case !set:
			dst = append(dst, f.unset...)
		case f.list:
			dst = c.appendList(dst, f, m.Get(f.desc).List())
		case f.isMap:
			dst = c.appendMap(dst, f, m.Get(f.desc).Map())
		default:
			dst = c.appendField(dst, f, m.Get(f.desc))
		}
	}
	return append(dst, '}')
}

// Value returns the JSON text of a set field's value.
func (c *Codec) Value(d protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	f := c.plan(d.ContainingMessage()).fields[d.Index()]
	switch {
	case f.list:
		return c.appendList(nil, f, v.List())
	case f.isMap:
		return c.appendMap(nil, f, v.Map())
	}
	return c.appendField(nil, f, v)
}

func appendRaw(dst []byte, kind rawKind, raw []byte) []byte {
	switch {
	case len(raw) > 0:
		return append(dst, raw...)
	case kind == rawObject:
		return append(dst, '{', '}')
	}
	return append(dst, "null"...)
}

// appendField writes a set singular field. A raw message without text counts as unset.
func (c *Codec) appendField(dst []byte, f *field, v protoreflect.Value) []byte {
	if f.raw != notRaw && f.unset != nil {
		m := v.Message()
		if len(m.Get(m.Descriptor().Fields().ByName("raw")).Bytes()) == 0 {
			return append(dst, f.unset...)
		}
	}
	return c.appendValue(dst, f, v)
}

func (c *Codec) appendList(dst []byte, f *field, l protoreflect.List) []byte {
	dst = append(dst, '[')
	for i := range l.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.appendValue(dst, f, l.Get(i))
	}
	return append(dst, ']')
}

func (c *Codec) appendMap(dst []byte, f *field, m protoreflect.Map) []byte {
	type entry struct {
		key   string
		value protoreflect.Value
	}
	entries := make([]entry, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries = append(entries, entry{k.String(), v})
		return true
	})
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	dst = append(dst, '{')
	for i, e := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, e.key), ':')
		dst = c.appendValue(dst, f, e.value)
	}
	return append(dst, '}')
}

func (c *Codec) appendValue(dst []byte, f *field, v protoreflect.Value) []byte {
	switch f.value.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool())
	case protoreflect.StringKind:
		return appendString(dst, v.String())
	case protoreflect.BytesKind:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	case protoreflect.EnumKind:
		if text, ok := f.enums[v.Enum()]; ok {
			return appendString(dst, text)
		}
		return strconv.AppendInt(dst, int64(v.Enum()), 10)
	case protoreflect.FloatKind:
		return appendFloat(dst, v.Float(), 32)
	case protoreflect.DoubleKind:
		return appendFloat(dst, v.Float(), 64)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		m := v.Message()
		return c.appendMessage(dst, c.plan(m.Descriptor()), m)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(dst, v.Uint(), 10)
	default:
		return strconv.AppendInt(dst, v.Int(), 10)
	}
}

// appendString writes a JSON string with the fewest escapes: no HTML escaping, no \u for text beyond ASCII.
func appendString(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		// The text is not UTF-8; what came back has its broken bytes replaced.
		return out
	}
	return out
}

// appendFloat writes a number as Python's repr does: a fraction always, an exponent only below 1e-4 and from 1e16.
// JSON has no spelling for what is not finite, so that becomes null.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	abs := math.Abs(f)
	if abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	if !slices.Contains(dst[start:], '.') {
		dst = append(dst, '.', '0')
	}
	return dst
}

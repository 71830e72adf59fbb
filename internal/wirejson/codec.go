// Package wirejson writes and reads the JSON form of the contract's messages exactly as the HTTP service shows it: proto field names, null
// for what is unset, plain numbers for 64-bit integers, free-form JSON byte for byte, and compact output that is the same in every build.
// Reading is strict and reports all violations of a document at once.
//
// It may import the contract, internal/problem, the protobuf runtime and a cache.
package wirejson

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
)

// Full names of the messages that carry free-form JSON in a bytes field called raw.
const (
	objectName protoreflect.FullName = "kneo.v1.JsonObject"
	valueName  protoreflect.FullName = "kneo.v1.JsonValue"
)

// Rules answers what the contract says about a field beyond its type; *contract.Contract does.
type Rules interface {
	Rules(field protoreflect.FieldDescriptor) contract.Rules
}

// Codec writes and reads messages. It is safe for concurrent use.
type Codec struct {
	rules Rules
	plans sync.Map // protoreflect.FullName → *plan
	seen  *seenTexts
}

// New returns a codec for the messages that rules knows.
func New(rules Rules) *Codec { return &Codec{rules: rules, seen: newSeenTexts()} }

// Marshal returns the JSON text of a message.
func (c *Codec) Marshal(m proto.Message) []byte { return c.Append(nil, m) }

// Append appends the JSON text of a message to dst.
func (c *Codec) Append(dst []byte, m proto.Message) []byte {
	r := m.ProtoReflect()
	return c.appendMessage(dst, c.plan(r.Descriptor()), r)
}

type rawKind uint8

const (
	notRaw rawKind = iota
	rawObject
	rawValue
)

// field is what the codec needs to know about one field, computed once.
type field struct {
	desc   protoreflect.FieldDescriptor
	name   string
	key    []byte // `"name":`
	rules  contract.Rules
	raw    rawKind
	list   bool
	isMap  bool
	value  protoreflect.FieldDescriptor // the field itself, or the value of a map
	unset  []byte                       // what is written when the field is unset; nil leaves the field out
	enums  map[protoreflect.EnumNumber]string
	byText map[string]protoreflect.EnumNumber
}

type plan struct {
	raw    rawKind
	rawFd  protoreflect.FieldDescriptor
	fields []*field
	byName map[string]int
}

func (c *Codec) plan(d protoreflect.MessageDescriptor) *plan {
	if p, ok := c.plans.Load(d.FullName()); ok {
		return p.(*plan)
	}
	p := &plan{raw: rawKindOf(d), byName: map[string]int{}}
	if p.raw != notRaw {
		p.rawFd = d.Fields().ByName("raw")
	}
	for i := range d.Fields().Len() {
		f := c.field(d.Fields().Get(i))
		p.byName[f.name] = len(p.fields)
		p.fields = append(p.fields, f)
	}
	actual, _ := c.plans.LoadOrStore(d.FullName(), p)
	return actual.(*plan)
}

func (c *Codec) field(d protoreflect.FieldDescriptor) *field {
	f := &field{
		desc:  d,
		name:  string(d.Name()),
		key:   append(appendString(nil, string(d.Name())), ':'),
		rules: c.rules.Rules(d),
		list:  d.IsList(),
		isMap: d.IsMap(),
		value: d,
	}
	if f.isMap {
		f.value = d.MapValue()
	}
	if f.value.Message() != nil {
		f.raw = rawKindOf(f.value.Message())
	}
	if e := f.value.Enum(); e != nil {
		f.enums, f.byText = enumTexts(e)
	}
	f.unset = unsetText(f)
	return f
}

func unsetText(f *field) []byte {
	switch {
	case f.rules.OmitUnset:
		return nil
	case f.rules.Default != nil:
		return f.rules.Default
	case f.raw == rawObject && !f.rules.Nullable:
		return []byte("{}")
	}
	return []byte("null")
}

func rawKindOf(d protoreflect.MessageDescriptor) rawKind {
	switch d.FullName() {
	case objectName:
		return rawObject
	case valueName:
		return rawValue
	}
	return notRaw
}

// enumTexts maps numbers to lower-case texts without the prefix that the enum's name gives to its values.
func enumTexts(e protoreflect.EnumDescriptor) (map[protoreflect.EnumNumber]string, map[string]protoreflect.EnumNumber) {
	prefix := upperSnake(string(e.Name())) + "_"
	texts, numbers := map[protoreflect.EnumNumber]string{}, map[string]protoreflect.EnumNumber{}
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		text := strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
		if _, taken := texts[v.Number()]; !taken {
			texts[v.Number()] = text
		}
		numbers[text] = v.Number()
	}
	return texts, numbers
}

func upperSnake(camel string) string {
	var b strings.Builder
	for i, r := range camel {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

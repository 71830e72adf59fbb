package openapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
)

// member is one entry of an object; an object keeps the order of its members.
type member struct {
	name  string
	value any
}

type object []member

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func ref(name string) object { return object{{"$ref", "#/components/schemas/" + name}} }

func nullable(schema object) object {
	return object{{"anyOf", []object{schema, {{"type", "null"}}}}}
}

func jsonContent(schema object) object {
	return object{{"application/json", object{{"schema", schema}}}}
}

func isRaw(m protoreflect.MessageDescriptor) bool {
	return m.Name() == "JsonObject" || m.Name() == "JsonValue"
}

func (b *builder) sortedSchemas() object {
	all := make([]string, 0, len(b.schemas))
	for name := range b.schemas {
		all = append(all, name)
	}
	slices.Sort(all)
	out := make(object, 0, len(all))
	for _, name := range all {
		out = append(out, member{name, b.schemas[name]})
	}
	return out
}

// bodySchema refers to the schema of a request body under its published name.
func (b *builder) bodySchema(r *contract.Route) object {
	name, ok := bodies[r.Method.Name]
	if !ok {
		return b.messageRef(r.BodyMessage)
	}
	if _, done := b.schemas[name]; !done {
		b.schemas[name] = b.message(r.BodyMessage, name)
	}
	return ref(name)
}

func (b *builder) messageRef(m protoreflect.MessageDescriptor) object {
	name := string(m.Name())
	if published, ok := names[m.Name()]; ok {
		name = published
	}
	if _, done := b.schemas[name]; !done {
		b.schemas[name] = object{} // A message may contain itself.
		b.schemas[name] = b.message(m, name)
	}
	return ref(name)
}

// message describes a message. In an answer every field is there; a request requires what it must have and refuses what it does not know.
func (b *builder) message(m protoreflect.MessageDescriptor, title string) object {
	var properties object
	var required []string
	request := b.requests[m.FullName()]
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		rules := b.contract.Rules(field)
		schema := b.fieldSchema(field)
		if text := b.texts[string(m.Name())+"."+string(field.Name())]; text != "" {
			schema = append(slices.Clone(schema), member{"description", text})
		}
		properties = append(properties, member{string(field.Name()), schema})
		if request && rules.Required || !request && !rules.OmitUnset {
			required = append(required, string(field.Name()))
		}
	}
	out := object{{"title", title}, {"type", "object"}}
	if text := b.texts[string(m.Name())]; text != "" {
		out = append(out, member{"description", strings.TrimSpace(text)})
	}
	out = append(out, member{"properties", properties})
	if len(required) > 0 {
		out = append(out, member{"required", required})
	}
	return append(out, member{"additionalProperties", false})
}

func (b *builder) fieldSchema(field protoreflect.FieldDescriptor) object {
	rules := b.contract.Rules(field)
	var schema object
	switch {
	case field.IsMap():
		schema = object{{"type", "object"}, {"additionalProperties", b.valueSchema(field.MapValue(), contract.Rules{})}}
	case field.IsList():
		schema = object{{"type", "array"}, {"items", b.valueSchema(field, contract.Rules{})}}
	default:
		schema = b.valueSchema(field, rules)
	}
	if rules.Nullable && len(schema) > 0 {
		schema = nullable(schema)
	}
	if rules.Default != nil {
		schema = append(slices.Clone(schema), member{"default", rules.Default})
	}
	return schema
}

func (b *builder) valueSchema(field protoreflect.FieldDescriptor, rules contract.Rules) object {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return object{{"type", "boolean"}}
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return textSchema(rules)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return numberSchema("number", rules)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch field.Message().Name() {
		case "JsonObject":
			return object{{"type", "object"}, {"additionalProperties", true}}
		case "JsonValue":
			return object{}
		}
		return b.messageRef(field.Message())
	default:
		return numberSchema("integer", rules)
	}
}

func textSchema(rules contract.Rules) object {
	out := object{{"type", "string"}}
	if len(rules.OneOf) > 0 {
		out = append(out, member{"enum", rules.OneOf})
	}
	if rules.MinLength != nil {
		out = append(out, member{"minLength", *rules.MinLength})
	}
	if rules.MaxLength != nil {
		out = append(out, member{"maxLength", *rules.MaxLength})
	}
	return out
}

func numberSchema(kind string, rules contract.Rules) object {
	out := object{{"type", kind}}
	if rules.Minimum != nil {
		out = append(out, member{"minimum", *rules.Minimum})
	}
	if rules.Maximum != nil {
		out = append(out, member{"maximum", *rules.Maximum})
	}
	return out
}

// errorSchemas describes the bodies of refusals.
func (b *builder) errorSchemas() {
	text := object{{"type", "string"}}
	b.schemas["ErrorDetail"] = object{
		{"title", "ErrorDetail"},
		{"type", "object"},
		{"properties", object{{"error", text}, {"message", text}}},
		{"required", []string{"error", "message"}},
		{"additionalProperties", true},
	}
	b.schemas["ErrorResponse"] = object{
		{"title", "ErrorResponse"},
		{"type", "object"},
		{"properties", object{{"detail", object{{"anyOf", []object{ref("ErrorDetail"), text}}}}}},
		{"required", []string{"detail"}},
	}
	b.schemas["HTTPValidationError"] = object{
		{"title", "HTTPValidationError"},
		{"type", "object"},
		{"properties", object{{"detail", object{{"type", "array"}, {"items", ref("ValidationError")}}}}},
	}
	b.schemas["ValidationError"] = object{
		{"title", "ValidationError"},
		{"type", "object"},
		{"properties", object{
			{"loc", object{{"type", "array"}, {"items", object{{"anyOf", []object{text, {{"type", "integer"}}}}}}}},
			{"msg", text},
			{"type", text},
			{"input", object{}},
			{"ctx", object{{"type", "object"}}},
		}},
		{"required", []string{"loc", "msg", "type"}},
	}
}

func snake(camel string) string {
	var b strings.Builder
	for i, r := range camel {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

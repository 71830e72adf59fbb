package contract

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// Rules is what the contract says about one field beyond its type.
type Rules struct {
	// Required fields must be present in a request.
	Required bool
	// Nullable fields may be JSON null: marked messages, and scalars with explicit presence that have no default.
	Nullable bool
	// Default is the JSON text that stands for an absent field; nil when there is none.
	Default json.RawMessage
	// OneOf are the only accepted texts, in the order of error messages; empty means any.
	OneOf []string
	// Minimum and Maximum bound a number; nil means no bound.
	Minimum, Maximum *int64
	// MinLength and MaxLength bound a text in characters; nil means no bound.
	MinLength, MaxLength *int
	// OmitUnset leaves an unset field out of the JSON output instead of writing null.
	OmitUnset bool
}

// Rules returns the rules of a field of the contract. Fields of other packages have none.
func (c *Contract) Rules(field protoreflect.FieldDescriptor) Rules { return c.rules[field.FullName()] }

func readRules(field protoreflect.FieldDescriptor) (Rules, error) {
	options, _ := proto.GetExtension(field.Options(), kneov1.E_Rules).(*kneov1.FieldRules)
	r := Rules{
		Required:  options.GetRequired(),
		Nullable:  options.GetNullable(),
		OneOf:     options.GetOneOf(),
		OmitUnset: options.GetOmitUnset(),
	}
	if text := options.GetDefaultJson(); text != "" {
		r.Default = json.RawMessage(text)
	}
	if options != nil {
		r.Minimum, r.Maximum = options.Minimum, options.Maximum
		r.MinLength, r.MaxLength = widen(options.MinLength), widen(options.MaxLength)
	}
	if field.Message() == nil && field.HasPresence() && field.ContainingOneof() == nil && r.Default == nil && !r.Required {
		r.Nullable = true
	}
	if err := r.check(field); err != nil {
		return Rules{}, fmt.Errorf("contract: field %s: %w", field.FullName(), err)
	}
	return r, nil
}

func (r Rules) check(field protoreflect.FieldDescriptor) error {
	kind := field.Kind()
	texts := len(r.OneOf) > 0 || r.MinLength != nil || r.MaxLength != nil
	numbers := r.Minimum != nil || r.Maximum != nil
	switch {
	case texts && kind != protoreflect.StringKind:
		return fmt.Errorf("a %s has no text rules", kind)
	case numbers && (kind == protoreflect.StringKind || kind == protoreflect.BoolKind || kind == protoreflect.MessageKind):
		return fmt.Errorf("a %s has no number rules", kind)
	case r.Required && r.Nullable:
		return fmt.Errorf("a required field cannot be nullable")
	case r.Nullable && (field.IsList() || field.IsMap()):
		return fmt.Errorf("a list or map cannot be nullable")
	}
	if r.Default == nil {
		return nil
	}
	if !json.Valid(r.Default) {
		return fmt.Errorf("default %s is not JSON", r.Default)
	}
	var text string
	if len(r.OneOf) > 0 && (json.Unmarshal(r.Default, &text) != nil || !slices.Contains(r.OneOf, text)) {
		return fmt.Errorf("default %s is none of %q", r.Default, r.OneOf)
	}
	return nil
}

func widen(n *int32) *int {
	if n == nil {
		return nil
	}
	wide := int(*n)
	return &wide
}

package wirejson

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/problem"
)

var (
	badBoolText  = problem.Issue{Type: "bool_parsing", Msg: "Input should be a valid boolean, unable to interpret input"}
	badBool      = problem.Issue{Type: "bool_type", Msg: "Input should be a valid boolean"}
	badIntText   = problem.Issue{Type: "int_parsing", Msg: "Input should be a valid integer, unable to parse string as an integer"}
	badInt       = problem.Issue{Type: "int_type", Msg: "Input should be a valid integer"}
	badIntFloat  = problem.Issue{Type: "int_from_float", Msg: "Input should be a valid integer, got a number with a fractional part"}
	badFloatText = problem.Issue{Type: "float_parsing", Msg: "Input should be a valid number, unable to parse string as a number"}
	badFloat     = problem.Issue{Type: "float_type", Msg: "Input should be a valid number"}
	badString    = problem.Issue{Type: TypeString, Msg: msgString}
)

// scalar reads a JSON scalar for a field; the issue has no location yet.
func scalar(text []byte, f *field) (protoreflect.Value, *problem.Issue) {
	quoted, number := text[0] == '"', text[0] == '-' || text[0] >= '0' && text[0] <= '9'
	switch kind := f.value.Kind(); kind {
	case protoreflect.StringKind:
		switch {
		case quoted:
			return protoreflect.ValueOfString(unquote(text)), nil
		case len(f.rules.OneOf) > 0:
			return none(NotOneOf(f.rules.OneOf))
		}
		return none(badString)
	case protoreflect.BytesKind:
		data, err := base64.StdEncoding.DecodeString(unquote(text))
		if !quoted || err != nil {
			return none(badString)
		}
		return protoreflect.ValueOfBytes(data), nil
	case protoreflect.EnumKind:
		n, ok := f.byText[unquote(text)]
		if !quoted || !ok {
			return none(badString)
		}
		return protoreflect.ValueOfEnum(n), nil
	case protoreflect.BoolKind:
		return boolean(text, quoted, number)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if !quoted && !number {
			return none(badFloat)
		}
		return floating(string(text), unquoteIf(text, quoted), kind)
	default:
		if !quoted && !number {
			return none(badInt)
		}
		if number && strings.ContainsAny(string(text), ".eE") {
			if n, err := strconv.ParseFloat(string(text), 64); err != nil || n != math.Trunc(n) {
				return none(badIntFloat)
			}
		}
		return integer(unquoteIf(text, quoted), kind)
	}
}

// Text reads the text form of a scalar, as it appears in a query or a path; the issue has no location yet.
func (c *Codec) Text(d protoreflect.FieldDescriptor, text string) (protoreflect.Value, *problem.Issue) {
	switch kind := d.Kind(); kind {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BoolKind:
		return boolean(appendString(nil, text), true, false)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return floating(text, text, kind)
	case protoreflect.EnumKind:
		f := c.plan(d.ContainingMessage()).fields[d.Index()]
		if n, ok := f.byText[text]; ok {
			return protoreflect.ValueOfEnum(n), nil
		}
		return none(badString)
	case protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return none(badString)
	default:
		return integer(text, kind)
	}
}

// NotOneOf is the violation of a text that is none of the allowed ones; it has no location yet.
func NotOneOf(texts []string) problem.Issue {
	expected := choice(texts)
	return problem.Issue{Type: "literal_error", Msg: "Input should be " + expected, Ctx: map[string]any{"expected": expected}}
}

// choice lists texts the way an error message does: 'a', 'b' or 'c'.
func choice(texts []string) string {
	var b strings.Builder
	for i, text := range texts {
		switch {
		case i == 0:
		case i == len(texts)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString("'" + text + "'")
	}
	return b.String()
}

func none(bad problem.Issue) (protoreflect.Value, *problem.Issue) { return protoreflect.Value{}, &bad }

func unquoteIf(text []byte, quoted bool) string {
	if quoted {
		return unquote(text)
	}
	return string(text)
}

func boolean(text []byte, quoted, number bool) (protoreflect.Value, *problem.Issue) {
	word := string(text)
	switch {
	case quoted:
		word = strings.ToLower(unquote(text))
	case number:
		n, err := strconv.ParseFloat(word, 64)
		switch {
		case err == nil && (n == 0 || n == 1):
			return protoreflect.ValueOfBool(n == 1), nil
		case err == nil && n != math.Trunc(n) || math.Abs(n) >= 1<<63:
			return none(badBool)
		}
		return none(badBoolText)
	case text[0] != 't' && text[0] != 'f':
		return none(badBool)
	}
	switch word {
	case "true", "1", "yes", "on", "t", "y":
		return protoreflect.ValueOfBool(true), nil
	case "false", "0", "no", "off", "f", "n":
		return protoreflect.ValueOfBool(false), nil
	}
	return none(badBoolText)
}

func floating(text, word string, kind protoreflect.Kind) (protoreflect.Value, *problem.Issue) {
	n, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || strings.ContainsAny(text, "xXpP_") {
		return none(badFloatText)
	}
	if kind == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(n)), nil
	}
	return protoreflect.ValueOfFloat64(n), nil
}

// integer reads an integer; blanks around it and a fraction of zeros are allowed.
func integer(word string, kind protoreflect.Kind) (protoreflect.Value, *problem.Issue) {
	word = strings.TrimSpace(word)
	if whole, zeros, found := strings.Cut(word, "."); found && zeros != "" && strings.Trim(zeros, "0") == "" {
		word = whole
	}
	word = strings.TrimPrefix(word, "+")
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		f, ferr := strconv.ParseFloat(word, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || strings.ContainsAny(word, "xXpP_") {
			return none(badIntText)
		}
		n = int64(f)
	}
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		// A number beyond the range is clamped: it is out of bounds either way, and the bounds check says so.
		return protoreflect.ValueOfInt32(int32(min(max(n, math.MinInt32), math.MaxInt32))), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(min(max(n, 0), math.MaxUint32))), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(max(n, 0))), nil
	default:
		return protoreflect.ValueOfInt64(n), nil
	}
}

package wirejson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/problem"
)

// Texts and kinds of violations, as the service has always worded them.
const (
	TypeMissing    = "missing"
	TypeExtra      = "extra_forbidden"
	TypeString     = "string_type"
	TypeDict       = "dict_type"
	TypeList       = "list_type"
	TypeModel      = "model_attributes_type"
	TypeJSON       = "json_invalid"
	msgMissing     = "Field required"
	msgExtra       = "Extra inputs are not permitted"
	msgString      = "Input should be a valid string"
	msgDict        = "Input should be a valid dictionary"
	msgList        = "Input should be a valid list"
	msgModel       = "Input should be a valid dictionary or object to extract fields from"
	msgJSONInvalid = "JSON decode error"
)

// byteOrderMark may begin a text that some editors wrote; it means nothing.
var byteOrderMark = []byte("\xef\xbb\xbf")

// Decode reads a JSON document into m, strictly, and returns every violation; loc is where the document is, usually "body". Fields without
// a violation are set even when others have one. Free-form JSON in m is a part of data or of an equal document that was read before; nobody may change
// either afterwards. The result lists declared fields in declaration order, then unknown ones as sent.
func (c *Codec) Decode(data []byte, m proto.Message, loc ...any) []problem.Issue {
	data = bytes.TrimPrefix(data, byteOrderMark)
	trimmed := bytes.TrimSpace(data)
	if len(data) == 0 || string(trimmed) == "null" {
		return []problem.Issue{issue(loc, TypeMissing, msgMissing)}
	}
	got, ok := c.seen.members(trimmed)
	if !ok {
		if bad := Check(data, loc...); bad != nil {
			return []problem.Issue{*bad}
		}
		return []problem.Issue{issue(loc, TypeModel, msgModel)}
	}
	r := &reader{codec: c}
	r.members(got, m.ProtoReflect(), loc)
	return r.issues
}

// DecodeStored reads a document that the platform itself wrote, perhaps in an earlier release: unknown fields and wrong types are skipped.
func (c *Codec) DecodeStored(data []byte, m proto.Message) error {
	if bad := Check(data); bad != nil {
		return fmt.Errorf("wirejson: stored document: %v", bad.Ctx["error"])
	}
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("wirejson: stored document is not an object")
	}
	r := &reader{codec: c}
	r.message(trimmed, m.ProtoReflect(), nil)
	return nil
}

// Check tells whether data is exactly one JSON value in valid UTF-8 without duplicate names, NaN or Infinity; the violation carries the
// position in characters.
func Check(data []byte, loc ...any) *problem.Issue {
	dec, _ := decoders.Get().(*jsontext.Decoder)
	dec.Reset(bytes.NewBuffer(data))
	err := skipOne(dec, data)
	dec.Reset(bytes.NewBuffer(nil))
	decoders.Put(dec)
	if err == nil {
		return nil
	}
	offset, text := int64(len(data)), err.Error()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		offset, text = min(syntax.ByteOffset, int64(len(data))), syntax.Err.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		text = "unexpected end of text"
	}
	bad := issue(append(clone(loc), utf8.RuneCount(data[:offset])), TypeJSON, msgJSONInvalid)
	bad.Input = []byte("{}")
	bad.Ctx = map[string]any{"error": text}
	return &bad
}

func skipOne(dec *jsontext.Decoder, data []byte) error {
	if err := dec.SkipValue(); err != nil {
		return err
	}
	rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n")
	switch _, err := dec.ReadToken(); {
	case err == nil:
		return &jsontext.SyntacticError{ByteOffset: int64(len(data) - len(rest)), Err: errors.New("text after the value")}
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

type reader struct {
	codec  *Codec
	issues []problem.Issue
}

func (r *reader) add(loc []any, kind, msg string) {
	r.issues = append(r.issues, issue(loc, kind, msg))
}

type member struct {
	name  string
	value []byte
	known bool
}

// members splits an object that is known to be valid. The values are parts of it.
func members(object []byte) []member {
	dec, release := decoder(object, jsontext.AllowDuplicateNames(true))
	defer release()
	out, err := split(dec, object)
	if err != nil {
		return nil
	}
	return out
}

// checkedMembers splits a text in the same pass that checks it as Check does; ok is false when it is broken or no object.
func checkedMembers(text []byte) (out []member, ok bool) {
	if !bytes.HasPrefix(text, []byte{'{'}) {
		return nil, false
	}
	dec, release := decoder(text)
	defer release()
	out, err := split(dec, text)
	if err != nil {
		return nil, false
	}
	_, err = dec.ReadToken()
	return out, errors.Is(err, io.EOF)
}

func split(dec *jsontext.Decoder, object []byte) ([]member, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	out := make([]member, 0, 8)
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		out = append(out, member{name: key, value: part(object, dec, value)})
	}
	_, err := dec.ReadToken()
	return out, err
}

// elements splits an array that is known to be valid. The values are parts of it.
func elements(array []byte) [][]byte {
	dec, release := decoder(array, jsontext.AllowDuplicateNames(true))
	defer release()
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	var out [][]byte
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return out
		}
		out = append(out, part(array, dec, value))
	}
	return out
}

// part returns the place in text of the value that was just read.
func part(text []byte, dec *jsontext.Decoder, value jsontext.Value) []byte {
	end := dec.InputOffset()
	return text[end-int64(len(value)) : end : end]
}

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// decoder lends a decoder of a text.
func decoder(text []byte, options ...jsontext.Options) (dec *jsontext.Decoder, release func()) {
	d, _ := decoders.Get().(*jsontext.Decoder)
	d.Reset(bytes.NewBuffer(text), options...)
	return d, func() {
		d.Reset(bytes.NewBuffer(nil))
		decoders.Put(d)
	}
}

func (r *reader) message(object []byte, m protoreflect.Message, loc []any) {
	r.members(members(object), m, loc)
}

func (r *reader) members(got []member, m protoreflect.Message, loc []any) {
	p := r.codec.plan(m.Descriptor())
	at := make([]int, len(p.fields))
	for i := range got {
		if f, ok := p.byName[got[i].name]; ok {
			at[f] = i + 1
			got[i].known = true
		}
	}
	for i, f := range p.fields {
		where := append(clone(loc), f.name)
		if at[i] == 0 {
			if f.rules.Required {
				r.add(where, TypeMissing, msgMissing)
			}
			continue
		}
		r.field(got[at[i]-1].value, m, f, where)
	}
	for _, member := range got {
		if !member.known {
			r.add(append(clone(loc), member.name), TypeExtra, msgExtra)
		}
	}
}

func (r *reader) field(text []byte, m protoreflect.Message, f *field, loc []any) {
	switch {
	case f.list:
		if text[0] != '[' {
			r.add(loc, TypeList, msgList)
			return
		}
		list := m.Mutable(f.desc).List()
		for i, item := range elements(text) {
			if v, ok := r.value(item, f, func() protoreflect.Value { return list.NewElement() }, append(clone(loc), i)); ok {
				list.Append(v)
			}
		}
	case f.isMap:
		if text[0] != '{' {
			r.add(loc, TypeDict, msgDict)
			return
		}
		r.mapField(text, m.Mutable(f.desc).Map(), f, loc)
	case text[0] == 'n' && f.rules.Nullable && f.raw != rawValue:
		// Null stands for an unset field.
	default:
		if v, ok := r.value(text, f, func() protoreflect.Value { return m.NewField(f.desc) }, loc); ok {
			m.Set(f.desc, v)
		}
	}
}

func (r *reader) mapField(text []byte, out protoreflect.Map, f *field, loc []any) {
	if f.desc.MapKey().Kind() != protoreflect.StringKind {
		r.add(loc, TypeDict, msgDict)
		return
	}
	for _, e := range members(text) {
		if v, ok := r.value(e.value, f, out.NewValue, append(clone(loc), e.name)); ok {
			out.Set(protoreflect.ValueOfString(e.name).MapKey(), v)
		}
	}
}

// value reads one element; fresh makes the message to fill when it is one.
func (r *reader) value(text []byte, f *field, fresh func() protoreflect.Value, loc []any) (protoreflect.Value, bool) {
	switch {
	case f.raw == rawObject && text[0] != '{':
		r.add(loc, TypeDict, msgDict)
		return protoreflect.Value{}, false
	case f.raw != notRaw:
		v := fresh()
		m := v.Message()
		m.Set(m.Descriptor().Fields().ByName("raw"), protoreflect.ValueOfBytes(text))
		return v, true
	case f.value.Message() != nil:
		if text[0] != '{' {
			r.add(loc, TypeModel, msgModel)
			return protoreflect.Value{}, false
		}
		v := fresh()
		r.message(text, v.Message(), loc)
		return v, true
	}
	v, bad := scalar(text, f)
	if bad != nil {
		bad.Loc = loc
		r.issues = append(r.issues, *bad)
		return protoreflect.Value{}, false
	}
	return v, true
}

func issue(loc []any, kind, msg string) problem.Issue {
	return problem.Issue{Type: kind, Loc: loc, Msg: msg}
}

// clone copies with room for one more, so that siblings never share a tail.
func clone(loc []any) []any { return append(make([]any, 0, len(loc)+1), loc...) }

func unquote(text []byte) string {
	if len(text) >= 2 && !bytes.ContainsRune(text, '\\') {
		return string(text[1 : len(text)-1])
	}
	out, err := jsontext.AppendUnquote(nil, text)
	if err != nil {
		return strings.Trim(string(text), `"`)
	}
	return string(out)
}

package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// body is a request body that was read already, on its way through the generated code to the decoder.
type body struct {
	call *call
	data []byte
	json bool
}

// Read answers the generated code, which drains the body after decoding it.
func (b *body) Read([]byte) (int, error) { return 0, io.EOF }

// Close does nothing.
func (b *body) Close() error { return nil }

// marshaler is the JSON form of the contract for the generated code.
type marshaler struct{ codec *wirejson.Codec }

var _ runtime.Marshaler = (*marshaler)(nil)

var errUnexpected = errors.New("gateway: value is not a message")

// ContentType returns the type of every answer.
func (m *marshaler) ContentType(any) string { return "application/json" }

// Marshal writes a message; raw JSON passes unchanged.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case json.RawMessage:
		return v, nil
	case proto.Message:
		return m.codec.Marshal(v), nil
	}
	return nil, errUnexpected
}

// Unmarshal is not used by the generated code.
func (m *marshaler) Unmarshal([]byte, any) error { return errUnexpected }

// NewEncoder writes one message.
func (m *marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		text, err := m.Marshal(v)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
}

// NewDecoder reads a body. Violations are not its error: they stay with the call until credentials and scope are checked.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, ok := r.(*body)
		if !ok {
			return errUnexpected
		}
		target, err := messageOf(v)
		if err != nil {
			return err
		}
		p := &b.call.pending
		if !b.json && len(b.data) > 0 {
			p.Issues = append(p.Issues, problem.Issue{
				Type: wirejson.TypeModel, Loc: []any{"body"}, Msg: "Input should be a valid dictionary or object to extract fields from",
			})
			return nil
		}
		p.Issues = append(p.Issues, m.codec.Decode(b.data, target, "body")...)
		return nil
	})
}

// messageOf returns the message to fill: v itself, or a new one behind a pointer to a message field.
func messageOf(v any) (proto.Message, error) {
	if m, ok := v.(proto.Message); ok {
		return m, nil
	}
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Pointer {
		return nil, errUnexpected
	}
	if p.Elem().IsNil() {
		p.Elem().Set(reflect.New(p.Elem().Type().Elem()))
	}
	m, ok := p.Elem().Interface().(proto.Message)
	if !ok {
		return nil, errUnexpected
	}
	return m, nil
}

// parseQuery reads a query string leniently: what cannot be unescaped stands for itself, broken text is mended.
func parseQuery(raw string) url.Values {
	values := url.Values{}
	if raw == "" {
		return values
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		values.Add(unescape(name), unescape(value))
	}
	return values
}

func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		text = plain
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

// checkQuery notes unknown parameters and values of a wrong type.
func (g *Gateway) checkQuery(c *call, query url.Values) {
	for name := range query {
		if !c.route.AllowsQuery(name) {
			c.pending.UnknownQuery = append(c.pending.UnknownQuery, name)
		}
	}
	for _, name := range c.route.Query {
		field := c.route.Method.Input.Fields().ByName(protoreflect.Name(name))
		values := query[name]
		if !field.IsList() && len(values) > 1 {
			values = values[len(values)-1:]
		}
		for i, value := range values {
			_, bad := g.codec.Text(field, value)
			if bad == nil {
				continue
			}
			bad.Loc = []any{"query", name}
			if field.IsList() {
				bad.Loc = append(bad.Loc, i)
			}
			c.pending.Issues = append(c.pending.Issues, *bad)
		}
	}
}

// queryParser sets the fields of a request from its query. Values of a wrong type were noted before and stay unset.
type queryParser struct{ codec *wirejson.Codec }

var _ runtime.QueryParameterParser = (*queryParser)(nil)

// Parse sets every field that the query names; a repeated scalar takes its last value.
func (p *queryParser) Parse(m proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	r := m.ProtoReflect()
	for name, texts := range values {
		field := r.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil || len(texts) == 0 || filter.HasCommonPrefix([]string{name}) {
			continue
		}
		if field.IsList() {
			list := r.Mutable(field).List()
			for _, text := range texts {
				if v, bad := p.codec.Text(field, text); bad == nil {
					list.Append(v)
				}
			}
			continue
		}
		if v, bad := p.codec.Text(field, texts[len(texts)-1]); bad == nil {
			r.Set(field, v)
		}
	}
	return nil
}

func asMaxBytes(err error) *http.MaxBytesError {
	var e *http.MaxBytesError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Package validate checks requests before a use case sees them: the rules that the contract states for every field, and the configured limits
// and path rules that need code. REST and gRPC share it and report the same list of violations.
//
// It may import the contract, internal/problem and internal/wirejson.
package validate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// Limits are the configured bounds of request fields.
type Limits struct {
	// InputChars bounds the input of a run, HumanContentChars the content of an answer.
	InputChars, HumanContentChars int
	// InlineSpecBytes, OverridesBytes and MetadataBytes bound free-form objects by their serialised size.
	InlineSpecBytes, OverridesBytes, MetadataBytes int
	// ListItems bounds lists, PathChars paths and other short texts.
	ListItems, PathChars int
}

// DefaultLimits are the limits of a service without settings.
func DefaultLimits() Limits {
	return Limits{
		InputChars: 20000, HumanContentChars: 20000, InlineSpecBytes: 262144, OverridesBytes: 65536, MetadataBytes: 32768,
		ListItems: 100, PathChars: 4096,
	}
}

// Pending is what a transport found while it read a request. It travels in the context, so that the checks which come before validation
// (credentials, scope) answer first.
type Pending struct {
	// UnknownQuery are the names of query parameters that the route does not know.
	UnknownQuery []string
	// Issues are the violations found while path, query and body were read, in that order.
	Issues []problem.Issue
	// Parsed says that free-form JSON was already checked to be valid.
	Parsed bool
}

type contextKey struct{}

// NewContext returns a context that carries what a transport found.
func NewContext(ctx context.Context, p *Pending) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns what the transport found, or nil when it found nothing.
func FromContext(ctx context.Context) *Pending {
	p, _ := ctx.Value(contextKey{}).(*Pending)
	return p
}

// Validator checks requests. It is immutable and safe for concurrent use.
type Validator struct {
	contract *contract.Contract
	limits   Limits
}

// New returns a validator of the contract's requests.
func New(c *contract.Contract, limits Limits) *Validator {
	return &Validator{contract: c, limits: limits}
}

// Query refuses unknown query parameters.
func (v *Validator) Query(p *Pending) error {
	if p == nil || len(p.UnknownQuery) == 0 {
		return nil
	}
	names := slices.Clone(p.UnknownQuery)
	slices.Sort(names)
	names = slices.Compact(names)
	return problem.New(problem.UnknownQueryParameters, "Unrecognized query parameter(s): %s. (0.11.0 breaking change: unknown query params "+
		"are now rejected; through 0.10.x they were silently ignored.)", strings.Join(names, ", ")).With("unknown", names)
}

// Request checks a request of a method, together with what the transport found, and fills in the defaults of absent fields. The error holds
// all violations in the order path, query, body, and within each in the order of the fields.
func (v *Validator) Request(m *contract.Method, request proto.Message, p *Pending) error {
	if p == nil {
		p = &Pending{}
	}
	c := &check{validator: v, known: p.Issues, parsed: p.Parsed}
	c.request(m, request.ProtoReflect())
	if len(p.Issues)+len(c.found) == 0 {
		return nil
	}
	e := problem.New(problem.ValidationFailed, "The request is not valid.")
	e.Issues = order(m, append(slices.Clone(p.Issues), c.found...))
	return e
}

// check collects the violations of one request.
type check struct {
	validator *Validator
	known     []problem.Issue
	found     []problem.Issue
	parsed    bool
}

func (c *check) request(m *contract.Method, r protoreflect.Message) {
	var route contract.Route
	if len(m.Routes) > 0 {
		route = m.Routes[0]
	}
	for i := range r.Descriptor().Fields().Len() {
		field := r.Descriptor().Fields().Get(i)
		name := string(field.Name())
		switch {
		case slices.Contains(route.PathParams, name):
			c.field(r, field, []any{"path", name})
		case name == route.Body:
			c.body(r, field)
		case route.Body == "*" || route.Verb == "":
			c.field(r, field, []any{"body", name})
		default:
			c.field(r, field, []any{"query", name})
		}
	}
	if route.Body == "*" || route.Verb == "" {
		c.limits(r.Interface(), []any{"body"})
	}
}

// body checks the field that is the whole body of the request.
func (c *check) body(r protoreflect.Message, field protoreflect.FieldDescriptor) {
	loc := []any{"body"}
	if !r.Has(field) {
		c.add(loc, "missing", "Field required", nil)
		return
	}
	c.message(r.Mutable(field).Message(), loc)
}

func (c *check) message(m protoreflect.Message, loc []any) {
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		c.field(m, field, extend(loc, string(field.Name())))
	}
	c.limits(m.Interface(), loc)
}

// field checks one field and fills in its default.
func (c *check) field(m protoreflect.Message, field protoreflect.FieldDescriptor, loc []any) {
	rules := c.validator.contract.Rules(field)
	switch {
	case c.broken(loc):
		return
	case field.IsList():
		c.list(m, field, loc)
		return
	case field.IsMap():
		return
	case field.HasPresence() && !m.Has(field):
		if rules.Required {
			c.add(loc, "missing", "Field required", nil)
		} else if rules.Default != nil {
			setDefault(m, field, rules.Default)
		}
		return
	}
	c.value(m.Get(field), field, rules, loc)
}

func (c *check) list(m protoreflect.Message, field protoreflect.FieldDescriptor, loc []any) {
	if field.Message() == nil || !m.Has(field) {
		return
	}
	list := m.Mutable(field).List()
	for i := range list.Len() {
		c.value(list.Get(i), field, contract.Rules{}, extend(loc, i))
	}
}

func (c *check) value(v protoreflect.Value, field protoreflect.FieldDescriptor, rules contract.Rules, loc []any) {
	switch field.Kind() {
	case protoreflect.StringKind:
		c.text(v.String(), rules, loc)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		c.nested(v.Message(), loc)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		c.number(v.Int(), rules, loc)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		c.float(v.Float(), rules, loc)
	default:
	}
}

func (c *check) nested(m protoreflect.Message, loc []any) {
	raw := m.Descriptor().Fields().ByName("raw")
	if raw == nil || raw.Kind() != protoreflect.BytesKind {
		c.message(m, loc)
		return
	}
	text := m.Get(raw).Bytes()
	if c.parsed || len(text) == 0 {
		return
	}
	if bad := wirejson.Check(text, loc...); bad != nil {
		c.found = append(c.found, *bad)
		return
	}
	if trimmed := strings.TrimSpace(string(text[:min(len(text), 64)])); m.Descriptor().Name() == "JsonObject" && !strings.HasPrefix(trimmed, "{") {
		c.add(loc, wirejson.TypeDict, "Input should be a valid dictionary", nil)
	}
}

func (c *check) text(text string, rules contract.Rules, loc []any) {
	if len(rules.OneOf) > 0 && !slices.Contains(rules.OneOf, text) {
		bad := wirejson.NotOneOf(rules.OneOf)
		bad.Loc = loc
		c.found = append(c.found, bad)
		return
	}
	if rules.MinLength == nil && rules.MaxLength == nil {
		return
	}
	n := utf8.RuneCountInString(text)
	switch {
	case rules.MinLength != nil && n < *rules.MinLength:
		c.add(loc, "string_too_short", fmt.Sprintf("String should have at least %d character%s", *rules.MinLength, plural(*rules.MinLength)),
			map[string]any{"min_length": *rules.MinLength})
	case rules.MaxLength != nil && n > *rules.MaxLength:
		c.add(loc, "string_too_long", fmt.Sprintf("String should have at most %d character%s", *rules.MaxLength, plural(*rules.MaxLength)),
			map[string]any{"max_length": *rules.MaxLength})
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (c *check) number(n int64, rules contract.Rules, loc []any) {
	switch {
	case rules.Minimum != nil && n < *rules.Minimum:
		c.below(*rules.Minimum, loc)
	case rules.Maximum != nil && n > *rules.Maximum:
		c.above(*rules.Maximum, loc)
	}
}

func (c *check) float(n float64, rules contract.Rules, loc []any) {
	switch {
	case rules.Minimum != nil && !(n >= float64(*rules.Minimum)):
		c.below(*rules.Minimum, loc)
	case rules.Maximum != nil && n > float64(*rules.Maximum):
		c.above(*rules.Maximum, loc)
	}
}

func (c *check) below(bound int64, loc []any) {
	c.add(loc, "greater_than_equal", fmt.Sprintf("Input should be greater than or equal to %d", bound), map[string]any{"ge": bound})
}

func (c *check) above(bound int64, loc []any) {
	c.add(loc, "less_than_equal", fmt.Sprintf("Input should be less than or equal to %d", bound), map[string]any{"le": bound})
}

func (c *check) add(loc []any, kind, msg string, ctx map[string]any) {
	c.found = append(c.found, problem.Issue{Type: kind, Loc: loc, Msg: msg, Ctx: ctx})
}

// broken tells whether a violation at this place or around it is known already.
func (c *check) broken(loc []any) bool {
	return slices.ContainsFunc(c.known, func(i problem.Issue) bool { return around(i, loc) }) ||
		slices.ContainsFunc(c.found, func(i problem.Issue) bool { return around(i, loc) })
}

func around(i problem.Issue, loc []any) bool {
	at := i.Loc
	if i.Type == wirejson.TypeJSON && len(at) > 1 {
		at = at[:len(at)-1]
	}
	return len(at) > 0 && len(at) <= len(loc) && slices.Equal(at, loc[:len(at)])
}

func extend(loc []any, part any) []any {
	return append(append(make([]any, 0, len(loc)+1), loc...), part)
}

func setDefault(m protoreflect.Message, field protoreflect.FieldDescriptor, text json.RawMessage) {
	switch field.Kind() {
	case protoreflect.StringKind:
		var s string
		if json.Unmarshal(text, &s) == nil {
			m.Set(field, protoreflect.ValueOfString(s))
		}
	case protoreflect.BoolKind:
		m.Set(field, protoreflect.ValueOfBool(string(text) == "true"))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		var n int32
		if json.Unmarshal(text, &n) == nil {
			m.Set(field, protoreflect.ValueOfInt32(n))
		}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		var n int64
		if json.Unmarshal(text, &n) == nil {
			m.Set(field, protoreflect.ValueOfInt64(n))
		}
	case protoreflect.DoubleKind:
		var n float64
		if json.Unmarshal(text, &n) == nil {
			m.Set(field, protoreflect.ValueOfFloat64(n))
		}
	case protoreflect.MessageKind:
		nested := m.NewField(field)
		if raw := nested.Message().Descriptor().Fields().ByName("raw"); raw != nil {
			nested.Message().Set(raw, protoreflect.ValueOfBytes(slices.Clone(text)))
			m.Set(field, nested)
		}
	default:
	}
}

// order sorts violations: path, query, body; within each by the field they begin with, unknown fields last; otherwise as found.
func order(m *contract.Method, issues []problem.Issue) []problem.Issue {
	fields := m.Input.Fields()
	if len(m.Routes) > 0 && m.Routes[0].BodyMessage != nil {
		fields = m.Routes[0].BodyMessage.Fields()
	}
	section := map[any]int{"path": 0, "query": 1, "body": 2}
	rank := func(i problem.Issue) (int, int) {
		if len(i.Loc) == 0 {
			return 3, 0
		}
		if len(i.Loc) < 2 || i.Type == wirejson.TypeJSON {
			return section[i.Loc[0]], -1
		}
		in := m.Input.Fields()
		if i.Loc[0] == "body" {
			in = fields
		}
		name, _ := i.Loc[1].(string)
		if f := in.ByName(protoreflect.Name(name)); f != nil {
			return section[i.Loc[0]], f.Index()
		}
		return section[i.Loc[0]], in.Len()
	}
	slices.SortStableFunc(issues, func(a, b problem.Issue) int {
		as, af := rank(a)
		bs, bf := rank(b)
		return cmp.Or(cmp.Compare(as, bs), cmp.Compare(af, bf))
	})
	return issues
}

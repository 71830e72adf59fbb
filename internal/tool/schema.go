package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// cachedSchemas bounds the compiled schemas that are kept.
const cachedSchemas = 512

// patternLimit bounds one match of a schema's pattern.
const patternLimit = 250 * time.Millisecond

// Schemas validates arguments against tools' parameters. It is safe for concurrent use.
type Schemas struct {
	compiled *lru.Cache[string, *jsonschema.Schema]
}

// NewSchemas returns an empty cache of schemas.
func NewSchemas() (*Schemas, error) {
	c, err := lru.New[string, *jsonschema.Schema](cachedSchemas)
	if err != nil {
		return nil, err
	}
	return &Schemas{compiled: c}, nil
}

// Check returns a *Refusal when arguments do not match parameters; an empty schema takes anything. A schema that cannot be used refuses as well.
func (s *Schemas) Check(name string, parameters, arguments json.RawMessage) error {
	if isEmpty(parameters) {
		return nil
	}
	schema, err := s.compile(parameters)
	if err != nil {
		return refuse(name, "Tool '%s' has a parameters schema that cannot be used: %v", name, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(arguments))
	if err != nil {
		return refuse(name, "Tool '%s' arguments are not valid JSON.", name)
	}
	if err := schema.Validate(value); err != nil {
		return refuse(name, "Tool '%s' arguments do not match its parameters: %s", name, reason(err, "arguments"))
	}
	return nil
}

// CheckAnswer returns why a model's answer does not match a schema, or nil. The reason names places, never values.
func (s *Schemas) CheckAnswer(schema json.RawMessage, text string) error {
	compiled, err := s.compile(schema)
	if err != nil {
		return fmt.Errorf("the schema of model.extra.response_format cannot be used: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return errAnswerNotJSON
	}
	if err := compiled.Validate(value); err != nil {
		return fmt.Errorf("the answer does not match model.extra.response_format: %s", reason(err, "answer"))
	}
	return nil
}

var errAnswerNotJSON = errors.New("the answer is not the JSON that model.extra.response_format asks for")

func (s *Schemas) compile(schema json.RawMessage) (*jsonschema.Schema, error) {
	if known, ok := s.compiled.Get(string(schema)); ok {
		return known, nil
	}
	compiled, err := compile(schema)
	if err == nil {
		s.compiled.Add(string(schema), compiled)
	}
	return compiled, err
}

func isEmpty(parameters json.RawMessage) bool {
	switch string(bytes.TrimSpace(parameters)) {
	case "", "null", "{}":
		return true
	}
	return false
}

func compile(parameters json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(parameters))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(closedLoader{})
	c.UseRegexpEngine(compilePattern)
	const location = "kneo:parameters"
	if err := c.AddResource(location, doc); err != nil {
		return nil, err
	}
	return c.Compile(location)
}

// closedLoader keeps schemas from reading files or the network.
type closedLoader struct{}

func (closedLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference %q leads outside the schema", url)
}

type pattern struct{ *regexp2.Regexp }

func (p pattern) MatchString(s string) bool {
	ok, err := p.Regexp.MatchString(s)
	return ok && err == nil
}

func compilePattern(text string) (jsonschema.Regexp, error) {
	re, err := regexp2.Compile(text, regexp2.ECMAScript)
	if err != nil {
		re, err = regexp2.Compile(text, regexp2.None)
	}
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = patternLimit
	return pattern{re}, nil
}

// reason names the first places below root that are wrong and what is wanted there, never the values.
func reason(err error, root string) string {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return err.Error()
	}
	printer := message.NewPrinter(language.English)
	var parts []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 && len(parts) < 3 {
			place := root
			if len(e.InstanceLocation) > 0 {
				place = strings.Join(e.InstanceLocation, ".")
			}
			parts = append(parts, place+": "+e.ErrorKind.LocalizedString(printer))
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(v)
	return strings.Join(parts, "; ")
}

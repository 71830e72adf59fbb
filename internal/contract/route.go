package contract

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Route is one HTTP binding of a method.
type Route struct {
	// Verb is the HTTP method in upper case.
	Verb string
	// Template is the path under /v1, for example "/v1/runs/{run_id}".
	Template string
	// Body is "*" when the whole request message is the body, the name of the field that is the body, or empty when
	// the route has no body.
	Body string
	// BodyMessage describes the JSON object that the body must be; nil when the route has no body.
	BodyMessage protoreflect.MessageDescriptor
	// PathParams are the fields taken from the path, in path order.
	PathParams []string
	// Query are the allowed query parameters in the order of the fields; no other is accepted.
	Query []string
	// Method is the method that the route belongs to.
	Method *Method
}

// AllowsQuery tells whether the route knows a query parameter of that exact name.
func (r *Route) AllowsQuery(name string) bool { return slices.Contains(r.Query, name) }

var pathParam = regexp.MustCompile(`\{([a-z_]+)(?:=[^}]*)?\}`)

func routeKey(verb, template string) string { return verb + " " + template }

func readRoutes(m *Method, d protoreflect.MethodDescriptor) ([]Route, error) {
	rule, _ := proto.GetExtension(d.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return nil, nil
	}
	var routes []Route
	for _, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		r, err := readRoute(m, binding)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func readRoute(m *Method, rule *annotations.HttpRule) (Route, error) {
	verb, template := verbAndPath(rule)
	if verb == "" {
		return Route{}, fmt.Errorf("contract: %s has an HTTP binding without a verb", m.FullName)
	}
	r := Route{Verb: verb, Template: template, Body: rule.GetBody(), Method: m}
	fields := m.Input.Fields()
	taken := map[string]bool{}
	for _, match := range pathParam.FindAllStringSubmatch(template, -1) {
		if fields.ByName(protoreflect.Name(match[1])) == nil {
			return Route{}, fmt.Errorf("contract: %s has no field for the path parameter %q", m.FullName, match[1])
		}
		r.PathParams = append(r.PathParams, match[1])
		taken[match[1]] = true
	}
	switch r.Body {
	case "":
	case "*":
		r.BodyMessage = m.Input
		return r, nil
	default:
		field := fields.ByName(protoreflect.Name(r.Body))
		if field == nil || field.Message() == nil || field.IsList() || field.IsMap() {
			return Route{}, fmt.Errorf("contract: body %q of %s is not a message field", r.Body, m.FullName)
		}
		r.BodyMessage = field.Message()
		taken[r.Body] = true
	}
	for field := range each(fields) {
		name := string(field.Name())
		if taken[name] {
			continue
		}
		if field.Message() != nil {
			return Route{}, fmt.Errorf("contract: field %q of %s cannot be a query parameter", name, m.FullName)
		}
		r.Query = append(r.Query, name)
	}
	return r, nil
}

func verbAndPath(rule *annotations.HttpRule) (verb, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	default:
		return "", ""
	}
}

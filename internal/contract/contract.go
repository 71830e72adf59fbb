// Package contract reads the generated protobuf descriptors and answers what they promise: the scope, idempotency name,
// audit event and HTTP routes of every method, the query parameters of every route, and the rules of every field. The
// transports, the OpenAPI document and the clients take these facts from here, so that nothing is stated twice.
//
// It imports the generated code and the protobuf runtime, and no other package of the platform.
package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// Method is what the contract says about one RPC.
type Method struct {
	// FullName is the gRPC name, for example "/kneo.v1.RunService/CreateRun".
	FullName string
	// Service is the short service name, for example "RunService".
	Service string
	// Name is the method name, for example "CreateRun".
	Name string
	// RequiredScope is the scope that the caller must hold; empty exactly when Public.
	RequiredScope string
	// Public says that no credentials are needed.
	Public bool
	// IdempotencyScope is the name under which keys are recorded; empty when the method ignores the header.
	IdempotencyScope string
	// AuditEvent is the type of the event that a successful call writes; empty when it writes none.
	AuditEvent string
	// Input and Output describe the messages.
	Input, Output protoreflect.MessageDescriptor
	// ClientStreaming and ServerStreaming tell a stream from a plain call.
	ClientStreaming, ServerStreaming bool
	// Routes are the HTTP bindings, the primary one first; empty for methods that only gRPC offers.
	Routes []Route
}

// Contract holds the facts of all methods and fields. It is immutable and safe for concurrent use.
type Contract struct {
	methods []*Method
	byName  map[string]*Method
	routes  []*Route
	byRoute map[string]*Route
	rules   map[protoreflect.FullName]Rules
}

// Load reads the descriptors that are linked into the program and checks them: every method names a scope or is public,
// idempotency scopes and routes are unique, bodies and path parameters name fields, and field rules fit their fields.
func Load() (*Contract, error) {
	var files []protoreflect.FileDescriptor
	pkg := kneov1.File_kneo_v1_run_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(fd protoreflect.FileDescriptor) bool {
		files = append(files, fd)
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) })
	return load(files)
}

func load(files []protoreflect.FileDescriptor) (*Contract, error) {
	c := &Contract{
		byName:  map[string]*Method{},
		byRoute: map[string]*Route{},
		rules:   map[protoreflect.FullName]Rules{},
	}
	for _, file := range files {
		if err := c.addMessages(file.Messages()); err != nil {
			return nil, err
		}
	}
	keys := map[string]string{}
	for _, file := range files {
		for service := range each(file.Services()) {
			for method := range each(service.Methods()) {
				m, err := readMethod(method)
				if err != nil {
					return nil, err
				}
				if owner, taken := keys[m.IdempotencyScope]; taken && m.IdempotencyScope != "" {
					return nil, fmt.Errorf("contract: %s and %s share the idempotency scope %q", owner, m.FullName, m.IdempotencyScope)
				}
				keys[m.IdempotencyScope] = m.FullName
				if err := c.addMethod(m); err != nil {
					return nil, err
				}
			}
		}
	}
	return c, nil
}

func (c *Contract) addMethod(m *Method) error {
	c.methods = append(c.methods, m)
	c.byName[m.FullName] = m
	for i := range m.Routes {
		r := &m.Routes[i]
		if other, taken := c.byRoute[routeKey(r.Verb, r.Template)]; taken {
			return fmt.Errorf("contract: %s and %s share the route %s %s", other.Method.FullName, m.FullName, r.Verb, r.Template)
		}
		c.byRoute[routeKey(r.Verb, r.Template)] = r
		c.routes = append(c.routes, r)
	}
	return nil
}

func (c *Contract) addMessages(messages protoreflect.MessageDescriptors) error {
	for message := range each(messages) {
		for field := range each(message.Fields()) {
			r, err := readRules(field)
			if err != nil {
				return err
			}
			c.rules[field.FullName()] = r
		}
		if err := c.addMessages(message.Messages()); err != nil {
			return err
		}
	}
	return nil
}

// Methods returns all methods in the order of the files and services. The caller must not change them.
func (c *Contract) Methods() []*Method { return c.methods }

// Method returns the facts of a gRPC method by its full name, for example "/kneo.v1.RunService/CreateRun".
func (c *Contract) Method(fullName string) (*Method, bool) {
	m, ok := c.byName[fullName]
	return m, ok
}

// Routes returns all HTTP routes in the order of the methods. The caller must not change them.
func (c *Contract) Routes() []*Route { return c.routes }

// Route returns the route of an HTTP verb and a path template. The spelling that the gateway gives to templates
// ("/v1/runs/{run_id=*}") is understood too.
func (c *Contract) Route(verb, template string) (*Route, bool) {
	r, ok := c.byRoute[routeKey(verb, strings.ReplaceAll(template, "=*}", "}"))]
	return r, ok
}

// Verbs returns the HTTP verbs that a path template accepts, in the order of the contract.
func (c *Contract) Verbs(template string) []string {
	template = strings.ReplaceAll(template, "=*}", "}")
	var verbs []string
	for _, r := range c.routes {
		if r.Template == template {
			verbs = append(verbs, r.Verb)
		}
	}
	return verbs
}

// Scopes returns the distinct scopes that methods require, sorted.
func (c *Contract) Scopes() []string {
	var scopes []string
	for _, m := range c.methods {
		if m.RequiredScope != "" {
			scopes = append(scopes, m.RequiredScope)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

func readMethod(d protoreflect.MethodDescriptor) (*Method, error) {
	service := d.Parent().(protoreflect.ServiceDescriptor)
	m := &Method{
		FullName:        fmt.Sprintf("/%s/%s", service.FullName(), d.Name()),
		Service:         string(service.Name()),
		Name:            string(d.Name()),
		Input:           d.Input(),
		Output:          d.Output(),
		ClientStreaming: d.IsStreamingClient(),
		ServerStreaming: d.IsStreamingServer(),
	}
	if options := d.Options(); options != nil {
		m.RequiredScope, _ = proto.GetExtension(options, kneov1.E_RequiredScope).(string)
		m.Public, _ = proto.GetExtension(options, kneov1.E_Public).(bool)
		m.IdempotencyScope, _ = proto.GetExtension(options, kneov1.E_IdempotencyScope).(string)
		m.AuditEvent, _ = proto.GetExtension(options, kneov1.E_AuditEvent).(string)
	}
	if m.Public == (m.RequiredScope != "") {
		return nil, fmt.Errorf("contract: %s must have either a required scope or be public", m.FullName)
	}
	routes, err := readRoutes(m, d)
	if err != nil {
		return nil, err
	}
	m.Routes = routes
	return m, nil
}

// list is what the descriptor lists of protoreflect have in common.
type list[T any] interface {
	Len() int
	Get(i int) T
}

// each ranges over a descriptor list.
func each[T any](l list[T]) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for i := range l.Len() {
			if !yield(l.Get(i)) {
				return
			}
		}
	}
}

package contract

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

func mustLoad(t *testing.T) *Contract {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestMethodFacts(t *testing.T) {
	c := mustLoad(t)
	m, ok := c.Method(kneov1.RunService_CreateRun_FullMethodName)
	if !ok {
		t.Fatal("CreateRun is missing")
	}
	if m.RequiredScope != "runs:write" || m.IdempotencyScope != "runs:create" || m.AuditEvent != "run.created" || m.Public {
		t.Errorf("CreateRun: %+v", m)
	}
	if m.Service != "RunService" || m.Name != "CreateRun" || m.Input.Name() != "RunCreateRequest" || m.Output.Name() != "RunCreateResponse" {
		t.Errorf("CreateRun: names %s %s %s %s", m.Service, m.Name, m.Input.Name(), m.Output.Name())
	}
	watch, ok := c.Method(kneov1.EventService_WatchRun_FullMethodName)
	if !ok || !watch.ServerStreaming || watch.ClientStreaming || len(watch.Routes) != 0 {
		t.Errorf("WatchRun: %+v", watch)
	}
	if _, ok := c.Method("/kneo.v1.RunService/Nothing"); ok {
		t.Error("an unknown method was found")
	}
}

func TestRoutes(t *testing.T) {
	c := mustLoad(t)
	tests := []struct {
		verb, template string
		method         string
		body           string
		bodyMessage    protoreflect.Name
		path, query    []string
	}{
		{http.MethodPost, "/v1/runs", "CreateRun", "*", "RunCreateRequest", nil, nil},
		{
			http.MethodGet, "/v1/runs", "ListRuns", "", "", nil,
			[]string{
				"status", "workflow_kind", "workflow_name", "session_id", "has_error", "created_after", "created_before", "q",
				"limit", "offset", "sort_by", "sort_order",
			},
		},
		{http.MethodGet, "/v1/runs/{run_id=*}", "GetRun", "", "", []string{"run_id"}, nil},
		{
			http.MethodGet, "/v1/runs/{run_id}/checkpoints", "ListCheckpoints", "", "",
			[]string{"run_id"},
			[]string{"type", "limit", "offset", "sort_by", "sort_order"},
		},
		{http.MethodPost, "/v1/human-tasks/{continuation_id}/resume", "ResumeHumanTask", "request", "HumanResumeRequest", []string{"continuation_id"}, nil},
		{http.MethodPut, "/v1/policies/environment/{environment}", "PutEnvironmentPolicy", "policy", "EnvironmentPolicy", []string{"environment"}, nil},
		{http.MethodPost, "/v1/runs/{run_id}/cancel", "CancelRun", "", "", []string{"run_id"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.verb+" "+tt.template, func(t *testing.T) {
			r, ok := c.Route(tt.verb, tt.template)
			if !ok {
				t.Fatal("no such route")
			}
			var body protoreflect.Name
			if r.BodyMessage != nil {
				body = r.BodyMessage.Name()
			}
			if r.Method.Name != tt.method || r.Body != tt.body || body != tt.bodyMessage {
				t.Errorf("got method %s, body %q of %s", r.Method.Name, r.Body, body)
			}
			if diff := cmp.Diff(tt.path, r.PathParams); diff != "" {
				t.Errorf("path parameters: %s", diff)
			}
			if diff := cmp.Diff(tt.query, r.Query); diff != "" {
				t.Errorf("query parameters: %s", diff)
			}
			for _, name := range tt.query {
				if !r.AllowsQuery(name) || r.AllowsQuery(strings.ToUpper(name)) {
					t.Errorf("AllowsQuery(%q) is not exact", name)
				}
			}
		})
	}
	if got := c.Verbs("/v1/policies/environment/{environment}"); !slices.Equal(got, []string{http.MethodGet, http.MethodPut}) {
		t.Errorf("Verbs: %v", got)
	}
	if _, ok := c.Route(http.MethodDelete, "/v1/runs"); ok {
		t.Error("an unknown route was found")
	}
}

func TestRules(t *testing.T) {
	c := mustLoad(t)
	field := func(m proto.Message, name protoreflect.Name) Rules {
		t.Helper()
		fd := m.ProtoReflect().Descriptor().Fields().ByName(name)
		if fd == nil {
			t.Fatalf("no field %s", name)
		}
		return c.Rules(fd)
	}
	create := &kneov1.RunCreateRequest{}
	if r := field(create, "input"); !r.Required || r.Nullable {
		t.Errorf("input: %+v", r)
	}
	if r := field(create, "spec_path"); !r.Nullable {
		t.Errorf("spec_path: %+v", r)
	}
	if r := field(create, "spec"); !r.Nullable {
		t.Errorf("spec: %+v", r)
	}
	if r := field(create, "overrides"); r.Nullable || string(r.Default) != "{}" {
		t.Errorf("overrides: %+v", r)
	}
	if r := field(create, "target"); r.Nullable || string(r.Default) != `"workflow"` || !slices.Equal(r.OneOf, []string{"agent", "workflow"}) {
		t.Errorf("target: %+v", r)
	}
	if r := field(&kneov1.ListRunsRequest{}, "limit"); r.Minimum == nil || *r.Minimum != 1 || r.Maximum == nil || *r.Maximum != 1000 {
		t.Errorf("limit: %+v", r)
	}
	if r := field(&kneov1.GetEnvironmentPolicyRequest{}, "environment"); r.MaxLength == nil || *r.MaxLength != 128 {
		t.Errorf("environment: %+v", r)
	}
	if r := field(&kneov1.Diagnostic{}, "line"); !r.OmitUnset {
		t.Errorf("line: %+v", r)
	}
}

// brokenFile is a contract of one method that a test damages.
func brokenFile(t *testing.T, damage func(*descriptorpb.FileDescriptorProto)) []protoreflect.FileDescriptor {
	t.Helper()
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, kneov1.E_RequiredScope, "runs:read")
	proto.SetExtension(options, annotations.E_Http, &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/v1/things/{id}"}})
	file := &descriptorpb.FileDescriptorProto{
		Name:    proto.String("thing.proto"),
		Package: proto.String("thing"),
		Syntax:  proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Thing"),
			Field: []*descriptorpb.FieldDescriptorProto{{
				Name:    proto.String("id"),
				Number:  proto.Int32(1),
				Label:   descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				Type:    descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
				Options: &descriptorpb.FieldOptions{},
			}},
		}},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("ThingService"),
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: proto.String("GetThing"), InputType: proto.String(".thing.Thing"), OutputType: proto.String(".thing.Thing"), Options: options,
			}},
		}},
	}
	damage(file)
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatalf("NewFile: %v", err)
	}
	return []protoreflect.FileDescriptor{fd}
}

func TestLoadRefuses(t *testing.T) {
	method := func(f *descriptorpb.FileDescriptorProto) *descriptorpb.MethodOptions {
		return f.Service[0].Method[0].Options
	}
	http := func(rule *annotations.HttpRule) func(*descriptorpb.FileDescriptorProto) {
		return func(f *descriptorpb.FileDescriptorProto) { proto.SetExtension(method(f), annotations.E_Http, rule) }
	}
	rules := func(r *kneov1.FieldRules) func(*descriptorpb.FileDescriptorProto) {
		return func(f *descriptorpb.FileDescriptorProto) {
			proto.SetExtension(f.MessageType[0].Field[0].Options, kneov1.E_Rules, r)
		}
	}
	tests := []struct {
		name, want string
		damage     func(*descriptorpb.FileDescriptorProto)
	}{
		{"sound", "", func(*descriptorpb.FileDescriptorProto) {}},
		{"no scope", "scope or be public", func(f *descriptorpb.FileDescriptorProto) {
			proto.ClearExtension(method(f), kneov1.E_RequiredScope)
		}},
		{"scope and public", "scope or be public", func(f *descriptorpb.FileDescriptorProto) {
			proto.SetExtension(method(f), kneov1.E_Public, true)
		}},
		{"same idempotency scope", "share the idempotency scope", func(f *descriptorpb.FileDescriptorProto) {
			proto.SetExtension(method(f), kneov1.E_IdempotencyScope, "things")
			twin := proto.Clone(f.Service[0].Method[0]).(*descriptorpb.MethodDescriptorProto)
			twin.Name = proto.String("GetTwin")
			proto.ClearExtension(twin.Options, annotations.E_Http)
			f.Service[0].Method = append(f.Service[0].Method, twin)
		}},
		{"same route", "share the route", func(f *descriptorpb.FileDescriptorProto) {
			twin := proto.Clone(f.Service[0].Method[0]).(*descriptorpb.MethodDescriptorProto)
			twin.Name = proto.String("GetTwin")
			f.Service[0].Method = append(f.Service[0].Method, twin)
		}},
		{"unknown path parameter", `path parameter "name"`, http(&annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/v1/things/{name}"}})},
		{"no verb", "without a verb", http(&annotations.HttpRule{})},
		{"body is no message", "not a message field", http(&annotations.HttpRule{Pattern: &annotations.HttpRule_Put{Put: "/v1/things"}, Body: "id"})},
		{"number rule on text", "no number rules", rules(&kneov1.FieldRules{Minimum: proto.Int64(1)})},
		{"required and nullable", "cannot be nullable", rules(&kneov1.FieldRules{Required: proto.Bool(true), Nullable: proto.Bool(true)})},
		{"default is not JSON", "is not JSON", rules(&kneov1.FieldRules{DefaultJson: proto.String("{")})},
		{"default is not allowed", "is none of", rules(&kneov1.FieldRules{DefaultJson: proto.String(`"c"`), OneOf: []string{"a", "b"}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(brokenFile(t, tt.damage))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

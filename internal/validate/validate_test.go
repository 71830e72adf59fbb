package validate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

func load(t testing.TB) *contract.Contract {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lines(err error) []string {
	var out []string
	if p := problem.As(err); p != nil {
		for _, i := range p.Issues {
			out = append(out, fmt.Sprintf("%s %v %s", i.Type, i.Loc, i.Msg))
		}
	}
	return out
}

func tight() validate.Limits {
	return validate.Limits{InputChars: 50, HumanContentChars: 20, InlineSpecBytes: 90, OverridesBytes: 100, MetadataBytes: 100, ListItems: 3, PathChars: 40}
}

func TestRunCreate(t *testing.T) {
	long := strings.Repeat("x", 101)
	tests := map[string]struct {
		body string
		want []string
	}{
		"good":           {`{"input":"` + strings.Repeat("ü", 50) + `","spec_path":"a/b..c.yaml","spec":{}}`, nil},
		"input":          {`{"input":"` + long + `"}`, []string{"value_error [body input] Value error, input exceeds maximum length of 50 characters."}},
		"sizes":          {`{"input":"","spec":{"k":"` + long + `"},"overrides":{"k":"` + long + `"},"metadata":{"k":"` + long + `"}}`, []string{"value_error [body spec] Value error, spec exceeds maximum serialized size of 90 bytes.", "value_error [body overrides] Value error, overrides exceeds maximum serialized size of 100 bytes.", "value_error [body metadata] Value error, metadata exceeds maximum serialized size of 100 bytes."}},
		"short texts":    {`{"input":"","spec_path":"` + long + `","environment":"` + long + `","session_id":"` + long + `","overlays":["` + long + `"]}`, []string{"value_error [body spec_path] Value error, path/environment exceeds maximum length of 40 characters.", "value_error [body environment] Value error, path/environment exceeds maximum length of 40 characters.", "value_error [body overlays] Value error, overlay path exceeds maximum length of 40 characters.", "value_error [body session_id] Value error, path/environment exceeds maximum length of 40 characters."}},
		"items":          {`{"input":"","overlays":["a","b","c","d"]}`, []string{"value_error [body overlays] Value error, overlays exceeds maximum item count of 3."}},
		"home":           {`{"input":"","spec_path":"~/x"}`, []string{"value_error [body spec_path] Value error, spec_path must not use '~' home-directory expansion."}},
		"parent":         {`{"input":"","spec_path":"a\\..\\b","overlays":["ok","../x","~"]}`, []string{"value_error [body spec_path] Value error, spec_path must not contain parent-directory ('..') segments.", "value_error [body overlays] Value error, spec_path must not contain parent-directory ('..') segments."}},
		"literal":        {`{"input":"","target":"robot"}`, []string{"literal_error [body target] Input should be 'agent' or 'workflow'"}},
		"deadline":       {`{"input":"","timeout_seconds":0}`, []string{"greater_than [body timeout_seconds] Input should be greater than 0"}},
		"mixed in order": {`{"zeta":1,"target":"robot","spec":1,"metadata":{"k":"` + long + `"}}`, []string{"missing [body input] Field required", "dict_type [body spec] Input should be a valid dictionary", "literal_error [body target] Input should be 'agent' or 'workflow'", "value_error [body metadata] Value error, metadata exceeds maximum serialized size of 100 bytes.", "extra_forbidden [body zeta] Extra inputs are not permitted"}},
		"broken":         {`{"input":`, []string{"json_invalid [body 9] JSON decode error"}},
	}
	c := load(t)
	codec, v := wirejson.New(c), validate.New(c, tight())
	m, _ := c.Method(kneov1.RunService_CreateRun_FullMethodName)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var req kneov1.RunCreateRequest
			issues := codec.Decode([]byte(test.body), &req, "body")
			if diff := cmp.Diff(test.want, lines(v.Request(m, &req, &validate.Pending{Issues: issues, Parsed: true}))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	c := load(t)
	v := validate.New(c, validate.DefaultLimits())
	m, _ := c.Method(kneov1.RunService_ListRuns_FullMethodName)
	var list kneov1.ListRunsRequest
	if err := v.Request(m, &list, nil); err != nil {
		t.Fatal(err)
	}
	if list.GetLimit() != 100 || list.Offset == nil || list.GetSortBy() != "updated_at" || list.GetSortOrder() != "desc" || list.Status != nil {
		t.Errorf("%v", &list)
	}
	m, _ = c.Method(kneov1.RunService_CreateRun_FullMethodName)
	create := kneov1.RunCreateRequest{Input: "x"}
	if err := v.Request(m, &create, nil); err != nil {
		t.Fatal(err)
	}
	if create.GetTarget() != "workflow" || string(create.GetMetadata().GetRaw()) != "{}" || create.Spec != nil {
		t.Errorf("%v", &create)
	}
}

func TestOtherRequests(t *testing.T) {
	c := load(t)
	v := validate.New(c, tight())
	long := strings.Repeat("x", 129)
	tests := map[string]struct {
		method  string
		request proto.Message
		want    []string
	}{
		"bounds":        {kneov1.RunService_ListRuns_FullMethodName, &kneov1.ListRunsRequest{Limit: proto.Int32(0), Offset: proto.Int32(10001), SortOrder: proto.String("up")}, []string{"greater_than_equal [query limit] Input should be greater than or equal to 1", "less_than_equal [query offset] Input should be less than or equal to 10000", "literal_error [query sort_order] Input should be 'asc' or 'desc'"}},
		"path and body": {kneov1.PolicyService_PutEnvironmentPolicy_FullMethodName, &kneov1.PutEnvironmentPolicyRequest{Environment: long, Policy: &kneov1.EnvironmentPolicy{BlockedDiagnosticCodes: []string{"a", long}}}, []string{"string_too_long [path environment] String should have at most 128 characters", "value_error [body blocked_diagnostic_codes] Value error, diagnostic code exceeds maximum length of 40 characters."}},
		"empty path":    {kneov1.PolicyService_GetEnvironmentPolicy_FullMethodName, &kneov1.GetEnvironmentPolicyRequest{}, []string{"string_too_short [path environment] String should have at least 1 character"}},
		"no body":       {kneov1.HumanTaskService_ResumeHumanTask_FullMethodName, &kneov1.ResumeHumanTaskRequest{ContinuationId: "c"}, []string{"missing [body] Field required"}},
		"resume":        {kneov1.HumanTaskService_ResumeHumanTask_FullMethodName, &kneov1.ResumeHumanTaskRequest{Request: &kneov1.HumanResumeRequest{Decision: "maybe", Content: proto.String(long)}}, []string{"literal_error [body decision] Input should be 'approved', 'rejected', 'edited', 'selected' or 'provided'", "value_error [body content] Value error, content exceeds maximum length of 20 characters."}},
		"broken raw":    {kneov1.SpecService_ValidateSpec_FullMethodName, &kneov1.SpecRequest{Spec: &kneov1.JsonObject{Raw: []byte("{")}, Overrides: &kneov1.JsonObject{Raw: []byte("[1]")}}, []string{"json_invalid [body spec 1] JSON decode error", "dict_type [body overrides] Input should be a valid dictionary"}},
		"grpc only":     {kneov1.EventService_WatchRun_FullMethodName, &kneov1.WatchRunRequest{After: -1}, []string{"greater_than_equal [body after] Input should be greater than or equal to 0"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, ok := c.Method(test.method)
			if !ok {
				t.Fatal(test.method)
			}
			if diff := cmp.Diff(test.want, lines(v.Request(m, test.request, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnknownQuery(t *testing.T) {
	v := validate.New(load(t), validate.DefaultLimits())
	if err := v.Query(nil); err != nil {
		t.Fatal(err)
	}
	err := v.Query(&validate.Pending{UnknownQuery: []string{"zeta", "Alpha", "alpha", "zeta"}})
	p := problem.As(err)
	if p == nil || p.Code != problem.UnknownQueryParameters || !strings.Contains(p.Message, "(s): Alpha, alpha, zeta. (0.11.0") {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]problem.Field{{Key: "unknown", Value: []string{"Alpha", "alpha", "zeta"}}}, p.Fields); diff != "" {
		t.Error(diff)
	}
}

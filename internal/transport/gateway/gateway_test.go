package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/inproc"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/transport/gateway"
	"github.com/kneo-go/kneo/internal/transport/interceptor"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// fakeKeys keeps idempotency records in memory.
type fakeKeys struct {
	mu      sync.Mutex
	records map[[2]string]run.IdempotencyRecord
}

func (f *fakeKeys) Idempotency(_ context.Context, scope, key string) (run.IdempotencyRecord, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.records[[2]string{scope, key}]
	if !ok {
		return r, store.ErrNotFound
	}
	return r, nil
}

func (f *fakeKeys) put(c *store.Claim, done bool, status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[[2]string{c.Scope, c.Key}] = run.IdempotencyRecord{Scope: c.Scope, Key: c.Key, Hash: c.Hash, Done: done, StatusCode: status, Response: json.RawMessage(body)}
}

// fakeRuns answers with what it was asked.
type fakeRuns struct {
	kneov1.UnimplementedRunServiceServer
	keys    *fakeKeys
	creates int
	last    proto.Message
}

func object(text string) *kneov1.JsonObject { return &kneov1.JsonObject{Raw: []byte(text)} }

func (f *fakeRuns) CreateRun(ctx context.Context, r *kneov1.RunCreateRequest) (*kneov1.RunCreateResponse, error) {
	f.creates++
	f.last = r
	switch r.GetInput() {
	case "panic":
		panic("secret sk-abcdefghijkl1234")
	case "plain":
		return nil, io.ErrUnexpectedEOF
	case "full":
		return nil, problem.New(problem.QueueFull, "Run queue is full.").With("queue_depth", 3).With("limit", 2).After(5)
	}
	if claim := idempotency.FromContext(ctx); claim != nil {
		f.keys.put(claim, r.GetInput() != "open", claim.StatusCode, `{"run_id":"stored","status":"queued", "output_text":null,"human_intervention_required":false,"continuation_id":null,"metadata":{"n": 1.0}}`)
	}
	return &kneov1.RunCreateResponse{RunId: proto.String("r1"), Status: "completed", OutputText: proto.String(r.GetInput()), Metadata: object(`{"actor":"` + auth.FromContext(ctx).Name + `"}`)}, nil
}

func (f *fakeRuns) ListRuns(_ context.Context, r *kneov1.ListRunsRequest) (*kneov1.ListRunsResponse, error) {
	f.last = r
	return &kneov1.ListRunsResponse{Limit: r.GetLimit(), Offset: r.GetOffset(), SortBy: r.GetSortBy(), SortOrder: r.GetSortOrder(), Window: 10000}, nil
}

func (f *fakeRuns) GetRun(_ context.Context, r *kneov1.GetRunRequest) (*kneov1.RunStatusResponse, error) {
	if r.GetRunId() == "absent" {
		return nil, problem.New(problem.NotFound, "The requested resource was not found.")
	}
	out := &kneov1.RunStatusResponse{RunId: r.GetRunId(), Status: "completed"}
	if r.GetRunId() == "big" {
		out.Metadata = object(`{"big":"` + strings.Repeat("x", 6<<20) + `"}`)
	}
	return out, nil
}

func (f *fakeRuns) CancelRun(_ context.Context, r *kneov1.CancelRunRequest) (*kneov1.RunStatusResponse, error) {
	return &kneov1.RunStatusResponse{RunId: r.GetRunId(), Status: "cancelled"}, nil
}

type fakeHealth struct {
	kneov1.UnimplementedHealthServiceServer
}

func (fakeHealth) GetHealth(context.Context, *kneov1.GetHealthRequest) (*kneov1.HealthResponse, error) {
	return &kneov1.HealthResponse{Ok: true, Service: "kneo-serv-platform", Version: "1.2.0", Metadata: object(`{"status":"healthy"}`)}, nil
}

func (fakeHealth) GetReadiness(context.Context, *kneov1.GetReadinessRequest) (*kneov1.HealthResponse, error) {
	return nil, problem.New(problem.NotReady, "One or more readiness checks failed.").With("metadata", json.RawMessage(`{"ready":false}`))
}

type fakeSecurity struct {
	kneov1.UnimplementedSecurityServiceServer
	last *kneov1.GetCredentialInventoryRequest
}

func (f *fakeSecurity) GetCredentialInventory(_ context.Context, r *kneov1.GetCredentialInventoryRequest) (*kneov1.CredentialInventoryResponse, error) {
	f.last = r
	return &kneov1.CredentialInventoryResponse{Inventory: &kneov1.CredentialInventory{}}, nil
}

type fakePolicies struct {
	kneov1.UnimplementedPolicyServiceServer
}

func (fakePolicies) PutEnvironmentPolicy(_ context.Context, r *kneov1.PutEnvironmentPolicyRequest) (*kneov1.EnvironmentPolicyResponse, error) {
	return &kneov1.EnvironmentPolicyResponse{Environment: r.GetEnvironment(), Policy: r.GetPolicy()}, nil
}

type fixture struct {
	handler  http.Handler
	runs     *fakeRuns
	security *fakeSecurity
	keys     *fakeKeys
	log      *strings.Builder
}

func setUp(t testing.TB, settings auth.Settings) *fixture {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{keys: &fakeKeys{records: map[[2]string]run.IdempotencyRecord{}}, log: &strings.Builder{}, security: &fakeSecurity{}}
	f.runs = &fakeRuns{keys: f.keys}
	codec := wirejson.New(c)
	chain, err := interceptor.New(interceptor.Options{
		Contract: c, Codec: codec, Authenticator: a, Validator: validate.New(c, validate.DefaultLimits()), Keys: f.keys,
		Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := inproc.New(chain.Unary(), chain.Stream())
	kneov1.RegisterRunServiceServer(conn, f.runs)
	kneov1.RegisterHealthServiceServer(conn, fakeHealth{})
	kneov1.RegisterSecurityServiceServer(conn, f.security)
	kneov1.RegisterPolicyServiceServer(conn, fakePolicies{})
	f.handler, err = gateway.New(gateway.Options{Contract: c, Codec: codec, Conn: conn, Authenticator: a})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	const unknown = `. (0.11.0 breaking change: unknown query params are now rejected; through 0.10.x they were silently ignored.)`
	const created = `{"run_id":"r1","status":"completed","output_text":"<x>","human_intervention_required":false,"continuation_id":null,"metadata":{"actor":"anonymous"}}`
	const page = `{"runs":[],"count":0,"total":0,"window":10000,"limit":100,"offset":0,"sort_by":"updated_at","sort_order":"desc"}`
	tests := map[string]struct {
		method, target, body string
		status               int
		want                 string
	}{
		"create":             {"POST", "/v1/runs", `{"input":"<x>"}`, 200, created},
		"create, old path":   {"POST", "/runs", `{"input":"<x>"}`, 200, created},
		"create, queued":     {"POST", "/v1/runs", `{"input":"<x>","async_mode":true}`, 202, created},
		"list":               {"GET", "/v1/runs", "", 200, page},
		"list, last wins":    {"GET", "/runs?limit=5&limit=100&offset=%200%20&has_error=YES&q=a%26b", "", 200, page},
		"broken":             {"POST", "/v1/runs", `{"input":`, 422, `{"detail":[{"type":"json_invalid","loc":["body",9],"msg":"JSON decode error","input":{},"ctx":{"error":"unexpected end of text"}}]}`},
		"no body":            {"POST", "/v1/runs", ``, 422, `{"detail":[{"type":"missing","loc":["body"],"msg":"Field required"}]}`},
		"missing":            {"POST", "/v1/runs", `{}`, 422, `{"detail":[{"type":"missing","loc":["body","input"],"msg":"Field required"}]}`},
		"enum":               {"POST", "/v1/runs", `{"input":"x","target":"robot"}`, 422, `{"detail":[{"type":"literal_error","loc":["body","target"],"msg":"Input should be 'agent' or 'workflow'","ctx":{"expected":"'agent' or 'workflow'"}}]}`},
		"query types":        {"GET", "/v1/runs?limit=ten&offset=-1&has_error=maybe", "", 422, `{"detail":[{"type":"bool_parsing","loc":["query","has_error"],"msg":"Input should be a valid boolean, unable to interpret input"},{"type":"int_parsing","loc":["query","limit"],"msg":"Input should be a valid integer, unable to parse string as an integer"},{"type":"greater_than_equal","loc":["query","offset"],"msg":"Input should be greater than or equal to 0","ctx":{"ge":0}}]}`},
		"unknown query":      {"GET", "/v1/runs?zeta=1&alpha=2&Limit=3&limit=0", "", 422, `{"detail":{"error":"unknown_query_parameters","message":"Unrecognized query parameter(s): Limit, alpha, zeta` + unknown + `","unknown":["Limit","alpha","zeta"]}}`},
		"query on a post":    {"POST", "/v1/runs?input=x", `{"input":"x"}`, 422, `{"detail":{"error":"unknown_query_parameters","message":"Unrecognized query parameter(s): input` + unknown + `","unknown":["input"]}}`},
		"path not by query":  {"GET", "/v1/runs/a?run_id=b", "", 422, `{"detail":{"error":"unknown_query_parameters","message":"Unrecognized query parameter(s): run_id` + unknown + `","unknown":["run_id"]}}`},
		"absent":             {"GET", "/v1/runs/absent", "", 404, `{"detail":{"error":"not_found","message":"The requested resource was not found."}}`},
		"unknown path":       {"GET", "/nowhere", "", 404, `{"detail":"Not Found"}`},
		"doubled slash":      {"GET", "/v1//runs", "", 404, `{"detail":"Not Found"}`},
		"empty id":           {"GET", "/v1/runs//trace", "", 404, `{"detail":"Not Found"}`},
		"other case":         {"GET", "/v1/Runs", "", 404, `{"detail":"Not Found"}`},
		"slash in an id":     {"GET", "/v1/runs/a%2Fb", "", 404, `{"detail":"Not Found"}`},
		"no /v1 twice":       {"GET", "/v1/v1/runs", "", 404, `{"detail":"Not Found"}`},
		"wrong method":       {"DELETE", "/v1/runs", "", 405, `{"detail":"Method Not Allowed"}`},
		"head":               {"HEAD", "/v1/healthz", "", 405, `{"detail":"Method Not Allowed"}`},
		"not implemented":    {"POST", "/v1/runs/a/continue", "", 501, `{"detail":{"error":"unimplemented","message":"method ContinueRun not implemented"}}`},
		"body is ignored":    {"POST", "/v1/runs/a/cancel", `{broken`, 200, `{"run_id":"a","status":"cancelled","agent_name":null,"workflow_name":null,"workflow_kind":null,"session_id":null,"input_text":null,"output_text":null,"current_step_index":null,"current_node_id":null,"visited_steps":[],"visited_nodes":[],"pending_human_request":null,"continuation_id":null,"trace_event_count":0,"usage":null,"metadata":{},"error":null}`},
		"health":             {"GET", "/healthz?probe=1", "", 200, `{"ok":true,"service":"kneo-serv-platform","version":"1.2.0","metadata":{"status":"healthy"}}`},
		"not ready":          {"GET", "/v1/readyz", "", 503, `{"detail":{"error":"not_ready","message":"One or more readiness checks failed.","metadata":{"ready":false}},"error":"not_ready","metadata":{"ready":false}}`},
		"panic":              {"POST", "/v1/runs", `{"input":"panic"}`, 500, `{"detail":{"error":"internal_error","message":"An internal error occurred."}}`},
		"unclassified":       {"POST", "/v1/runs", `{"input":"plain"}`, 500, `{"detail":{"error":"internal_error","message":"An internal error occurred."}}`},
		"queue full":         {"POST", "/v1/runs", `{"input":"full"}`, 503, `{"detail":{"error":"queue_full","message":"Run queue is full.","queue_depth":3,"limit":2}}`},
		"not UTF-8":          {"POST", "/v1/runs", "{\"input\":\"\xff\"}", 400, `{"detail":"There was an error parsing the body"}`},
		"path and body":      {"PUT", "/v1/policies/environment/" + strings.Repeat("e", 129), `{"enabled":3}`, 422, `{"detail":[{"type":"string_too_long","loc":["path","environment"],"msg":"String should have at most 128 characters","ctx":{"max_length":128}},{"type":"bool_parsing","loc":["body","enabled"],"msg":"Input should be a valid boolean, unable to interpret input"}]}`},
		"body of a field":    {"PUT", "/v1/policies/environment/a%20b:c", `{"enabled":false}`, 200, `{"environment":"a b:c","policy":{"enabled":false,"fail_on_warnings":false,"blocked_diagnostic_codes":[],"require_human_review":false,"require_tool_permissions":false,"deny_unrestricted_tools":false,"require_guardrails":false},"previous_policy":null}`},
		"empty field body":   {"PUT", "/v1/policies/environment/a", ``, 422, `{"detail":[{"type":"missing","loc":["body"],"msg":"Field required"}]}`},
		"policy of defaults": {"PUT", "/policies/environment/a", `{}`, 200, `{"environment":"a","policy":{"enabled":true,"fail_on_warnings":false,"blocked_diagnostic_codes":[],"require_human_review":false,"require_tool_permissions":false,"deny_unrestricted_tools":false,"require_guardrails":false},"previous_policy":null}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := setUp(t, auth.Settings{}).do(test.method, test.target, test.body)
			if w.Code != test.status || w.Body.String() != test.want {
				t.Errorf("%d %s\nwant %d %s", w.Code, w.Body, test.status, test.want)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Error(got)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	f := setUp(t, auth.Settings{})
	if got := f.do("POST", "/v1/runs", `{"input":"full"}`).Header().Get("Retry-After"); got != "5" {
		t.Error(got)
	}
	if got := f.do("PATCH", "/v1/runs", "").Header().Get("Allow"); got != "POST, GET" {
		t.Error(got)
	}
	w := f.do("POST", "/runs/?a=b", "{}")
	if got := w.Header().Get("Location"); w.Code != 307 || got != "http://example.com/runs?a=b" || w.Body.Len() != 0 {
		t.Error(w.Code, got)
	}
	for name := range f.do("GET", "/v1/runs/absent", "", "Grpc-Metadata-X", "y").Header() {
		if strings.HasPrefix(name, "Grpc-") {
			t.Error(name)
		}
	}
}

func TestLargeAnswer(t *testing.T) {
	w := setUp(t, auth.Settings{}).do("GET", "/v1/runs/big", "")
	if w.Code != 200 || w.Body.Len() < 6<<20 || w.Header().Get("Content-Length") == "" {
		t.Error(w.Code, w.Body.Len(), w.Header())
	}
}

func TestRepeatedQuery(t *testing.T) {
	f := setUp(t, auth.Settings{})
	w := f.do("GET", "/v1/security/credentials?providers=a&providers=b%2Cc&include_service_tokens=0", "")
	if w.Code != 200 || strings.Join(f.security.last.GetProviders(), "|") != "a|b,c" || f.security.last.GetIncludeServiceTokens() {
		t.Error(w.Body, f.security.last)
	}
	f.do("GET", "/v1/security/credentials", "")
	if !f.security.last.GetIncludeServiceTokens() {
		t.Error("the default is true")
	}
}

func TestContentTypes(t *testing.T) {
	for kind, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "application/vnd.x+json": 200, "Application/JSON": 200, "": 422, "text/plain": 422, "application/x-www-form-urlencoded": 422,
	} {
		f := setUp(t, auth.Settings{})
		r := httptest.NewRequest("POST", "/v1/runs", strings.NewReader(`{"input":"x"}`))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		if w.Code != status || status == 422 && !strings.Contains(w.Body.String(), `"model_attributes_type"`) {
			t.Errorf("%q: %d %s", kind, w.Code, w.Body)
		}
	}
}

func TestOrderOfChecks(t *testing.T) {
	f := setUp(t, auth.Settings{APIKeys: "v:view:viewer;o:op:operator;ü:clé:operator"})
	long := strings.Repeat("k", 257)
	tests := []struct {
		key, target, body, idem string
		status                  int
		code                    string
	}{
		{"", "/v1/runs?x=1", `{broken`, long, 401, "unauthorized"},
		{"view", "/v1/runs?x=1", `{broken`, long, 403, "forbidden"},
		{"op", "/v1/runs?x=1", `{broken`, long, 422, "unknown_query_parameters"},
		{"op", "/v1/runs", `{broken`, long, 400, "invalid_idempotency_key"},
		{"op", "/v1/runs", `{broken`, "  ", 400, "invalid_idempotency_key"},
		{"op", "/v1/runs", `{broken`, "k", 422, "json_invalid"},
		{"clé", "/v1/runs", `{"input":"x"}`, "k", 200, ""},
	}
	for _, test := range tests {
		w := f.do("POST", test.target, test.body, "X-Kneo-Api-Key", test.key, "Idempotency-Key", test.idem)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.code) {
			t.Errorf("%+v: %d %s", test, w.Code, w.Body)
		}
		if got := w.Header().Get("WWW-Authenticate"); (got == "Bearer") != (test.status == 401) {
			t.Error(got)
		}
	}
	if w := f.do("GET", "/v1/healthz", ""); w.Code != 200 {
		t.Error("probes need no key")
	}
}

func TestIdempotency(t *testing.T) {
	f := setUp(t, auth.Settings{APIKeys: "a:ka:operator;b:kb:operator"})
	post := func(key, idem, body string) *httptest.ResponseRecorder {
		return f.do("POST", "/v1/runs", body, "Authorization", "Bearer "+key, "Idempotency-Key", idem)
	}
	if w := post("ka", " k ", `{"input":"x","async_mode":true}`); w.Code != 202 || !strings.Contains(w.Body.String(), `"r1"`) {
		t.Fatal(w.Code, w.Body)
	}
	w := post("ka", "k", `{"async_mode":true,"metadata":{}, "input":"x","target":"workflow"}`)
	if w.Code != 202 || !strings.Contains(w.Body.String(), `"status":"queued", "output_text"`) || !strings.Contains(w.Body.String(), `{"n": 1.0}`) {
		t.Error("a replay is the stored answer, byte for byte", w.Code, w.Body)
	}
	if w := post("ka", "k", `{"input":"y"}`); w.Code != 409 || w.Body.String() != `{"detail":{"error":"idempotency_key_conflict","message":"Idempotency-Key was already used with a different request payload.","scope":"runs:create"}}` {
		t.Error(w.Code, w.Body)
	}
	if w := post("kb", "k", `{"input":"y"}`); w.Code != 200 {
		t.Error("keys belong to a principal", w.Code, w.Body)
	}
	post("ka", "slow", `{"input":"open"}`)
	if w := post("ka", "slow", `{"input":"open"}`); w.Code != 409 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "idempotency_key_in_progress") {
		t.Error(w.Code, w.Body)
	}
	if f.runs.creates != 3 {
		t.Error(f.runs.creates)
	}
}

func TestStoredFailureIsReplayed(t *testing.T) {
	f := setUp(t, auth.Settings{})
	f.do("POST", "/v1/runs", `{"input":"x"}`, "Idempotency-Key", "k")
	body := `{"detail":{"error":"guardrail_violation","message":"no","violation_type":"GuardrailViolation","run_id":"r"}}`
	f.keys.mu.Lock()
	for at, r := range f.keys.records {
		r.StatusCode, r.Response = 422, json.RawMessage(body)
		f.keys.records[at] = r
	}
	f.keys.mu.Unlock()
	if w := f.do("POST", "/v1/runs", `{"input":"x"}`, "Idempotency-Key", "k"); w.Code != 422 || w.Body.String() != body {
		t.Error(w.Code, w.Body)
	}
}

func TestSecretsOfPanicsAreMasked(t *testing.T) {
	f := setUp(t, auth.Settings{})
	f.do("POST", "/v1/runs", `{"input":"panic"}`)
	if strings.Contains(f.log.String(), "sk-abcdefghijkl1234") || !strings.Contains(f.log.String(), "panic in a call") {
		t.Error(f.log)
	}
}

func FuzzGateway(f *testing.F) {
	f.Add("GET", "/v1/runs?limit=1", "")
	f.Add("POST", "/v1/runs", `{"input":"x","spec":{"a":[1]}}`)
	f.Add("PUT", "/policies/environment/%00", `{`)
	f.Add("GET", "/v1/runs/%2e%2e/?x=%zz;a", "\xff")
	fix := setUp(f, auth.Settings{})
	f.Fuzz(func(t *testing.T, method, target, body string) {
		r, err := http.NewRequest(method, "http://h", strings.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		u, err := r.URL.Parse("http://h" + target)
		if err != nil {
			return
		}
		r.URL = u
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		fix.handler.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != 501 && w.Code != 503 && !strings.Contains(body, "panic") && !strings.Contains(body, "plain") && !strings.Contains(body, "full") {
			t.Fatalf("%s %s %q: %d %s", method, target, body, w.Code, w.Body)
		}
		if w.Code != 307 && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q is not JSON", w.Body)
		}
	})
}

func BenchmarkGetRun(b *testing.B) {
	f := setUp(b, auth.Settings{APIKeys: "v:view:viewer"})
	r := httptest.NewRequest("GET", "/v1/runs/a", nil)
	r.Header.Set("X-Kneo-Api-Key", "view")
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

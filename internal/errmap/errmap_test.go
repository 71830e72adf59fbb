package errmap_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
)

// declared reads the codes from the source of package problem, so that a new one cannot be forgotten in the table.
func declared(t *testing.T) []problem.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../problem/problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []problem.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, problem.Code(text))
			}
		}
		return true
	})
	return all
}

func TestEveryCodeHasItsPlace(t *testing.T) {
	all := declared(t)
	if len(all) < 20 {
		t.Fatal(all)
	}
	for _, code := range all {
		target := errmap.Lookup(code)
		if target.HTTP == http.StatusInternalServerError && code != problem.Internal {
			t.Errorf("%s has no place in the table", code)
		}
		err := errmap.ToStatus(fmt.Errorf("around: %w", problem.New(code, "text")))
		s, ok := status.FromError(err)
		if !ok || s.Code() != target.GRPC {
			t.Errorf("%s: %v", code, err)
		}
		if got := errmap.FromStatus(s).Code; got != code {
			t.Errorf("%s comes back as %s", code, got)
		}
		w := httptest.NewRecorder()
		errmap.WriteError(w, err)
		if w.Code != target.HTTP || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %s", code, w.Code, w.Body)
		}
	}
}

func TestStatusRoundTrip(t *testing.T) {
	want := problem.New(problem.QueueFull, "full of %s", "x").With("queue_depth", json.RawMessage(`3`)).With("who", json.RawMessage(`"a"`)).After(5)
	want.RunID = "r"
	s := status.Convert(errmap.ToStatus(want))
	got := errmap.FromStatus(s)
	want.Fields = append(want.Fields, problem.Field{Key: "run_id", Value: json.RawMessage(`"r"`)})
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(problem.Error{})); diff != "" {
		t.Error(diff)
	}
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if info.GetReason() != "queue_full" || info.GetDomain() != errmap.Domain || info.GetMetadata()["run_id"] != "r" || retry.GetRetryDelay().GetSeconds() != 5 {
		t.Error(info, retry)
	}
}

func TestIssuesRoundTrip(t *testing.T) {
	e := problem.New(problem.ValidationFailed, "no")
	e.Issues = []problem.Issue{
		{Type: "missing", Loc: []any{"body", "a", 0.0}, Msg: "Field required"},
		{Type: "x", Loc: []any{"body"}, Msg: "m", Input: []byte(`{}`), Ctx: map[string]any{"ge": 1.0}},
	}
	s := status.Convert(errmap.ToStatus(e))
	if diff := cmp.Diff(e.Issues, errmap.FromStatus(s).Issues); diff != "" {
		t.Error(diff)
	}
	for _, d := range s.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok && (bad.GetFieldViolations()[0].GetField() != "a.0" || bad.GetFieldViolations()[1].GetField() != "body") {
			t.Error(bad)
		}
	}
	back, err := errmap.FromEnvelope(errmap.Envelope(e))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Issues, back.Issues); diff != "" {
		t.Error(diff)
	}
}

func TestEnvelopes(t *testing.T) {
	withRun := problem.New(problem.GuardrailViolation, "mail joe@example.org <b>").With("violation_type", "GuardrailViolation")
	withRun.RunID = "r1"
	for want, e := range map[string]*problem.Error{
		`{"detail":{"error":"not_found","message":"gone"}}`: problem.New(problem.NotFound, "gone"),
		`{"detail":{"error":"guardrail_violation","message":"mail [REDACTED_EMAIL] <b>","violation_type":"GuardrailViolation","run_id":"r1"}}`: withRun,
		`{"detail":{"error":"not_ready","message":"no","metadata":{"ready":false}},"error":"not_ready","metadata":{"ready":false}}`:            problem.New(problem.NotReady, "no").With("metadata", map[string]bool{"ready": false}),
		`{"detail":{"error":"run_state_conflict","message":"m","run_id":"r","status":"failed"}}`:                                               problem.New(problem.RunStateConflict, "m").With("run_id", "r").With("status", "failed"),
		`{"detail":{"error":"human_task_expired","message":"m","continuation_id":"c","expires_at":1764553000.5}}`:                              problem.New(problem.HumanTaskExpired, "m").With("continuation_id", "c").With("expires_at", 1764553000.5),
		`{"detail":{"error":"payload_too_large","message":"Request body exceeds maximum size of 9 bytes.","max_body_bytes":9}}`:                problem.As(errmap.TooLarge(9)),
		`{"detail":{"error":"forbidden","message":"Missing required scope: runs:read","required_scope":"runs:read"}}`:                          problem.As(errmap.Forbidden("runs:read")),
		`{"detail":{"error":"internal_error","message":"An internal error occurred."}}`:                                                        problem.As(errmap.Internal()),
		`{"detail":{"error":"spec_invalid","message":"m","diagnostics":[{"code":"E"}]}}`:                                                       problem.New(problem.SpecInvalid, "m").With("diagnostics", json.RawMessage(`[{"code":"E"}]`)),
		`{"detail":{"error":"invalid_request","message":"An unset value","empty":null}}`:                                                       problem.New(problem.InvalidRequest, "An unset value").With("empty", json.RawMessage(nil)),
	} {
		got := string(errmap.Envelope(e))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		back, err := errmap.FromEnvelope([]byte(got))
		if err != nil || string(errmap.Envelope(back)) != want {
			t.Errorf("does not come back: %v %s", err, errmap.Envelope(back))
		}
	}
	for _, bad := range []string{``, `{}`, `{"detail":"text"}`, `{"detail":{}}`, `[]`, `{"detail":[1]}`} {
		if _, err := errmap.FromEnvelope([]byte(bad)); err == nil {
			t.Error(bad)
		}
	}
}

func TestForeignErrors(t *testing.T) {
	for want, err := range map[codes.Code]error{
		codes.Canceled:         fmt.Errorf("x: %w", context.Canceled),
		codes.DeadlineExceeded: context.DeadlineExceeded,
		codes.Internal:         errors.New("database password=hunter2"),
		codes.Unimplemented:    status.Error(codes.Unimplemented, "method X not implemented"),
		codes.NotFound:         status.Error(codes.NotFound, "n"),
	} {
		got := errmap.ToStatus(err)
		if status.Code(got) != want {
			t.Errorf("%v: %v", err, got)
		}
		if !errors.Is(got, err) {
			t.Errorf("%v: the cause is lost", err)
		}
		if want == codes.Internal && status.Convert(got).Message() != "An internal error occurred." {
			t.Error(status.Convert(got).Message())
		}
	}
	if errmap.ToStatus(nil) != nil {
		t.Error("nil is no error")
	}
}

package restconn_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/restconn"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
)

// seen is the request that a scripted service got.
type seen struct {
	line, body, key string
}

func service(t *testing.T, code int, answer string, headers ...string) (*restconn.Conn, *seen) {
	t.Helper()
	got := &seen{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = seen{r.Method + " " + r.RequestURI, string(body), r.Header.Get("Idempotency-Key")}
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	conn, err := restconn.New(s.URL+"/below/", "test", s.Client())
	if err != nil {
		t.Fatal(err)
	}
	return conn, got
}

func TestRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call func(*restconn.Conn, *testing.T) error
		want seen
	}{
		"a path is escaped": {func(c *restconn.Conn, t *testing.T) error {
			_, err := kneov1.NewRunServiceClient(c).GetRun(t.Context(), &kneov1.GetRunRequest{RunId: "a/b c"})
			return err
		}, seen{line: "GET /below/v1/runs/a%2Fb%20c"}},
		"a query has what is set": {func(c *restconn.Conn, t *testing.T) error {
			_, err := kneov1.NewRunServiceClient(c).ListRuns(t.Context(), &kneov1.ListRunsRequest{Status: proto.String("failed"), HasError: proto.Bool(false), Limit: proto.Int32(5)})
			return err
		}, seen{line: "GET /below/v1/runs?has_error=false&limit=5&status=failed"}},
		"lists are repeated": {func(c *restconn.Conn, t *testing.T) error {
			_, err := kneov1.NewSecurityServiceClient(c).GetCredentialInventory(t.Context(), &kneov1.GetCredentialInventoryRequest{Providers: []string{"a", "b"}})
			return err
		}, seen{line: "GET /below/v1/security/credentials?providers=a&providers=b"}},
		"a body has what is set and what is required": {func(c *restconn.Conn, t *testing.T) error {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k1")
			_, err := kneov1.NewRunServiceClient(c).CreateRun(ctx, &kneov1.RunCreateRequest{Spec: &kneov1.JsonObject{Raw: []byte(`{"n":10000000000000000001}`)}})
			return err
		}, seen{"POST /below/v1/runs", `{"input":"","spec":{"n":10000000000000000001}}`, "k1"}},
		"a body may be a field": {func(c *restconn.Conn, t *testing.T) error {
			_, err := kneov1.NewHumanTaskServiceClient(c).ResumeHumanTask(t.Context(), &kneov1.ResumeHumanTaskRequest{
				ContinuationId: "c1", Request: &kneov1.HumanResumeRequest{RequestId: "r", Decision: "edited", Content: proto.String("é<")},
			})
			return err
		}, seen{line: "POST /below/v1/human-tasks/c1/resume", body: `{"request_id":"r","decision":"edited","content":"é<"}`}},
		"a change without a body has an empty object": {func(c *restconn.Conn, t *testing.T) error {
			_, err := kneov1.NewRunServiceClient(c).CancelRun(t.Context(), &kneov1.CancelRunRequest{RunId: "r"})
			return err
		}, seen{line: "POST /below/v1/runs/r/cancel", body: "{}"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, got := service(t, http.StatusOK, `{"unknown":1,"status":"completed"}`)
			if err := c.call(conn, t); err != nil {
				t.Fatal(err)
			}
			if *got != c.want {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		code   codes.Code
		named  problem.Code
	}{
		"an error of the service": {409, `{"detail":{"error":"run_state_conflict","message":"no","run_id":"r"}}`, codes.FailedPrecondition, problem.RunStateConflict},
		"violations":              {422, `{"detail":[{"type":"missing","loc":["body","input"],"msg":"Field required"}]}`, codes.InvalidArgument, problem.ValidationFailed},
		"a full queue":            {503, `{"detail":{"error":"queue_full","message":"no"}}`, codes.Unavailable, problem.QueueFull},
		"a proxy's page":          {502, `<html>`, codes.Unavailable, ""},
		"another server":          {404, `{"detail":"Not Found"}`, codes.Unimplemented, ""},
		"no JSON":                 {200, `<html>`, codes.Internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, _ := service(t, c.status, c.body, "Retry-After", "7")
			_, err := kneov1.NewRunServiceClient(conn).GetRun(t.Context(), &kneov1.GetRunRequest{RunId: "r"})
			s := status.Convert(err)
			if s.Code() != c.code {
				t.Errorf("code %s, want %s: %v", s.Code(), c.code, err)
			}
			if p := errmap.FromStatus(s); c.named != "" && (p.Code != c.named || p.RetryAfter != 7) {
				t.Errorf("problem %+v", p)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	conn, got := service(t, http.StatusOK, ": keep-alive\n\nid: 3\nevent: step\ndata: {\"sequence\":3,\"kind\":\"step\",\ndata: \"data\":{\"a\":1}}\n\n", "Content-Type", "text/event-stream")
	stream, err := kneov1.NewEventServiceClient(conn).WatchRun(t.Context(), &kneov1.WatchRunRequest{RunId: "r", After: 2})
	if err != nil {
		t.Fatal(err)
	}
	event, err := stream.Recv()
	if err != nil || event.GetSequence() != 3 || string(event.GetData().GetRaw()) != `{"a":1}` {
		t.Errorf("%v: %v", err, event)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last event: %v", err)
	}
	if got.line != "GET /below/v1/runs/r/events?after=2" {
		t.Error(got.line)
	}
	missing, _ := service(t, http.StatusNotFound, `{"detail":{"error":"not_found","message":"gone"}}`)
	stream, err = kneov1.NewEventServiceClient(missing).WatchRun(t.Context(), &kneov1.WatchRunRequest{RunId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown run: %v", err)
	}
}

func TestMethodsWithoutARoute(t *testing.T) {
	t.Parallel()
	conn, _ := service(t, http.StatusOK, "{}")
	if _, err := kneov1.NewWorkerServiceClient(conn).Connect(t.Context()); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

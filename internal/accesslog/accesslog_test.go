package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/accesslog"
)

func TestWrite(t *testing.T) {
	start := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	log := accesslog.New(slog.New(slog.NewJSONHandler(&out, nil)), slog.LevelWarn, func() time.Time { return start.Add(4845 * time.Microsecond) })
	r := &accesslog.Record{RequestID: "id", Method: "GET", Path: "/v1/runs/a", ClientIP: "127.0.0.1", UserAgent: "curl", Start: start}
	ctx := accesslog.NewContext(context.Background(), r)
	accesslog.FromContext(ctx).Note(&kneov1.GetRunRequest{RunId: "a"})
	r.Note(&kneov1.RunCreateResponse{RunId: proto.String("b"), ContinuationId: proto.String("c")})
	r.Note((*kneov1.RunCreateResponse)(nil))
	r.Note("not a message")
	r.SetTrace("t")
	r.Fail("internal_error", errors.New("open /var/lib/kneo/x: password=hunter2"))
	log.Write(ctx, r, 500)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "WARN", "msg": "http_request", "client_ip": "127.0.0.1", "continuation_id": "c", "duration_ms": 4.845, "error": "internal_error",
		"event": "http_request", "logger": "kneo_serv.service", "message": "open [PATH]: password=[REDACTED]", "method": "GET", "path": "/v1/runs/a",
		"request_id": "id", "run_id": "b", "status_code": 500.0, "trace_id": "t", "user_agent": "curl",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownIsLeftOut(t *testing.T) {
	var out bytes.Buffer
	log := accesslog.New(slog.New(slog.NewJSONHandler(&out, nil)), slog.LevelInfo, time.Now)
	log.Write(context.Background(), &accesslog.Record{}, 200)
	for _, key := range []string{"run_id", "error", "message", "trace_id", "user_agent", "client_ip"} {
		if bytes.Contains(out.Bytes(), []byte(key)) {
			t.Errorf("%s in %s", key, &out)
		}
	}
	(*accesslog.Log)(nil).Write(context.Background(), &accesslog.Record{}, 200)
	if accesslog.FromContext(context.Background()) != nil {
		t.Error("no record outside a request")
	}
}

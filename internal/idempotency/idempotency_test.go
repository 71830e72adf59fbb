package idempotency_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/wirejson"
)

func TestKey(t *testing.T) {
	for sent, want := range map[string]string{" a b ": "a b", strings.Repeat("k", 256): strings.Repeat("k", 256), strings.Repeat("ü", 256): strings.Repeat("ü", 256)} {
		if got, err := idempotency.Key(sent); err != nil || got != want {
			t.Errorf("%q: %q %v", sent, got, err)
		}
	}
	for _, sent := range []string{"", "  ", strings.Repeat("k", 257)} {
		if _, err := idempotency.Key(sent); !problem.Is(err, problem.InvalidIdempotencyKey) {
			t.Errorf("%q: %v", sent, err)
		}
	}
}

func TestScope(t *testing.T) {
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	scope := func(method, principal string, request proto.Message) string {
		m, ok := c.Method(method)
		if !ok {
			t.Fatal(method)
		}
		return idempotency.Scope(m, principal, request)
	}
	seen := map[string]bool{}
	for _, s := range []string{
		scope(kneov1.RunService_CreateRun_FullMethodName, "a", &kneov1.RunCreateRequest{}),
		scope(kneov1.RunService_CreateRun_FullMethodName, "b", &kneov1.RunCreateRequest{}),
		scope(kneov1.RunService_CreateRun_FullMethodName, "a/b", &kneov1.RunCreateRequest{}),
		scope(kneov1.SpecService_RunSpec_FullMethodName, "a", &kneov1.RunCreateRequest{}),
		scope(kneov1.RunService_ContinueRun_FullMethodName, "a", &kneov1.ContinueRunRequest{RunId: "b"}),
		scope(kneov1.RunService_ContinueRun_FullMethodName, "a", &kneov1.ContinueRunRequest{RunId: "c"}),
		scope(kneov1.HumanTaskService_ResumeHumanTask_FullMethodName, "a", &kneov1.ResumeHumanTaskRequest{ContinuationId: "c"}),
	} {
		if seen[s] {
			t.Errorf("%s is used twice", s)
		}
		seen[s] = true
	}
	if !seen["runs:continue/a/b"] || !seen["runs:create/a%2Fb"] {
		t.Error(seen)
	}
}

func TestHash(t *testing.T) {
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	codec := wirejson.New(c)
	hash := func(body string) string {
		var r kneov1.RunCreateRequest
		if issues := codec.Decode([]byte(body), &r, "body"); issues != nil {
			t.Fatal(issues)
		}
		h, err := idempotency.Hash(c, codec, &r)
		if err != nil || len(h) != 64 {
			t.Fatal(h, err)
		}
		return h
	}
	same := hash(`{"input":"x","spec":{"b":1,"a":"ü"}}`)
	for _, body := range []string{
		`{"input":"x","spec":{"a":"\u00fc","b":1},"async_mode":false}`,
		`{"spec":{"b":1, "a":"ü"},"input":"x","target":"workflow","metadata":{},"overrides":{ },"overlays":[],"session_id":null}`,
	} {
		if hash(body) != same {
			t.Errorf("%s must hash the same", body)
		}
	}
	seen := map[string]string{}
	for _, body := range []string{
		`{"input":"x"}`, `{"input":"y"}`, `{"input":"x","spec":{}}`, `{"input":"x","spec":{"a":1}}`, `{"input":"x","spec":{"a":12345678901234567890}}`,
		`{"input":"x","spec":{"a":12345678901234567891}}`, `{"input":"x","session_id":""}`, `{"input":"x","async_mode":true}`, `{"input":"x","overlays":["a","b"]}`, `{"input":"x","overlays":["b","a"]}`,
	} {
		h := hash(body)
		if other, taken := seen[h]; taken {
			t.Errorf("%s and %s hash the same", body, other)
		}
		seen[h] = body
	}
}

func TestContext(t *testing.T) {
	if idempotency.FromContext(context.Background()) != nil {
		t.Error("no claim without a key")
	}
	claim := &store.Claim{Key: "k"}
	if idempotency.FromContext(idempotency.NewContext(context.Background(), claim)) != claim {
		t.Error("the claim is lost")
	}
	var r idempotency.Replay
	idempotency.SetReplay(idempotency.WithReplay(context.Background(), &r), 202, []byte("x"))
	idempotency.SetReplay(context.Background(), 200, nil)
	if r.Status != 202 || string(r.Body) != "x" {
		t.Error(r)
	}
}

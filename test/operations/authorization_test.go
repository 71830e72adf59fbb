package operations

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/test/replica"
)

// TestAuthorizationOfEveryMethod calls every method of the contract over both transports: without a key, with a key that has every scope but the
// one the contract names, and with a key that has only that one.
func TestAuthorizationOfEveryMethod(t *testing.T) {
	t.Parallel()
	facts, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	scopes := facts.Scopes()
	var keys []string
	name := strings.NewReplacer(":", "-").Replace
	for _, scope := range scopes {
		others := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == scope })
		keys = append(keys, "only-"+name(scope)+":only-"+name(scope)+"-key:"+scope, "but-"+name(scope)+":but-"+name(scope)+"-key:"+strings.Join(others, ","))
	}
	p := replica.Serve(t, t.TempDir(), map[string]string{"KNEO_SERV_API_KEYS": strings.Join(keys, ";"), "KNEO_SERV_REQUEST_LOGS": "false"})
	conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, m := range facts.Methods() {
		if m.Public {
			if m.RequiredScope != "" {
				t.Errorf("%s is public and has a scope", m.FullName)
			}
			expect(t, p, conn, m, "", 0, codes.OK)
			continue
		}
		expect(t, p, conn, m, "", http.StatusUnauthorized, codes.Unauthenticated)
		expect(t, p, conn, m, "wrong", http.StatusUnauthorized, codes.Unauthenticated)
		expect(t, p, conn, m, "but-"+name(m.RequiredScope)+"-key", http.StatusForbidden, codes.PermissionDenied)
		expect(t, p, conn, m, "only-"+name(m.RequiredScope)+"-key", 0, codes.OK)
	}
}

// expect calls a method over both transports. A status of 0 means anything but a refusal of the caller.
func expect(t *testing.T, p *replica.Process, conn *grpc.ClientConn, m *contract.Method, key string, want int, code codes.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var header []string
	if key != "" {
		header = []string{"Authorization", "Bearer " + key}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	for i := range m.Routes {
		if m.ServerStreaming && want == 0 {
			continue // the stream may stay open
		}
		route := &m.Routes[i]
		path := route.Template
		for _, param := range route.PathParams {
			path = strings.NewReplacer("{"+param+"}", "none", "{"+param+"=**}", "none").Replace(path)
		}
		var body any
		if route.Body != "" {
			body = object{}
		}
		got, answer, err := p.Call(ctx, route.Verb, path, body, header...)
		if err != nil {
			t.Errorf("%s %s: %v", route.Verb, path, err)
			continue
		}
		if want != 0 && got != want || want == 0 && (got == http.StatusUnauthorized || got == http.StatusForbidden) {
			t.Errorf("%s %s as %q: %d %v, not %d", route.Verb, path, key, got, answer, want)
		}
	}
	got := status.Code(invoke(ctx, conn, m))
	if code != codes.OK && got != code || code == codes.OK && (got == codes.Unauthenticated || got == codes.PermissionDenied) {
		t.Errorf("%s as %q: %s, not %s", m.FullName, key, got, code)
	}
}

// invoke calls a method over gRPC with an empty message.
func invoke(ctx context.Context, conn *grpc.ClientConn, m *contract.Method) error {
	in, out := dynamicpb.NewMessage(m.Input), dynamicpb.NewMessage(m.Output)
	if !m.ClientStreaming && !m.ServerStreaming {
		return conn.Invoke(ctx, m.FullName, in, out)
	}
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: m.Name, ClientStreams: m.ClientStreaming, ServerStreams: true}, m.FullName)
	if err != nil {
		return err
	}
	// A refused stream ends while the first message is sent; the reason comes with the answer.
	if err := stream.SendMsg(in); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return stream.RecvMsg(out)
}

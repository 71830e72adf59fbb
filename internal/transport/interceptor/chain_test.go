package interceptor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/accesslog"
	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/inproc"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/requestid"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOrderIsChecked(t *testing.T) {
	for name, list := range map[string][]link{
		"too early": {{name: "b", after: []string{"a"}}, {name: "a"}},
		"absent":    {{name: "b", after: []string{"a"}}},
		"twice":     {{name: "a"}, {name: "a"}},
	} {
		if _, err := build(nil, list); err == nil {
			t.Error(name)
		}
	}
}

// fakeKeys answers look-ups one after the other.
type fakeKeys struct {
	mu      sync.Mutex
	answers []func(scope, key string) (run.IdempotencyRecord, error)
}

func (f *fakeKeys) Idempotency(_ context.Context, scope, key string) (run.IdempotencyRecord, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.answers) == 0 {
		return run.IdempotencyRecord{}, store.ErrNotFound
	}
	next := f.answers[0]
	f.answers = f.answers[1:]
	return next(scope, key)
}

type fakeRuns struct {
	kneov1.UnimplementedRunServiceServer
	err error
}

func (f *fakeRuns) CreateRun(ctx context.Context, r *kneov1.RunCreateRequest) (*kneov1.RunCreateResponse, error) {
	if r.GetInput() == "panic" {
		panic("no")
	}
	id := requestid.FromContext(ctx)
	return &kneov1.RunCreateResponse{RunId: &id, Status: auth.FromContext(ctx).Name}, f.err
}

type fakeEvents struct {
	kneov1.UnimplementedEventServiceServer
}

func (fakeEvents) WatchRun(_ *kneov1.WatchRunRequest, stream grpc.ServerStreamingServer[kneov1.RunEvent]) error {
	return stream.Send(&kneov1.RunEvent{Kind: auth.FromContext(stream.Context()).Name})
}

type fixture struct {
	keys     *fakeKeys
	runs     *fakeRuns
	log      strings.Builder
	spans    *tracetest.SpanRecorder
	observed []string
	outcomes []string
	conns    map[string]grpc.ClientConnInterface
}

// setUp serves the same services in process and over gRPC with one chain.
func setUp(t *testing.T) *fixture {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Settings{APIKeys: "ops:key:operator;eye:see:viewer;none:nil:"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{keys: &fakeKeys{}, runs: &fakeRuns{}, spans: tracetest.NewSpanRecorder()}
	logger := slog.New(slog.NewTextHandler(&f.log, nil))
	var mu sync.Mutex
	chain, err := New(Options{
		Contract: c, Codec: wirejson.New(c), Authenticator: a, Validator: validate.New(c, validate.DefaultLimits()), Keys: f.keys, Logger: logger,
		AccessLog: accesslog.New(logger, slog.LevelInfo, time.Now), MaxBytes: 5000,
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(f.spans)), Propagator: propagation.TraceContext{},
		Observe: func(method, code string, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			f.observed = append(f.observed, method[strings.LastIndexByte(method, '/')+1:]+" "+code)
		},
		ObserveKey: func(outcome string) { f.outcomes = append(f.outcomes, outcome) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"recover", "requestid", "trace", "log", "metrics", "limits", "authn", "scope", "shape", "validate", "idempotency", "errmap"}
	if diff := cmp.Diff(want, chain.Names()); diff != "" {
		t.Error(diff)
	}
	local := inproc.New(chain.Unary(), chain.Stream())
	network := grpc.NewServer(grpc.ChainUnaryInterceptor(chain.Unary()...), grpc.ChainStreamInterceptor(chain.Stream()...))
	for _, r := range []grpc.ServiceRegistrar{local, network} {
		kneov1.RegisterRunServiceServer(r, f.runs)
		kneov1.RegisterEventServiceServer(r, fakeEvents{})
	}
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- network.Serve(listener) }()
	client, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		network.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	f.conns = map[string]grpc.ClientConnInterface{"in process": local, "network": client}
	return f
}

func as(t *testing.T, key string, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), append([]string{"authorization", "Bearer " + key}, more...)...)
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		key, idem, input string
		want             problem.Code
		grpc             codes.Code
	}{
		"no key":       {"", "", "x", problem.Unauthorized, codes.Unauthenticated},
		"no scope":     {"see", "", "x", problem.Forbidden, codes.PermissionDenied},
		"bad idem key": {"key", strings.Repeat("k", 257), strings.Repeat("x", 30), problem.InvalidIdempotencyKey, codes.InvalidArgument},
		"too large":    {"", "", strings.Repeat("x", 5001), problem.PayloadTooLarge, codes.ResourceExhausted},
		"panic":        {"key", "", "panic", problem.Internal, codes.Internal},
	}
	f := setUp(t)
	for name, test := range tests {
		for transport, conn := range f.conns {
			t.Run(name+" "+transport, func(t *testing.T) {
				ctx := as(t, test.key)
				if test.idem != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", test.idem)
				}
				_, err := kneov1.NewRunServiceClient(conn).CreateRun(ctx, &kneov1.RunCreateRequest{Input: test.input})
				if status.Code(err) != test.grpc || errmap.FromStatus(status.Convert(err)).Code != test.want {
					t.Error(err)
				}
			})
		}
	}
}

func TestViolationsReachGRPCClients(t *testing.T) {
	f := setUp(t)
	bad := "robot"
	_, err := kneov1.NewRunServiceClient(f.conns["network"]).CreateRun(as(t, "key"), &kneov1.RunCreateRequest{Target: &bad, Spec: &kneov1.JsonObject{Raw: []byte("{")}})
	issues := errmap.FromStatus(status.Convert(err)).Issues
	if len(issues) != 2 || issues[0].Type != "json_invalid" || issues[1].Type != "literal_error" {
		t.Error(issues)
	}
}

func TestCall(t *testing.T) {
	for transport := range setUp(t).conns {
		t.Run(transport, func(t *testing.T) {
			f := setUp(t)
			var header metadata.MD
			ctx := as(t, "key", "x-request-id", "mine", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			resp, err := kneov1.NewRunServiceClient(f.conns[transport]).CreateRun(ctx, &kneov1.RunCreateRequest{Input: "x", AsyncMode: true}, grpc.Header(&header))
			if err != nil || resp.GetRunId() != "mine" || resp.GetStatus() != "ops" {
				t.Fatal(resp, err)
			}
			if got := header.Get(requestid.Metadata); !slices.Equal(got, []string{"mine"}) {
				t.Error(got)
			}
			if got := header.Get(errmap.StatusHeader); !slices.Equal(got, []string{"202"}) {
				t.Error(got)
			}
			for _, part := range []string{"path=/kneo.v1.RunService/CreateRun", "request_id=mine", "run_id=mine", "status_code=200", "trace_id=0af7651916cd43dd8448eb211c80319c"} {
				if !strings.Contains(f.log.String(), part) {
					t.Errorf("%s is not in %s", part, f.log.String())
				}
			}
			if spans := f.spans.Ended(); len(spans) != 1 || spans[0].Name() != "kneo.v1.RunService/CreateRun" || spans[0].Parent().SpanID().String() != "b7ad6b7169203331" {
				t.Error(spans)
			}
			if diff := cmp.Diff([]string{"CreateRun OK"}, f.observed); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	f := setUp(t)
	for transport, conn := range f.conns {
		for key, want := range map[string]codes.Code{"key": codes.OK, "see": codes.OK, "nil": codes.PermissionDenied, "": codes.Unauthenticated} {
			stream, err := kneov1.NewEventServiceClient(conn).WatchRun(as(t, key), &kneov1.WatchRunRequest{RunId: "r"})
			var event *kneov1.RunEvent
			if err == nil {
				event, err = stream.Recv()
			}
			if status.Code(err) != want || want == codes.OK && event.GetKind() == "" {
				t.Errorf("%s %q: %v %v", transport, key, event, err)
			}
			if want == codes.OK {
				if _, err := stream.Recv(); err == nil {
					t.Error("the stream must end")
				}
			}
		}
		stream, err := kneov1.NewEventServiceClient(conn).WatchRun(as(t, "key"), &kneov1.WatchRunRequest{After: -1})
		if err == nil {
			_, err = stream.Recv()
		}
		if errmap.FromStatus(status.Convert(err)).Code != problem.ValidationFailed {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

func TestKeyTakenByAFasterRequest(t *testing.T) {
	absent := func(string, string) (run.IdempotencyRecord, error) { return run.IdempotencyRecord{}, store.ErrNotFound }
	broken := func(string, string) (run.IdempotencyRecord, error) {
		return run.IdempotencyRecord{}, store.ErrUnavailable
	}
	for name, test := range map[string]struct {
		second func(scope, key string) (run.IdempotencyRecord, error)
		want   problem.Code
	}{
		"still running": {func(string, string) (run.IdempotencyRecord, error) { return run.IdempotencyRecord{Hash: "other"}, nil }, problem.IdempotencyKeyConflict},
		"gone again":    {absent, problem.IdempotencyKeyInProgress},
		"store is down": {broken, problem.StoreUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			f.runs.err = problem.Wrap(store.ErrKeyExists, problem.Internal, "x")
			f.keys.answers = []func(string, string) (run.IdempotencyRecord, error){absent, test.second}
			_, err := kneov1.NewRunServiceClient(f.conns["in process"]).CreateRun(as(t, "key", "idempotency-key", "k"), &kneov1.RunCreateRequest{Input: "x"})
			if errmap.FromStatus(status.Convert(err)).Code != test.want {
				t.Error(err)
			}
		})
	}
}

func TestCausesAreLoggedNotShown(t *testing.T) {
	f := setUp(t)
	f.runs.err = errors.New("disk on fire")
	_, err := kneov1.NewRunServiceClient(f.conns["network"]).CreateRun(as(t, "key"), &kneov1.RunCreateRequest{Input: "x"})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "fire") {
		t.Error(err)
	}
	if !strings.Contains(f.log.String(), "disk on fire") {
		t.Error(f.log.String())
	}
}

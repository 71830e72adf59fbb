package inproc_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/internal/inproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fakeHealth struct {
	healthpb.UnimplementedHealthServer
	request *healthpb.HealthCheckRequest
}

func (f *fakeHealth) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	f.request = req
	md, _ := metadata.FromIncomingContext(ctx)
	out, _ := metadata.FromOutgoingContext(ctx)
	p, _ := peer.FromContext(ctx)
	if req.GetService() == "plain" {
		return nil, errors.New("plain")
	}
	if req.GetService() == "context" {
		return nil, context.DeadlineExceeded
	}
	err := grpc.SetHeader(ctx, metadata.Pairs("seen", strings.Join(md.Get("sent"), ","), "out", strings.Join(out.Get("sent"), ","), "peer", p.Addr.String()))
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, err
}

func (f *fakeHealth) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	for range 3 {
		if err := stream.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}); err != nil {
			return err
		}
	}
	switch req.GetService() {
	case "fail":
		return status.Error(codes.NotFound, "gone")
	case "wait":
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	stream.SetTrailer(metadata.Pairs("after", "1"))
	return nil
}

func connect(order *[]string) (healthpb.HealthClient, *fakeHealth) {
	named := func(name string) grpc.UnaryServerInterceptor {
		return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			*order = append(*order, name)
			return next(ctx, req)
		}
	}
	conn := inproc.New([]grpc.UnaryServerInterceptor{named("first"), named("second")}, nil)
	server := &fakeHealth{}
	healthpb.RegisterHealthServer(conn, server)
	return healthpb.NewHealthClient(conn), server
}

func TestInvoke(t *testing.T) {
	var order []string
	client, server := connect(&order)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "sent", "yes")
	var header metadata.MD
	request := &healthpb.HealthCheckRequest{Service: "x"}
	reply, err := client.Check(ctx, request, grpc.Header(&header))
	if err != nil || reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatal(reply, err)
	}
	if strings.Join(order, " ") != "first second" {
		t.Error(order)
	}
	if header.Get("seen")[0] != "yes" || header.Get("out")[0] != "" || header.Get("peer")[0] != "inproc" {
		t.Error(header)
	}
	if server.request == request || server.request.GetService() != "x" {
		t.Error("the request must be a copy")
	}
}

func TestErrorsHaveAStatus(t *testing.T) {
	client, _ := connect(new([]string))
	for service, want := range map[string]codes.Code{"plain": codes.Unknown, "context": codes.DeadlineExceeded} {
		if _, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{Service: service}); status.Code(err) != want {
			t.Errorf("%s: %v", service, err)
		}
	}
	if _, err := client.List(context.Background(), &healthpb.HealthListRequest{}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	empty := healthpb.NewHealthClient(inproc.New(nil, nil))
	if _, err := empty.Check(context.Background(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestStream(t *testing.T) {
	client, _ := connect(new([]string))
	for service, want := range map[string]codes.Code{"": codes.OK, "fail": codes.NotFound} {
		stream, err := client.Watch(context.Background(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		_, err = stream.Recv()
		if want == codes.OK && !errors.Is(err, io.EOF) || want != codes.OK && status.Code(err) != want {
			t.Errorf("%q: %v", service, err)
		}
		if want == codes.OK && len(stream.Trailer().Get("after")) != 1 {
			t.Error("no trailer")
		}
	}
}

func TestStreamIsCancelled(t *testing.T) {
	client, _ := connect(new([]string))
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}

func BenchmarkInvoke(b *testing.B) {
	client, _ := connect(new([]string))
	for b.Loop() {
		if _, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}

package inproc_test

import (
	"context"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/internal/inproc"
)

type listingHealth struct {
	healthpb.UnimplementedHealthServer
	reply *healthpb.HealthListResponse
}

func (l *listingHealth) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	return l.reply, nil
}

func TestHandover(t *testing.T) {
	conn := inproc.New(nil, nil)
	server := &listingHealth{reply: &healthpb.HealthListResponse{Statuses: map[string]*healthpb.HealthCheckResponse{"a": {Status: healthpb.HealthCheckResponse_SERVING}}}}
	healthpb.RegisterHealthServer(conn, server)
	for name, test := range map[string]struct {
		client healthpb.HealthClient
		shared bool
	}{
		"copied":      {healthpb.NewHealthClient(conn), false},
		"handed over": {healthpb.NewHealthClient(conn.Handover()), true},
	} {
		t.Run(name, func(t *testing.T) {
			reply, err := test.client.List(t.Context(), &healthpb.HealthListRequest{})
			if err != nil || reply.GetStatuses()["a"].GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Fatal(reply, err)
			}
			if shared := reply.GetStatuses()["a"] == server.reply.GetStatuses()["a"]; shared != test.shared {
				t.Errorf("shared: %v", shared)
			}
		})
	}
}

func TestHandoverOfErrorsAndStreams(t *testing.T) {
	conn := inproc.New(nil, nil)
	healthpb.RegisterHealthServer(conn, &fakeHealth{})
	client := healthpb.NewHealthClient(conn.Handover())
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "plain"}); status.Convert(err).Message() != "plain" {
		t.Error(err)
	}
	stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Error(first, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

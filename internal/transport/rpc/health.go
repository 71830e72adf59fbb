package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/service"
)

// HealthServer serves HealthService.
type HealthServer struct {
	kneov1.UnimplementedHealthServiceServer
	health *service.Health
}

// NewHealthServer returns the server.
func NewHealthServer(h *service.Health) *HealthServer { return &HealthServer{health: h} }

func healthy(metadata []byte) *kneov1.HealthResponse {
	return &kneov1.HealthResponse{Ok: true, Service: service.ServiceName, Version: service.ServiceVersion, Metadata: object(metadata)}
}

// GetHealth answers as long as the process serves requests.
func (s *HealthServer) GetHealth(context.Context, *kneov1.GetHealthRequest) (*kneov1.HealthResponse, error) {
	return healthy([]byte(`{"status":"healthy"}`)), nil
}

// GetLiveness answers as long as the process lives.
func (s *HealthServer) GetLiveness(context.Context, *kneov1.GetLivenessRequest) (*kneov1.HealthResponse, error) {
	return healthy([]byte(`{"status":"alive"}`)), nil
}

// GetReadiness checks whether the server can work.
func (s *HealthServer) GetReadiness(ctx context.Context, _ *kneov1.GetReadinessRequest) (*kneov1.HealthResponse, error) {
	metadata, err := s.health.Ready(ctx)
	if err != nil {
		return nil, err
	}
	return healthy(metadata), nil
}

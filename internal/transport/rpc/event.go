package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/service"
)

// EventServer serves EventService.
type EventServer struct {
	kneov1.UnimplementedEventServiceServer
	events *service.Events
	runs   *service.Runs
}

// NewEventServer returns the server.
func NewEventServer(e *service.Events, r *service.Runs) *EventServer {
	return &EventServer{events: e, runs: r}
}

// WatchRun sends the events of a run until it ends.
func (s *EventServer) WatchRun(r *kneov1.WatchRunRequest, stream grpc.ServerStreamingServer[kneov1.RunEvent]) error {
	return s.events.Watch(stream.Context(), r.GetRunId(), r.GetAfter(), func(e run.Event) error {
		return stream.Send(&kneov1.RunEvent{Sequence: e.Sequence, Kind: e.Kind, Data: object(e.Data), CreatedAt: run.FormatTime(e.CreatedAt)})
	})
}

// defaultWait is how long WaitRun waits when the request does not say.
const defaultWait = 30

// WaitRun answers when a run has ended or waits for a person, or when the time is up.
func (s *EventServer) WaitRun(ctx context.Context, r *kneov1.WaitRunRequest) (*kneov1.WaitRunResponse, error) {
	seconds := float64(defaultWait)
	if r.TimeoutSeconds != nil {
		seconds = r.GetTimeoutSeconds()
	}
	settled, done, err := s.events.Settled(ctx, r.GetRunId(), time.Duration(seconds*float64(time.Second)))
	if err != nil {
		return nil, err
	}
	v, err := s.runs.View(ctx, settled)
	if err != nil {
		return nil, err
	}
	return &kneov1.WaitRunResponse{Settled: done, LastSequence: settled.EventSeq, Run: state(&v)}, nil
}

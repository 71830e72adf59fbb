package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// RunRequest says what to run. Either Spec or SpecPath is set.
type RunRequest struct {
	// Spec is the spec itself: JSON text, or any value that encodes to a JSON object.
	Spec any
	// SpecPath is a path below the spec root of the service.
	SpecPath string
	Input    string
	// Agent runs the root agent instead of the workflow.
	Agent       bool
	Environment string
	Overlays    []string
	// Overrides is merged over the spec last.
	Overrides any
	SessionID string
	// Metadata is the caller's own data.
	Metadata any
	// Timeout ends the run; 0 means no deadline.
	Timeout time.Duration
}

func (r RunRequest) proto(async bool) (*kneov1.RunCreateRequest, error) {
	out := &kneov1.RunCreateRequest{Input: r.Input, Overlays: r.Overlays, AsyncMode: async}
	for _, f := range []struct {
		value any
		into  **kneov1.JsonObject
		name  string
	}{{r.Spec, &out.Spec, "spec"}, {r.Overrides, &out.Overrides, "overrides"}, {r.Metadata, &out.Metadata, "metadata"}} {
		raw, err := object(f.value)
		if err != nil {
			return nil, fmt.Errorf("client: %s: %w", f.name, err)
		}
		*f.into = raw
	}
	for _, f := range []struct {
		value string
		into  **string
	}{{r.SpecPath, &out.SpecPath}, {r.Environment, &out.Environment}, {r.SessionID, &out.SessionId}} {
		if f.value != "" {
			*f.into = proto.String(f.value)
		}
	}
	if r.Agent {
		out.Target = proto.String("agent")
	}
	if r.Timeout > 0 {
		out.TimeoutSeconds = proto.Float64(r.Timeout.Seconds())
	}
	return out, nil
}

// object turns a value into a JSON object; nil stays unset.
func object(v any) (*kneov1.JsonObject, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return &kneov1.JsonObject{Raw: v}, nil
	case []byte:
		return &kneov1.JsonObject{Raw: v}, nil
	case string:
		return &kneov1.JsonObject{Raw: []byte(v)}, nil
	}
	raw, err := json.Marshal(v)
	return &kneov1.JsonObject{Raw: raw}, err
}

// Run starts a run and returns when it has ended or waits for a person. A run that failed is no error; its status tells.
func (c *Client) Run(ctx context.Context, r RunRequest) (*kneov1.RunCreateResponse, error) {
	req, err := r.proto(false)
	if err != nil {
		return nil, err
	}
	return c.Runs().CreateRun(ctx, req)
}

// Start queues a run for a worker and returns its id.
func (c *Client) Start(ctx context.Context, r RunRequest) (runID string, err error) {
	req, err := r.proto(true)
	if err != nil {
		return "", err
	}
	out, err := c.Runs().CreateRun(ctx, req)
	return out.GetRunId(), err
}

// waitSlice is how long one call waits; longer waits are several calls.
const waitSlice = 60.0

// Wait returns when the run has ended or waits for a person, or when ctx ends.
func (c *Client) Wait(ctx context.Context, runID string) (*kneov1.RunStatusResponse, error) {
	for {
		out, err := c.Events().WaitRun(ctx, &kneov1.WaitRunRequest{RunId: runID, TimeoutSeconds: proto.Float64(waitSlice)})
		if err != nil {
			return nil, err
		}
		if out.GetSettled() {
			return out.GetRun(), nil
		}
		if err := ctx.Err(); err != nil {
			return out.GetRun(), err
		}
	}
}

// Watch yields the events of a run after the given sequence number (0: from the beginning) until the run ends. A broken connection is opened
// again after the last event. The last pair has the error, if there is one.
func (c *Client) Watch(ctx context.Context, runID string, after int64) iter.Seq2[*kneov1.RunEvent, error] {
	return func(yield func(*kneov1.RunEvent, error) bool) {
		failures := 0
		for {
			last, more, err := c.follow(ctx, runID, after, yield)
			if last > after {
				after, failures = last, 0
			}
			if !more {
				return
			}
			failures++
			if err == nil {
				return
			}
			if failures >= DefaultRetry.Attempts || !broken(err) || ctx.Err() != nil {
				yield(nil, err)
				return
			}
			if !(&conn{o: Options{Retry: DefaultRetry}}).wait(ctx, failures, err) {
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

// follow reads one stream; more is false when the caller has had enough.
func (c *Client) follow(ctx context.Context, runID string, after int64, yield func(*kneov1.RunEvent, error) bool) (last int64, more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Events().WatchRun(ctx, &kneov1.WatchRunRequest{RunId: runID, After: after})
	if err != nil {
		return after, true, err
	}
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return after, true, nil
		}
		if err != nil {
			return after, true, err
		}
		after = event.GetSequence()
		if !yield(event, nil) {
			return after, false, nil
		}
	}
}

// broken tells a connection that was lost from an answer.
func broken(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == "" && e.status != nil && e.status.Code() == codes.Unavailable
}

// pageSize is the largest page that the service gives.
const pageSize = 1000

// Trace yields the trace events of a run, page by page.
func (c *Client) Trace(ctx context.Context, runID string) iter.Seq2[json.RawMessage, error] {
	return pages(func(offset int32) ([]*kneov1.JsonObject, int32, error) {
		out, err := c.Runs().GetRunTrace(ctx, &kneov1.GetRunTraceRequest{RunId: runID, Limit: proto.Int32(pageSize), Offset: proto.Int32(offset)})
		return out.GetEvents(), out.GetTotal(), err
	})
}

// Checkpoints yields the checkpoints of a run, page by page.
func (c *Client) Checkpoints(ctx context.Context, runID string) iter.Seq2[json.RawMessage, error] {
	return pages(func(offset int32) ([]*kneov1.JsonObject, int32, error) {
		out, err := c.Runs().ListCheckpoints(ctx, &kneov1.ListCheckpointsRequest{RunId: runID, Limit: proto.Int32(pageSize), Offset: proto.Int32(offset)})
		return out.GetCheckpoints(), out.GetTotal(), err
	})
}

func pages(page func(offset int32) (items []*kneov1.JsonObject, total int32, err error)) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for offset := int32(0); ; {
			items, total, err := page(offset)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range items {
				if !yield(item.GetRaw(), nil) {
					return
				}
			}
			offset += int32(len(items)) //nolint:gosec // a page is small
			if len(items) == 0 || offset >= total {
				return
			}
		}
	}
}

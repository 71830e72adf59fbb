package client

import (
	"context"
	"encoding/json"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// Decision is the answer of a person. Make one with Approve, Reject, Edit, Provide or Select.
type Decision struct {
	decision string
	content  *string
	option   *string
	metadata any
}

// Approve lets the run go on.
func Approve() Decision { return Decision{decision: "approved"} }

// Reject turns the proposal down.
func Reject() Decision { return Decision{decision: "rejected"} }

// Edit replaces the proposal.
func Edit(content string) Decision { return Decision{decision: "edited", content: &content} }

// Provide gives the text that was asked for.
func Provide(content string) Decision { return Decision{decision: "provided", content: &content} }

// Select chooses one of the offered options.
func Select(option string) Decision { return Decision{decision: "selected", option: &option} }

// With adds the caller's own data.
func (d Decision) With(metadata any) Decision {
	d.metadata = metadata
	return d
}

// Answer answers a human task and returns when its run has ended or waits again. The id of the request is read from the task.
func (c *Client) Answer(ctx context.Context, continuationID string, d Decision) (*kneov1.HumanResumeResponse, error) {
	task, err := c.HumanTasks().GetHumanTask(ctx, &kneov1.GetHumanTaskRequest{ContinuationId: continuationID})
	if err != nil {
		return nil, err
	}
	var request struct {
		RequestID string `json:"id"`
	}
	if raw := task.GetRequest().GetRaw(); len(raw) > 0 {
		if err := json.Unmarshal(raw, &request); err != nil {
			return nil, err
		}
	}
	return c.Resume(ctx, continuationID, request.RequestID, d)
}

// Resume answers a human task whose request is known.
func (c *Client) Resume(ctx context.Context, continuationID, requestID string, d Decision) (*kneov1.HumanResumeResponse, error) {
	metadata, err := object(d.metadata)
	if err != nil {
		return nil, err
	}
	return c.HumanTasks().ResumeHumanTask(ctx, &kneov1.ResumeHumanTaskRequest{ContinuationId: continuationID, Request: &kneov1.HumanResumeRequest{
		RequestId: requestID, Decision: d.decision, Content: d.content, SelectedOption: d.option, Metadata: metadata,
	}})
}

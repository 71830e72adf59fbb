package client

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
)

// Error is a refusal of the service. Every error of a call that the service answered is one.
type Error struct {
	// Code is the stable code, for example not_found or queue_full; empty when the transport failed.
	Code string
	// Message is for people.
	Message string
	// HTTPStatus is what REST would have answered, or 0.
	HTTPStatus int
	// Extras are further facts as a JSON object.
	Extras json.RawMessage
	// RetryAfter is how long the service asks to wait, or 0.
	RetryAfter time.Duration
	// Issues are the violations of a request that breaks the contract.
	Issues []*kneov1.ValidationIssue

	status *status.Status
}

// Error returns the message with its code.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return e.Message + " (" + e.Code + ")"
}

// GRPCStatus returns the status as it came.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// RunID names the run that the error belongs to, or is empty.
func (e *Error) RunID() string {
	var extras struct {
		RunID string `json:"run_id"`
	}
	if json.Unmarshal(e.Extras, &extras) != nil {
		return ""
	}
	return extras.RunID
}

// Is lets errors.Is compare codes with another *Error.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Code != "" && other.Code == e.Code
}

// Code returns the code of an error of this package, or "".
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// asError reads what the service says about a failure; an error without a status stays as it is.
func asError(err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() == codes.OK {
		return err
	}
	e := &Error{Message: s.Message(), status: s}
	for _, d := range s.Details() {
		detail, ok := d.(*kneov1.ErrorDetail)
		if !ok {
			continue
		}
		e.Code, e.HTTPStatus, e.Extras, e.Issues = detail.GetCode(), int(detail.GetHttpStatus()), detail.GetExtras().GetRaw(), detail.GetIssues()
		for _, h := range detail.GetHeaders() {
			if seconds, err := strconv.Atoi(h.GetValue()); err == nil && h.GetName() == "Retry-After" {
				e.RetryAfter = time.Duration(seconds) * time.Second
			}
		}
	}
	return e
}

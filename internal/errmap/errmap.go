// Package errmap turns the platform's typed errors into gRPC statuses, HTTP answers and back. One table decides both codes.
//
// It may import internal/problem, internal/redact and the generated code.
package errmap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/redact"
)

// Domain is the domain of the ErrorInfo detail of every status.
const Domain = "kneo"

// Codes of calls that ended because their caller went away or their time was up.
const (
	Cancelled problem.Code = "cancelled"
	Timeout   problem.Code = "timeout"
)

// Target is where a code goes on the two transports.
type Target struct {
	GRPC codes.Code
	HTTP int
}

var table = map[problem.Code]Target{
	problem.InvalidRequest:           {codes.InvalidArgument, http.StatusBadRequest},
	problem.InvalidIdempotencyKey:    {codes.InvalidArgument, http.StatusBadRequest},
	problem.SpecInvalid:              {codes.InvalidArgument, http.StatusBadRequest},
	problem.TokenBudgetExceeded:      {codes.ResourceExhausted, http.StatusBadRequest},
	problem.Unauthorized:             {codes.Unauthenticated, http.StatusUnauthorized},
	problem.Forbidden:                {codes.PermissionDenied, http.StatusForbidden},
	problem.EnvironmentPolicyBlocked: {codes.PermissionDenied, http.StatusForbidden},
	problem.NotFound:                 {codes.NotFound, http.StatusNotFound},
	problem.IdempotencyKeyConflict:   {codes.AlreadyExists, http.StatusConflict},
	problem.IdempotencyKeyInProgress: {codes.Aborted, http.StatusConflict},
	problem.ResourceLocked:           {codes.Aborted, http.StatusConflict},
	problem.RunStateConflict:         {codes.FailedPrecondition, http.StatusConflict},
	problem.HumanTaskExpired:         {codes.FailedPrecondition, http.StatusConflict},
	problem.PayloadTooLarge:          {codes.ResourceExhausted, http.StatusRequestEntityTooLarge},
	problem.UnknownQueryParameters:   {codes.InvalidArgument, http.StatusUnprocessableEntity},
	problem.InvalidTimestamp:         {codes.InvalidArgument, http.StatusUnprocessableEntity},
	problem.SpecPathConfined:         {codes.InvalidArgument, http.StatusUnprocessableEntity},
	problem.GuardrailViolation:       {codes.FailedPrecondition, http.StatusUnprocessableEntity},
	problem.MissingSecret:            {codes.FailedPrecondition, http.StatusFailedDependency},
	problem.ValidationFailed:         {codes.InvalidArgument, http.StatusUnprocessableEntity},
	problem.JSONInvalid:              {codes.InvalidArgument, http.StatusUnprocessableEntity},
	problem.Internal:                 {codes.Internal, http.StatusInternalServerError},
	problem.Unimplemented:            {codes.Unimplemented, http.StatusNotImplemented},
	problem.QueueFull:                {codes.Unavailable, http.StatusServiceUnavailable},
	problem.StoreUnavailable:         {codes.Unavailable, http.StatusServiceUnavailable},
	problem.NotReady:                 {codes.Unavailable, http.StatusServiceUnavailable},
	Cancelled:                        {codes.Canceled, 499},
	Timeout:                          {codes.DeadlineExceeded, http.StatusGatewayTimeout},
}

// Codes lists every code of the table, sorted.
func Codes() []problem.Code { return slices.Sorted(maps.Keys(table)) }

// Lookup returns where a code goes; an unknown code is an internal error.
func Lookup(code problem.Code) Target {
	if t, ok := table[code]; ok {
		return t
	}
	return table[problem.Internal]
}

// Error is a typed error that gRPC understands: it has a status, and its cause stays reachable for errors.Is inside the process.
type Error struct {
	problem *problem.Error
	cause   error
	status  *status.Status
}

// Error returns the text for logs, cause included.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return e.problem.Error()
}

// Unwrap returns the error that was mapped.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status with its details.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Problem returns the typed error that the caller sees.
func (e *Error) Problem() *problem.Error { return e.problem }

// ToStatus maps any error to one with a gRPC status. What has no code becomes internal_error; its cause is in Error and in no answer.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	p := typed(err)
	return &Error{problem: p, cause: err, status: toStatus(p)}
}

func typed(err error) *problem.Error {
	if p := problem.As(err); p != nil {
		return p
	}
	switch {
	case errors.Is(err, context.Canceled):
		return problem.New(Cancelled, "The request was cancelled.")
	case errors.Is(err, context.DeadlineExceeded):
		return problem.New(Timeout, "The request ran out of time.")
	}
	if s, ok := status.FromError(err); ok {
		return FromStatus(s)
	}
	return internal()
}

func internal() *problem.Error { return problem.New(problem.Internal, "An internal error occurred.") }

// Headers are the HTTP headers that belong to an error, in a fixed order of name and value pairs.
func Headers(e *problem.Error) [][2]string {
	var headers [][2]string
	if e.Code == problem.Unauthorized {
		headers = append(headers, [2]string{"WWW-Authenticate", "Bearer"})
	}
	if e.RetryAfter > 0 {
		headers = append(headers, [2]string{"Retry-After", strconv.Itoa(e.RetryAfter)})
	}
	return headers
}

func toStatus(e *problem.Error) *status.Status {
	target := Lookup(e.Code)
	message := shown(e)
	detail := &kneov1.ErrorDetail{
		Code:       string(e.Code),
		HttpStatus: int32(target.HTTP), //nolint:gosec // The table holds three-digit numbers.
		Extras:     &kneov1.JsonObject{Raw: Extras(e)},
	}
	for _, h := range Headers(e) {
		detail.Headers = append(detail.Headers, &kneov1.ErrorHeader{Name: h[0], Value: h[1]})
	}
	info := &errdetails.ErrorInfo{Reason: string(e.Code), Domain: Domain, Metadata: textFields(e)}
	details := []protoadapt.MessageV1{detail, info}
	if len(e.Issues) > 0 {
		bad := &errdetails.BadRequest{}
		for _, i := range e.Issues {
			detail.Issues = append(detail.Issues, toIssue(i))
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: dotted(i.Loc), Description: i.Msg})
		}
		details = append(details, bad)
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: int64(e.RetryAfter)}})
	}
	plain := status.New(target.GRPC, message)
	if full, err := plain.WithDetails(details...); err == nil {
		return full
	}
	return plain
}

func toIssue(i problem.Issue) *kneov1.ValidationIssue {
	out := &kneov1.ValidationIssue{Type: i.Type, Loc: &kneov1.JsonValue{Raw: encode(i.Loc)}, Msg: i.Msg}
	if i.Input != nil {
		out.Input = &kneov1.JsonValue{Raw: i.Input}
	}
	if i.Ctx != nil {
		out.Ctx = &kneov1.JsonObject{Raw: encode(i.Ctx)}
	}
	return out
}

// dotted is the path of a violation without its first part, as gRPC names fields.
func dotted(loc []any) string {
	text := ""
	for i, part := range loc {
		switch {
		case i == 0 && len(loc) > 1:
		case text == "":
			text = fmt.Sprint(part)
		default:
			text += "." + fmt.Sprint(part)
		}
	}
	return text
}

func textFields(e *problem.Error) map[string]string {
	fields := map[string]string{}
	for _, f := range e.Fields {
		if text, ok := f.Value.(string); ok {
			fields[f.Key] = text
		}
	}
	if e.RunID != "" {
		fields["run_id"] = e.RunID
	}
	return fields
}

// FromStatus reads a typed error back from a status, as a client of the generated code receives it.
func FromStatus(s *status.Status) *problem.Error {
	for _, d := range s.Details() {
		if detail, ok := d.(*kneov1.ErrorDetail); ok {
			return fromDetail(s.Message(), detail)
		}
	}
	return &problem.Error{Code: codeOf(s.Code()), Message: s.Message()}
}

// codeOf names a status that carries no detail of ours, for example one that the gRPC runtime made up.
func codeOf(c codes.Code) problem.Code {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange:
		return problem.InvalidRequest
	case codes.Unauthenticated:
		return problem.Unauthorized
	case codes.PermissionDenied:
		return problem.Forbidden
	case codes.NotFound:
		return problem.NotFound
	case codes.ResourceExhausted:
		return problem.PayloadTooLarge
	case codes.Unimplemented:
		return problem.Unimplemented
	case codes.Unavailable:
		return problem.StoreUnavailable
	case codes.Canceled:
		return Cancelled
	case codes.DeadlineExceeded:
		return Timeout
	default:
		return problem.Internal
	}
}

func fromDetail(message string, d *kneov1.ErrorDetail) *problem.Error {
	e := &problem.Error{Code: problem.Code(d.GetCode()), Message: message, Fields: fields(d.GetExtras().GetRaw())}
	for _, f := range e.Fields {
		if f.Key == "run_id" {
			e.RunID = text(f.Value)
		}
	}
	for _, h := range d.GetHeaders() {
		if h.GetName() == "Retry-After" {
			e.RetryAfter, _ = strconv.Atoi(h.GetValue())
		}
	}
	for _, i := range d.GetIssues() {
		out := problem.Issue{Type: i.GetType(), Msg: i.GetMsg(), Input: i.GetInput().GetRaw()}
		if err := json.Unmarshal(i.GetLoc().GetRaw(), &out.Loc); err != nil {
			out.Loc = nil
		}
		if raw := i.GetCtx().GetRaw(); raw != nil {
			if err := json.Unmarshal(raw, &out.Ctx); err != nil {
				out.Ctx = nil
			}
		}
		e.Issues = append(e.Issues, out)
	}
	return e
}

// shown is the message as callers see it: masked, except where it only names one of our own scopes.
func shown(e *problem.Error) string {
	if e.Code == problem.Forbidden {
		return e.Message
	}
	return redact.Text(e.Message)
}

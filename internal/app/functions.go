package app

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// functions calls component functions through the handler registry.
type functions struct{ handlers handler.Caller }

// CallFunction implements agent.Functions.
func (f functions) CallFunction(ctx context.Context, fn *plan.Function, input, runID, key string) (string, error) {
	text, err := json.Marshal(input)
	if err != nil {
		return "", &run.StepError{Type: run.FailStep, Message: "The input of the function is no text.", Permanent: true, Cause: err}
	}
	out, err := f.handlers.Call(ctx, handler.Function, fn.Implementation, text, handler.Meta{RunID: runID, IdempotencyKey: key})
	if err == nil {
		return handler.Text(out), nil
	}
	var failed *handler.Error
	if !errors.As(err, &failed) {
		return "", err
	}
	kind := run.FailStep
	switch failed.Code {
	case handler.CodeUnavailable:
		kind = run.FailHandlerUnavailable
	case handler.CodeTimeout:
		kind = run.FailTimeout
	}
	return "", &run.StepError{Type: kind, Message: failed.Message, Permanent: !failed.Retryable, Cause: err}
}

package agent

import (
	"context"
	"errors"

	"github.com/kneo-go/kneo/internal/guardrail"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/tool"
)

func (s *session) failure(ctx context.Context, err error) error { return failure(ctx, err) }

// failure gives an error the type that Agents promises; errors of other packages (the journal's) pass unchanged.
func failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var refusal *tool.Refusal
	var step *run.StepError
	switch {
	case problem.As(err) != nil, errors.As(err, &step):
		return err
	case errors.As(err, &refusal):
		return guardrail.Violation(guardrail.ViolationTool, refusal.Message)
	}
	if e := llm.AsError(err); e != nil {
		return e.Failure()
	}
	if e := handler.AsError(err); e != nil {
		return handlerFailure(e)
	}
	return err
}

func handlerFailure(e *handler.Error) error {
	kind := run.FailStep
	switch e.Code {
	case handler.CodeUnavailable:
		kind = run.FailHandlerUnavailable
	case handler.CodeTimeout:
		kind = run.FailTimeout
	}
	return &run.StepError{Type: kind, Message: e.Message, Permanent: !e.Retryable && e.Code == handler.CodeInvalidInput, Cause: e}
}

package run

// Failure types of decision W19 that a run's error can carry.
const (
	FailStep               = "step_failed"
	FailProvider           = "provider_error"
	FailTool               = "tool_error"
	FailTimeout            = "timeout"
	FailGuardrail          = "guardrail_violation"
	FailTokenBudget        = "token_budget_exceeded" //nolint:gosec // a failure type, not a credential
	FailMissingSecret      = "missing_secret"
	FailMaxIterations      = "max_iterations"
	FailCancelled          = "cancelled"
	FailQueueFull          = "queue_full"
	FailDeadLetter         = "dead_letter"
	FailHumanTaskExpired   = "human_task_expired"
	FailHumanRejected      = "human_rejected"
	FailRunTimedOut        = "run_timed_out"
	FailSpecInvalid        = "spec_invalid"
	FailInternal           = "internal_error"
	FailHandlerUnavailable = "handler_unavailable"
)

// StepError is a failure inside a step with its type for the run's error object. Message is safe to show after redaction.
type StepError struct {
	Type    string
	Message string
	// Permanent says that trying again cannot help.
	Permanent bool
	Cause     error
}

// Error returns the message.
func (e *StepError) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Cause }

package compile

import (
	"slices"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/spec"
)

// requestCodes are build problems that clients know as invalid_request with the diagnostic's own text.
var requestCodes = []string{CodeEmptyWorkflow, CodeGuardrailType, CodeMemoryPolicy}

// Problem is the error of a compilation whose diagnostics have errors, or nil. It is spec_invalid (decision W6), and invalid_request with
// the first text when all errors are of the kind that was always answered so. Diagnostics are left for the caller to add in its own form.
func Problem(found spec.Diagnostics) *problem.Error {
	var first *spec.Diagnostic
	request := true
	for i := range found {
		if found[i].Severity != spec.SeverityError {
			continue
		}
		if first == nil {
			first = &found[i]
		}
		request = request && slices.Contains(requestCodes, found[i].Code)
	}
	switch {
	case first == nil:
		return nil
	case request:
		return problem.New(problem.InvalidRequest, "%s", first.Message)
	default:
		return problem.New(problem.SpecInvalid, "Spec failed validation.")
	}
}

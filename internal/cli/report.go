package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/profile"
	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/store"
)

// report tells what went wrong and what to do next, on the error stream, and returns the exit code.
func (s *shell) report(cmd *cobra.Command, err error) int {
	var bad *usageError
	switch {
	case errors.As(err, &bad):
		s.err.Println(s.err.Paint(term.Red, "Error:") + " " + bad.text)
		s.err.Println(fmt.Sprintf("Try '%s --help' for help.", cmd.CommandPath()))
		return exitUsage
	case errors.As(err, &verdict{}):
		return exitError
	}
	if cmd != nil && asJSON(cmd) {
		s.err.Println(string(errmap.Envelope(asProblem(err))))
		return exitError
	}
	var wrong *specError
	if errors.As(err, &wrong) {
		s.diagnostics(s.err, wrong.found, wrong.e)
		s.err.Fail("The spec does not build.")
		return exitError
	}
	s.err.Fail(term.Clean(text(err)))
	if hint := s.hint(err); hint != "" {
		s.err.Println(s.err.Paint(term.Dim, "  "+hint))
	}
	return exitError
}

// remoteError is a failure of a call to a service, as opposed to one inside this process.
type remoteError struct {
	url string
	err error
}

// Error words a failure as scripts know it.
func (e *remoteError) Error() string {
	var c *client.Error
	if !errors.As(e.err, &c) {
		return fmt.Sprintf("Service request failed: %v", e.err)
	}
	detail := c.Message
	if issues := issueText(c); issues != "" {
		detail = issues
	}
	if c.HTTPStatus == 0 {
		return fmt.Sprintf("Service request failed (%s): %s", status.Code(e.err), detail)
	}
	return fmt.Sprintf("Service request failed (%d %s): %s", c.HTTPStatus, http.StatusText(c.HTTPStatus), detail)
}

// Unwrap returns the failure itself.
func (e *remoteError) Unwrap() error { return e.err }

const shownIssues = 3

func issueText(c *client.Error) string {
	var parts []string
	for _, i := range c.Issues {
		if len(parts) == shownIssues {
			break
		}
		var loc []any
		if json.Unmarshal(i.GetLoc().GetRaw(), &loc) != nil {
			continue
		}
		names := make([]string, 0, len(loc))
		for _, l := range loc {
			names = append(names, fmt.Sprint(l))
		}
		parts = append(parts, strings.Join(names, ".")+": "+i.GetMsg())
	}
	return strings.Join(parts, "; ")
}

// text is the message of an error.
func text(err error) string {
	var c *client.Error
	var remote *remoteError
	switch {
	case errors.As(err, &remote):
		return withDiagnostics(remote.Error(), err)
	case errors.As(err, &c):
		message := c.Message
		if issues := issueText(c); issues != "" {
			message = issues
		}
		return withDiagnostics(message, err)
	}
	return err.Error()
}

// withDiagnostics adds the findings that a refused spec carries.
func withDiagnostics(message string, err error) string {
	for _, d := range diagnosticsOf(err) {
		if line := fmt.Sprintf("%s %s: %s", strings.ToUpper(d.Severity), d.Code, d.Message); !strings.Contains(message, line) {
			message += "\n  " + line
		}
	}
	return message
}

// foundDiagnostic is a finding as an error carries it.
type foundDiagnostic struct {
	Code, Severity, Message string
	Path, Suggestion        *string
	Line, Column            int
}

func diagnosticsOf(err error) []foundDiagnostic {
	var c *client.Error
	if !errors.As(err, &c) {
		return nil
	}
	var extras struct{ Diagnostics []foundDiagnostic }
	if json.Unmarshal(c.Extras, &extras) != nil {
		return nil
	}
	return extras.Diagnostics
}

// hint says what to do about an error, or nothing.
func (s *shell) hint(err error) string {
	var hinted *hintedError
	if errors.As(err, &hinted) {
		return hinted.hint
	}
	var remote *remoteError
	var c *client.Error
	if errors.As(err, &remote) && status.Code(remote.err) == codes.Unavailable && client.Code(err) == "" {
		return fmt.Sprintf("Is a service running at %s? Start one with 'kneo service serve', or choose another with --service-url or --profile.", remote.url)
	}
	if errors.As(err, &c) {
		if c.Code == "" && status.Code(c) == codes.DeadlineExceeded {
			return timeoutHint
		}
		return s.codeHint(c)
	}
	var unknown *profile.UnknownError
	var missing *project.MissingError
	switch {
	case errors.As(err, &unknown):
		return "'kneo config profile list' shows the profiles; 'kneo config profile set NAME --service-url URL' adds one."
	case errors.As(err, &missing):
		return "A path is looked up from the working folder and then from the project root."
	case errors.Is(err, project.ErrNoSpec):
		return "Name a spec, or set specs.default_spec in .kneo/config.yaml; 'kneo spec init' writes one to begin with."
	}
	return ""
}

const timeoutHint = "A run goes on without its caller: 'kneo runs list' shows it. KNEO_SERV_CLIENT_TIMEOUT sets the time limit."

func (s *shell) codeHint(c *client.Error) string {
	switch problem.Code(c.Code) {
	case problem.Unauthorized:
		return "Give a key: --profile NAME, 'kneo config profile set NAME --service-url URL --api-key KEY', or KNEO_SERV_API_KEY."
	case problem.Forbidden:
		return "The key lacks a scope; an administrator can grant it in KNEO_SERV_API_KEYS."
	case problem.NotFound:
		return "'kneo runs list' and 'kneo human list' show what there is; --service-url or --profile choose where to look."
	case problem.SpecInvalid:
		return "'kneo spec validate SPEC' shows where."
	case problem.RunStateConflict:
		return fmt.Sprintf("'kneo runs recovery %s' tells what the run allows.", orWord(c.RunID(), "RUN_ID"))
	case problem.MissingSecret:
		return "Set the variable where the run executes: for a service, in its environment."
	case problem.QueueFull:
		return "Workers are behind; try again later or start more of them."
	case problem.PayloadTooLarge:
		return "The service limits request sizes (KNEO_SERV_MAX_BODY_BYTES)."
	case problem.HumanTaskExpired:
		return "The deadline of the task has passed; 'kneo human list' shows what is open."
	case problem.StoreUnavailable:
		return "The database cannot be used at the moment; '/readyz' of the service tells why."
	case errmap.Timeout:
		return timeoutHint
	}
	return ""
}

func orWord(text, word string) string {
	if text == "" {
		return word
	}
	return text
}

// unreachable is the code of a service that does not answer.
const unreachable problem.Code = "service_unreachable"

// asProblem gives an error the form of an error body.
func asProblem(err error) *problem.Error {
	var c *client.Error
	if errors.As(err, &c) && c.GRPCStatus() != nil {
		p := errmap.FromStatus(c.GRPCStatus())
		if c.Code == "" && c.GRPCStatus().Code() == codes.Unavailable {
			p.Code = unreachable
		}
		return p
	}
	if p := problem.As(err); p != nil {
		return p
	}
	var syntax *spec.SyntaxError
	var blocked *project.PolicyError
	var inUse *store.InUseError
	code := problem.InvalidRequest
	var wrong *specError
	switch {
	case errors.As(err, &wrong):
		return problem.New(problem.SpecInvalid, "%s", err.Error()).With("diagnostics", wrong.found)
	case errors.As(err, &syntax):
		return problem.New(problem.SpecInvalid, "%s", err.Error()).With("diagnostics", spec.Diagnostics{syntax.Diagnostic()})
	case errors.As(err, &blocked):
		return problem.New(problem.EnvironmentPolicyBlocked, "%s", err.Error()).With("diagnostics", blocked.Found)
	case errors.As(err, &inUse):
		code = problem.StoreUnavailable
	case notExist(err):
		code = problem.NotFound
	case errors.Is(err, context.Canceled):
		code = errmap.Cancelled
	}
	return problem.New(code, "%s", err.Error())
}

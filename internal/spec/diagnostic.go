package spec

import "strings"

// Severity of a diagnostic.
type Severity string

// The severities. Only an error makes a spec invalid.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

// Diagnostic is one finding about a spec. Path and Suggestion are "" where the
// wire shows null; Line and Column are zero where the source is not text.
type Diagnostic struct {
	Code       string
	Severity   Severity
	Message    string
	Path       string
	Suggestion string
	File       string
	Line       int
	Column     int
	// Violations are the single problems behind an E_SCHEMA.
	Violations []Violation
}

// Diagnostics are findings in the order in which the checks run.
type Diagnostics []Diagnostic

// HasErrors reports whether one of them is an error, that is, whether the spec
// is invalid.
func (ds Diagnostics) HasErrors() bool {
	for i := range ds {
		if ds[i].Severity == SeverityError {
			return true
		}
	}
	return false
}

// Text renders one line per diagnostic, warnings included, as command lines
// and failed compilations show them.
func (ds Diagnostics) Text() string {
	var b strings.Builder
	for i := range ds {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.ToUpper(string(ds[i].Severity)))
		b.WriteByte(' ')
		b.WriteString(ds[i].Code)
		b.WriteString(": ")
		b.WriteString(ds[i].Message)
	}
	return b.String()
}

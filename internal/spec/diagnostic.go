package spec

import (
	"strconv"
	"strings"
)

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

// MarshalJSON writes code, severity, message, path and suggestion, always and
// in this order, then line and column when they are known.
func (d Diagnostic) MarshalJSON() ([]byte, error) { return d.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON writes.
func (d Diagnostic) AppendJSON(b []byte) []byte {
	b = appendString(append(b, `{"code":`...), d.Code)
	b = appendString(append(b, `,"severity":`...), string(d.Severity))
	b = appendString(append(b, `,"message":`...), d.Message)
	b = appendNullable(append(b, `,"path":`...), d.Path)
	b = appendNullable(append(b, `,"suggestion":`...), d.Suggestion)
	if d.Line > 0 {
		b = strconv.AppendInt(append(b, `,"line":`...), int64(d.Line), 10)
	}
	if d.Column > 0 {
		b = strconv.AppendInt(append(b, `,"column":`...), int64(d.Column), 10)
	}
	return append(b, '}')
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// MarshalJSON writes a list, also when there are none.
func (ds Diagnostics) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i := range ds {
		if i > 0 {
			b = append(b, ',')
		}
		b = ds[i].AppendJSON(b)
	}
	return append(b, ']'), nil
}

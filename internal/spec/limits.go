package spec

// Limits bound what reading one spec may cost. Zero fields mean the defaults.
type Limits struct {
	// Bytes of the text; 1 MiB by default.
	Bytes int
	// Depth of nested mappings and lists; 100 by default.
	Depth int
	// Nodes is the number of values after aliases are expanded; 100000 by default.
	Nodes int
	// DuplicateKeys is how many repeated keys are reported; 20 by default.
	DuplicateKeys int
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 1 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 100
	}
	if l.Nodes <= 0 {
		l.Nodes = 100_000
	}
	if l.DuplicateKeys <= 0 {
		l.DuplicateKeys = 20
	}
	return l
}

// CodeSyntax marks text that is not readable as YAML or JSON, or that goes
// beyond the limits.
const CodeSyntax = "E_SYNTAX"

// CodeDuplicateKey marks a mapping key that occurs twice; the last value counts.
const CodeDuplicateKey = "W_DUPLICATE_KEY"

// SyntaxError is text that cannot be read. It carries where the reading stopped.
type SyntaxError struct {
	Message string
	Pos     Pos
}

// Error returns the message with the position.
func (e *SyntaxError) Error() string {
	if e.Pos.Line == 0 {
		return e.Message
	}
	if e.Pos.Column == 0 {
		return e.Message + " (line " + itoa(e.Pos.Line) + ")"
	}
	return e.Message + " (line " + itoa(e.Pos.Line) + ", column " + itoa(e.Pos.Column) + ")"
}

// Diagnostic renders the error as a finding.
func (e *SyntaxError) Diagnostic() Diagnostic {
	return Diagnostic{
		Code: CodeSyntax, Severity: SeverityError, Message: e.Error(),
		Suggestion: "Write one YAML or JSON document whose root is a mapping.",
		File:       e.Pos.File, Line: e.Pos.Line, Column: e.Pos.Column,
	}
}

// Package redact removes secrets and personal data from what the platform shows, stores for display and logs. Text applies the text rules,
// JSON applies the text rules to every string and hides the values of sensitive keys, Paths hides file system paths. All functions are pure and
// idempotent on their own tokens, except that text next to a token is read again as text. It imports only the standard library.
package redact

// The tokens that replace what is hidden.
const (
	// Mask replaces secrets.
	Mask = "[REDACTED]"
	// MaskEmail replaces e-mail addresses.
	MaskEmail = "[REDACTED_EMAIL]"
	// MaskSSN replaces social security numbers.
	MaskSSN = "[REDACTED_SSN]"
	// MaskPath replaces absolute paths.
	MaskPath = "[PATH]"
)

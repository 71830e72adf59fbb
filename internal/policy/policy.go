// Package policy holds environment policies: what a spec must satisfy to be compiled or run in an environment, and the policy report that the
// rules read. Everything is a pure function of a document, its diagnostics and a policy. It imports internal/spec.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kneo-go/kneo/internal/spec"
)

// Policy is the policy of one environment, with its wire names in wire order.
type Policy struct {
	Enabled                bool     `json:"enabled"`
	FailOnWarnings         bool     `json:"fail_on_warnings"`
	BlockedDiagnosticCodes []string `json:"blocked_diagnostic_codes"`
	RequireHumanReview     bool     `json:"require_human_review"`
	RequireToolPermissions bool     `json:"require_tool_permissions"`
	DenyUnrestrictedTools  bool     `json:"deny_unrestricted_tools"`
	RequireGuardrails      bool     `json:"require_guardrails"`
}

// Default returns the policy of a request that sets nothing: enabled and without rules.
func Default() Policy { return Policy{Enabled: true, BlockedDiagnosticCodes: []string{}} }

// Parse reads a stored or local policy; missing fields have their defaults and unknown ones are errors.
func Parse(data []byte) (Policy, error) {
	p := Default()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if p.BlockedDiagnosticCodes == nil {
		p.BlockedDiagnosticCodes = []string{}
	}
	return p, nil
}

// Encode writes the policy with all its fields; an absent list is [].
func (p Policy) Encode() []byte {
	if p.BlockedDiagnosticCodes == nil {
		p.BlockedDiagnosticCodes = []string{}
	}
	return encode(p)
}

// Equal reports whether two policies have the same fields.
func (p Policy) Equal(o Policy) bool {
	codes := slices.Equal(p.BlockedDiagnosticCodes, o.BlockedDiagnosticCodes)
	p.BlockedDiagnosticCodes, o.BlockedDiagnosticCodes = nil, nil
	return codes && bytes.Equal(p.Encode(), o.Encode())
}

// Codes of policy findings.
const (
	CodeDiagnostic        = "E_ENV_POLICY_DIAGNOSTIC"
	CodeWarning           = "E_ENV_POLICY_WARNING"
	CodeHumanReview       = "E_ENV_POLICY_HUMAN_REVIEW"
	CodeToolPermissions   = "E_ENV_POLICY_TOOL_PERMISSIONS"
	CodeUnrestrictedTools = "E_ENV_POLICY_UNRESTRICTED_TOOLS"
	CodeGuardrails        = "E_ENV_POLICY_GUARDRAILS"
)

// Evaluate returns what the policy has against the spec of a report, in the order of the rules. A disabled policy finds nothing. A report of
// a spec that does not fit the schema yields its own diagnostics, which are no policy findings: such a spec is refused as invalid.
func Evaluate(p Policy, environment string, r *Report) spec.Diagnostics {
	switch {
	case !p.Enabled:
		return nil
	case !r.Valid:
		return slices.Clone(r.source)
	}
	e := evaluation{environment: environment}
	e.diagnostics(p, r.source)
	if p.RequireHumanReview && len(r.HumanReview.WorkflowSteps) == 0 {
		e.add(CodeHumanReview, "workflow", "Add a human step before deployment or disable require_human_review for this environment.",
			"Environment '%s' requires a human approval workflow step.", environment)
	}
	if p.RequireToolPermissions {
		for _, a := range r.Tools.AgentPolicies {
			if len(a.Include) > 0 && a.Permissions == nil {
				e.add(CodeToolPermissions, a.Agent+".tools.permissions", "Use tools.include with an explicit permissions object.",
					"Environment '%s' requires explicit tool permissions for %s.", environment, a.Agent)
			}
		}
	}
	if p.DenyUnrestrictedTools {
		for _, a := range r.Tools.AgentPolicies {
			if a.Unrestricted {
				e.add(CodeUnrestrictedTools, a.Agent+".tools", "Restrict network domains and disable shell/filesystem write access.",
					"Environment '%s' denies unrestricted tools for %s.", environment, a.Agent)
			}
		}
	}
	if p.RequireGuardrails && !slices.ContainsFunc(r.Guardrails.Agents, func(a AgentGuardrails) bool { return a.Configured }) {
		e.add(CodeGuardrails, "agent.guardrails", "Configure input, output, tool, or workflow guardrails.",
			"Environment '%s' requires at least one guardrail.", environment)
	}
	return e.found
}

// Blocks reports whether findings hold a policy error, which the API answers with environment_policy_blocked.
func Blocks(found spec.Diagnostics) bool {
	return slices.ContainsFunc(found, func(d spec.Diagnostic) bool {
		return len(d.Code) > len(prefix) && d.Code[:len(prefix)] == prefix
	})
}

const prefix = "E_ENV_POLICY_"

type evaluation struct {
	environment string
	found       spec.Diagnostics
}

func (e *evaluation) add(code, path, suggestion, format string, args ...any) {
	e.found = append(e.found, spec.Diagnostic{
		Code: code, Severity: spec.SeverityError, Path: path, Suggestion: suggestion, Message: fmt.Sprintf(format, args...),
	})
}

func (e *evaluation) diagnostics(p Policy, source spec.Diagnostics) {
	for _, d := range source {
		// A policy finding stands where the diagnostic stands.
		at := spec.Diagnostic{Severity: spec.SeverityError, Path: d.Path, Suggestion: d.Suggestion, File: d.File, Line: d.Line, Column: d.Column}
		if slices.Contains(p.BlockedDiagnosticCodes, d.Code) {
			at.Code, at.Message = CodeDiagnostic, fmt.Sprintf("Environment '%s' blocks diagnostic %s.", e.environment, d.Code)
			e.found = append(e.found, at)
		}
		if p.FailOnWarnings && d.Severity == spec.SeverityWarning {
			at.Code, at.Message = CodeWarning, fmt.Sprintf("Environment '%s' treats warning %s as an error.", e.environment, d.Code)
			e.found = append(e.found, at)
		}
	}
}

// Change is one field of a preview's diff; From is nil when no policy is stored.
type Change struct {
	Field string
	From  json.RawMessage
	To    json.RawMessage
}

// Diff lists the fields in which the proposed policy differs from the stored one, in wire order. Without a stored policy every field differs.
func Diff(stored *Policy, proposed Policy) []Change {
	to := fields(proposed)
	var out []Change
	if stored == nil {
		return to
	}
	for i, was := range fields(*stored) {
		if !bytes.Equal(was.To, to[i].To) {
			out = append(out, Change{Field: was.Field, From: was.To, To: to[i].To})
		}
	}
	return out
}

func fields(p Policy) []Change {
	codes := p.BlockedDiagnosticCodes
	if codes == nil {
		codes = []string{}
	}
	return []Change{
		{Field: "enabled", To: encode(p.Enabled)},
		{Field: "fail_on_warnings", To: encode(p.FailOnWarnings)},
		{Field: "blocked_diagnostic_codes", To: encode(codes)},
		{Field: "require_human_review", To: encode(p.RequireHumanReview)},
		{Field: "require_tool_permissions", To: encode(p.RequireToolPermissions)},
		{Field: "deny_unrestricted_tools", To: encode(p.DenyUnrestrictedTools)},
		{Field: "require_guardrails", To: encode(p.RequireGuardrails)},
	}
}

// Effect is how a proposed policy would treat one spec. Affected says that the outcome changes, NewlyBlocking that the spec is allowed by the
// stored policy and refused by the proposed one.
type Effect struct {
	Affected      bool
	NewlyBlocking bool
}

// Preview compares the outcomes of the stored (nil when there is none) and the proposed policy for the spec of a report.
func Preview(stored *Policy, proposed Policy, environment string, r *Report) Effect {
	before := stored != nil && Blocks(Evaluate(*stored, environment, r))
	after := Blocks(Evaluate(proposed, environment, r))
	return Effect{Affected: before != after, NewlyBlocking: !before && after}
}

// encode writes JSON without HTML escapes. The values are of this package's own types, which always encode.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

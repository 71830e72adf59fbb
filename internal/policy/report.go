package policy

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kneo-go/kneo/internal/spec"
)

// Report is the policy report of a spec (spec-language.md §8.1). Valid reflects the schema only. Fields are in wire order; lists are never null.
type Report struct {
	Valid       bool
	Version     string
	Summary     Summary
	Memory      MemorySection
	Tools       ToolSection
	Guardrails  GuardrailSection
	HumanReview HumanSection

	source spec.Diagnostics
}

// Summary counts what the spec declares.
type Summary struct {
	AgentCount           int `json:"agent_count"`
	WorkflowCount        int `json:"workflow_count"`
	ToolCount            int `json:"tool_count"`
	MCPToolCount         int `json:"mcp_tool_count"`
	HumanReviewerCount   int `json:"human_reviewer_count"`
	HumanReviewStepCount int `json:"human_review_step_count"`
	DiagnosticCount      int `json:"diagnostic_count"`
}

// MemorySection lists the memory policies of the agents.
type MemorySection struct {
	Agents []AgentMemory `json:"agents"`
}

// AgentMemory is the memory policy of one agent.
type AgentMemory struct {
	Agent      string          `json:"agent"`
	Configured bool            `json:"configured"`
	Policy     json.RawMessage `json:"policy"`
	Config     json.RawMessage `json:"config"`
}

// ToolSection lists tools and what agents may do with them.
type ToolSection struct {
	Declared      []string     `json:"declared"`
	MCPImports    []MCPImport  `json:"mcp_imports"`
	AgentPolicies []AgentTools `json:"agent_policies"`
}

// MCPImport is a tool that comes from an MCP server.
type MCPImport struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config"`
}

// AgentTools is the tool selection of one agent.
type AgentTools struct {
	Agent        string       `json:"agent"`
	Include      []string     `json:"include"`
	Exclude      []string     `json:"exclude"`
	Permissions  *Permissions `json:"permissions"`
	Unrestricted bool         `json:"unrestricted"`
}

// Permissions are an agent's declared permissions; nil means undeclared.
type Permissions struct {
	AllowNetwork         *bool    `json:"allow_network"`
	AllowFilesystemRead  *bool    `json:"allow_filesystem_read"`
	AllowFilesystemWrite *bool    `json:"allow_filesystem_write"`
	AllowShell           *bool    `json:"allow_shell"`
	AllowedDomains       []string `json:"allowed_domains"`
	DeniedDomains        []string `json:"denied_domains"`
}

// GuardrailSection lists the guardrails of the agents.
type GuardrailSection struct {
	Agents []AgentGuardrails `json:"agents"`
}

// AgentGuardrails counts the guardrails of one agent by stage.
type AgentGuardrails struct {
	Agent      string         `json:"agent"`
	Configured bool           `json:"configured"`
	Stages     map[string]int `json:"stages"`
}

// HumanSection tells who reviews what, and why a review is required.
type HumanSection struct {
	Reviewers     []string      `json:"reviewers"`
	WorkflowSteps []HumanStep   `json:"workflow_steps"`
	Required      bool          `json:"required"`
	Requirements  []Requirement `json:"requirements"`
	Missing       bool          `json:"missing"`
}

// HumanStep is an enabled human step of a sequential or graph workflow.
type HumanStep struct {
	Workflow string `json:"workflow"`
	StepID   string `json:"step_id"`
	Ref      string `json:"ref"`
}

// Requirement is one reason for a human review.
type Requirement struct {
	Code   string `json:"code"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// requiring are the diagnostics that make a review required.
var requiring = []string{
	"E_UNSAFE_TOOL_IMPORT", "E_UNSAFE_FUNCTION_IMPORT", "W_TOOL_NETWORK_UNRESTRICTED", "W_TOOL_SHELL_ALLOWED",
	"W_TOOL_FILESYSTEM_WRITE_ALLOWED", "W_TOOL_FILESYSTEM_READ_ALLOWED", "W_TOOL_POLICY_UNRESTRICTED",
}

// NewReport builds the report of a document and its diagnostics. A nil document stands for a spec that does not fit the schema.
func NewReport(doc *spec.Document, found spec.Diagnostics) *Report {
	if doc == nil {
		return &Report{source: found}
	}
	r := &Report{Valid: true, Version: doc.Version, source: found}
	r.agent("agent", doc.Agent)
	for name, a := range doc.Components.Agents.All() {
		r.agent("components.agents."+name, a)
	}
	r.tools(doc)
	r.humans(doc)
	r.Summary = Summary{
		AgentCount: 1 + doc.Components.Agents.Len(), WorkflowCount: doc.Components.Workflows.Len(), ToolCount: doc.Tools.Len(),
		MCPToolCount: len(r.Tools.MCPImports), HumanReviewerCount: doc.Components.Humans.Len(),
		HumanReviewStepCount: len(r.HumanReview.WorkflowSteps), DiagnosticCount: len(found),
	}
	if doc.Workflow != nil {
		r.Summary.WorkflowCount++
	}
	return r
}

func (r *Report) agent(path string, a *spec.Agent) {
	m := AgentMemory{Agent: path, Configured: !a.Memory.IsNull(), Policy: json.RawMessage("null"), Config: json.RawMessage("{}")}
	if a.Memory.IsMapping() {
		m.Config = a.Memory.JSON()
		m.Policy = a.Memory.Get("policy").JSON()
	}
	r.Memory.Agents = append(r.Memory.Agents, m)

	t := AgentTools{Agent: path, Include: []string{}, Exclude: []string{}}
	if a.Tools != nil {
		t.Include, t.Exclude = orEmpty(a.Tools.Include), orEmpty(a.Tools.Exclude)
		t.Unrestricted = unrestricted(a.Tools.Permissions)
		if p := a.Tools.Permissions; p != nil {
			t.Permissions = &Permissions{
				AllowNetwork: p.AllowNetwork, AllowFilesystemRead: p.AllowFilesystemRead, AllowFilesystemWrite: p.AllowFilesystemWrite,
				AllowShell: p.AllowShell, AllowedDomains: orEmpty(p.AllowedDomains), DeniedDomains: orEmpty(p.DeniedDomains),
			}
		}
	}
	r.Tools.AgentPolicies = append(r.Tools.AgentPolicies, t)

	g := AgentGuardrails{Agent: path, Stages: map[string]int{}}
	if a.Guardrails.IsMapping() {
		for _, e := range a.Guardrails.Entries {
			if e.Value != nil && e.Value.Kind == spec.Sequence && e.Value.Len() > 0 {
				g.Stages[e.Key] = e.Value.Len()
			}
		}
	}
	g.Configured = len(g.Stages) > 0
	r.Guardrails.Agents = append(r.Guardrails.Agents, g)
}

func unrestricted(p *spec.Permissions) bool {
	if p == nil {
		return true
	}
	yes := func(b *bool) bool { return b != nil && *b }
	return yes(p.AllowShell) || yes(p.AllowFilesystemWrite) || yes(p.AllowFilesystemRead) || yes(p.AllowNetwork) && len(p.AllowedDomains) == 0
}

func (r *Report) tools(doc *spec.Document) {
	r.Tools.Declared = sorted(doc.Tools.Keys())
	r.Tools.MCPImports = []MCPImport{}
	for _, name := range r.Tools.Declared {
		if t, ok := doc.Tools.Get(name); ok && t.MCP.Len() > 0 {
			r.Tools.MCPImports = append(r.Tools.MCPImports, MCPImport{Name: name, Config: t.MCP.JSON()})
		}
	}
}

func (r *Report) humans(doc *spec.Document) {
	h := &r.HumanReview
	h.Reviewers = sorted(doc.Components.Humans.Keys())
	h.WorkflowSteps = []HumanStep{}
	if doc.Workflow != nil {
		h.steps("workflow", doc.Workflow)
	}
	for name, w := range doc.Components.Workflows.All() {
		h.steps("components.workflows."+name, w)
	}
	h.Requirements = []Requirement{}
	for _, d := range r.source {
		if slices.Contains(requiring, d.Code) {
			h.Requirements = append(h.Requirements, Requirement{Code: d.Code, Path: d.Path, Reason: d.Message})
		}
		h.Missing = h.Missing || d.Code == "W_HUMAN_APPROVAL_MISSING"
	}
	if len(h.Requirements) == 0 && len(h.Reviewers) > 0 {
		h.Requirements = append(h.Requirements, Requirement{
			Code: "I_HUMAN_REVIEW_CONFIGURED", Path: "components.humans", Reason: "Human reviewers are configured for this spec.",
		})
	}
	h.Required = len(h.Requirements) > 0
}

func (h *HumanSection) steps(path string, w *spec.Workflow) {
	if w.Type != spec.WorkflowSequential && w.Type != spec.WorkflowGraph {
		return
	}
	add := func(id string, s *spec.Step) {
		if s.Enabled && s.Kind == spec.StepHuman {
			h.WorkflowSteps = append(h.WorkflowSteps, HumanStep{Workflow: path, StepID: id, Ref: s.Ref})
		}
	}
	for _, s := range w.Steps {
		add(s.ID, s)
	}
	for key, s := range w.Nodes.All() {
		add(key, s)
	}
}

type diagnostic struct {
	Code       string        `json:"code"`
	Severity   spec.Severity `json:"severity"`
	Message    string        `json:"message"`
	Path       *string       `json:"path"`
	Suggestion *string       `json:"suggestion"`
	Line       int           `json:"line,omitempty"`
	Column     int           `json:"column,omitempty"`
}

// MarshalJSON writes the report in wire order.
func (r *Report) MarshalJSON() ([]byte, error) {
	found := make([]diagnostic, len(r.source))
	for i, d := range r.source {
		found[i] = diagnostic{Code: d.Code, Severity: d.Severity, Message: d.Message, Path: nullable(d.Path), Suggestion: nullable(d.Suggestion), Line: d.Line, Column: d.Column}
	}
	if !r.Valid {
		return encode(struct {
			Valid       bool         `json:"valid"`
			Diagnostics []diagnostic `json:"diagnostics"`
		}{false, found}), nil
	}
	return encode(struct {
		Valid       bool             `json:"valid"`
		Version     string           `json:"version"`
		Summary     Summary          `json:"summary"`
		Memory      MemorySection    `json:"memory"`
		Tools       ToolSection      `json:"tools"`
		Guardrails  GuardrailSection `json:"guardrails"`
		HumanReview HumanSection     `json:"human_review"`
		Diagnostics []diagnostic     `json:"diagnostics"`
	}{r.Valid, r.Version, r.Summary, r.Memory, r.Tools, r.Guardrails, r.HumanReview, found}), nil
}

// JSON returns the wire form of the report.
func (r *Report) JSON() ([]byte, error) {
	data, err := r.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("policy: report: %w", err)
	}
	return data, nil
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func sorted(names []string) []string {
	out := append([]string{}, names...)
	slices.Sort(out)
	return out
}

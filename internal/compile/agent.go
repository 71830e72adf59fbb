package compile

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

const defaultMaxIterations = 10

var appendModes = []string{"auto", "never", "user_only", "assistant_only"}

func (b *builder) agent(a *spec.Agent, component, path string) *plan.Agent {
	out := &plan.Agent{
		Name: a.Name, Description: a.Description, Component: component, SystemPrompt: strings.TrimSpace(a.SystemPrompt),
		Strategy: spec.StrategySimple, MaxIterations: defaultMaxIterations, AppendMode: b.appendMode(a, path), AsAgent: a.AsAgent,
	}
	if a.AsAgent != "" {
		out.Runtime = plan.Runtime{Mode: "sdk"}
		if !b.doc.Components.Workflows.Has(a.AsAgent) {
			b.report(CodeRef, firstOf(a.Node.Get("as_agent"), a.Node), path+".as_agent", "", "Unknown component reference: %s", a.AsAgent)
		}
		return out
	}
	b.strategy(out, a)
	b.model(out, a)
	b.toolSelection(out, a, path)
	b.applySkills(out, a, path)
	out.Runtime = b.runtime(a, path)
	out.Memory = b.memory(a, path)
	out.Input = b.guardrails(a, path, "input")
	out.Output = b.guardrails(a, path, "output")
	out.ToolResult = b.guardrails(a, path, "tool")
	return out
}

func (b *builder) appendMode(a *spec.Agent, path string) string {
	n := a.Defaults.Get("append_mode")
	if n.IsNull() {
		return appendModes[0]
	}
	if mode := n.Text(); slices.Contains(appendModes, mode) {
		return mode
	}
	b.report(CodeAppendMode, n, path+".defaults.append_mode", "Use one of "+strings.Join(appendModes, ", ")+".",
		"Unknown append_mode: %s", scalarText(n))
	return appendModes[0]
}

func (b *builder) strategy(out *plan.Agent, a *spec.Agent) {
	s := a.Strategy
	if s == nil {
		return
	}
	out.Strategy = s.Type
	if s.MaxIterations != nil {
		out.MaxIterations = int64(*s.MaxIterations)
	}
	out.StopOnToolError = s.StopOnToolError != nil && *s.StopOnToolError
	out.ParallelToolCalls = s.ParallelToolCalls
}

// connection keys of model.extra say how to reach the provider; they are not parameters of a call, and a literal key never enters a plan.
var connectionKeys = []string{"base_url", "api_key_ref", "api_key"}

func (b *builder) model(out *plan.Agent, a *spec.Agent) {
	m := a.Model
	if m == nil {
		return
	}
	out.Model, out.Temperature, out.MaxTokens, out.TokenBudget = m.Name, m.Temperature, wide(m.MaxTokens), wide(m.TokenBudget)
	if m.TimeoutSeconds != nil {
		seconds := float64(*m.TimeoutSeconds)
		out.TimeoutSeconds = &seconds
	}
	extra := m.Extra
	for _, k := range connectionKeys {
		extra = extra.Without(k)
	}
	if extra.Len() > 0 {
		out.Extra = json.RawMessage(extra.JSON())
	}
}

func (b *builder) toolSelection(out *plan.Agent, a *spec.Agent, path string) {
	t := a.Tools
	if t == nil {
		return
	}
	out.Include, out.Exclude = slices.Clone(t.Include), slices.Clone(t.Exclude)
	for _, name := range t.Include {
		if !b.doc.Tools.Has(name) {
			b.report(CodeRef, firstOf(a.Node.Get("tools"), a.Node), path+".tools", "Declare it under tools.",
				"Tool '%s' is referenced but not defined.", name)
			continue
		}
		if !slices.Contains(t.Exclude, name) && !slices.Contains(out.Tools, name) {
			out.Tools = append(out.Tools, name)
		}
	}
	if p := t.Permissions; p != nil {
		out.Permissions = &plan.Permissions{
			AllowNetwork: p.AllowNetwork, AllowFilesystemRead: p.AllowFilesystemRead, AllowFilesystemWrite: p.AllowFilesystemWrite,
			AllowShell: p.AllowShell, AllowedDomains: slices.Clone(p.AllowedDomains), DeniedDomains: slices.Clone(p.DeniedDomains),
		}
	}
}

// skills checks that every declared skill was loaded, selected or not.
func (b *builder) skills() {
	for name, s := range b.doc.Skills.All() {
		if _, ok := b.opts.Skills[name]; !ok {
			b.report(CodeSkill, s.Node, "skills."+name, "Check skills."+name+".source.", "Skill '%s' is declared but its bundle was not loaded.", name)
		}
	}
}

// applySkills adds the selected skills' instructions, defaults and tools. A skill's iteration limit wins over the strategy's, an explicit
// model temperature over a skill's.
func (b *builder) applySkills(out *plan.Agent, a *spec.Agent, path string) {
	parts := make([]string, 0, 1+len(a.Skills))
	parts = append(parts, out.SystemPrompt)
	explicit := out.Temperature != nil
	for _, name := range a.Skills {
		s, ok := b.opts.Skills[name]
		if !ok {
			if !b.doc.Skills.Has(name) {
				b.report(CodeRef, firstOf(a.Node.Get("skills"), a.Node), path+".skills", "Declare it under skills.",
					"Skill '%s' is referenced but not defined.", name)
			}
			continue
		}
		parts = append(parts, strings.TrimSpace(s.Instructions))
		if n, ok := s.Defaults.Get("max_iterations").AsInt(); ok {
			out.MaxIterations = int64(n)
		}
		if f, ok := s.Defaults.Get("temperature").AsFloat(); ok && !explicit {
			out.Temperature = &f
		}
		if fail, ok := s.Defaults.Get("raise_on_max_iterations").AsBool(); ok {
			out.FailOnMaxIterations = fail
		}
		if s.Strict {
			b.skillTools(out, a, name, s.Tools, path)
		}
	}
	out.SystemPrompt = strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "\n\n")
}

func (b *builder) skillTools(out *plan.Agent, a *spec.Agent, skill string, tools []plan.SkillTool, path string) {
	for _, t := range tools {
		i := slices.IndexFunc(out.SkillTools, func(other plan.SkillTool) bool { return other.Name == t.Name })
		switch {
		case i >= 0 && sameTool(out.SkillTools[i], t):
		case i >= 0 || slices.Contains(out.Tools, t.Name):
			b.report(CodeSkill, firstOf(a.Node.Get("skills"), a.Node), path+".skills", "Select only one of them.",
				"Skill '%s' declares the tool '%s', which the agent has already with another definition.", skill, t.Name)
		default:
			out.SkillTools = append(out.SkillTools, t)
		}
	}
}

func sameTool(a, b plan.SkillTool) bool {
	return a.Name == b.Name && a.Description == b.Description && string(a.Parameters) == string(b.Parameters)
}

// scalarText shows a value in a message.
func scalarText(n *spec.Node) string {
	if n != nil && n.Kind == spec.String {
		return n.Value
	}
	return string(n.JSON())
}

// Package compile turns a validated spec into a plan: references resolved, defaults filled in, disabled steps gone, runtimes chosen and
// handlers checked. It is pure; what it needs from outside (skills, known handlers) is passed in. It imports internal/spec, internal/plan,
// internal/handler, internal/guardrail and internal/problem.
package compile

import (
	"fmt"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

// Codes of build problems. They are errors; the spec passed validation but cannot run.
const (
	// CodeRef is a reference that names no component.
	CodeRef = "E_BUILD_REF"
	// CodeHandler is an implementation that nobody serves.
	CodeHandler = "E_BUILD_HANDLER"
	// CodeRuntime is an agent that no runtime can execute.
	CodeRuntime = "E_BUILD_RUNTIME"
	// CodeCycle is a component that depends on itself through its guardrails or memory.
	CodeCycle = "E_BUILD_CYCLE"
	// CodeEmptyWorkflow is a workflow without enabled steps.
	CodeEmptyWorkflow = "E_BUILD_EMPTY_WORKFLOW"
	// CodeCondition is a condition whose value has the wrong type.
	CodeCondition = "E_BUILD_CONDITION"
	// CodeGuardrailType is an unknown type of guardrail.
	CodeGuardrailType = "E_BUILD_GUARDRAIL_TYPE"
	// CodeGuardrail is a guardrail whose fields do not fit its type.
	CodeGuardrail = "E_BUILD_GUARDRAIL"
	// CodeRegex is a pattern that does not compile.
	CodeRegex = "E_BUILD_REGEX"
	// CodeMemoryPolicy is an unknown memory policy.
	CodeMemoryPolicy = "E_BUILD_MEMORY_POLICY"
	// CodeMemory is a memory policy whose fields do not fit.
	CodeMemory = "E_BUILD_MEMORY"
	// CodeSkill is a declared skill that was not loaded, or one whose declarations do not fit.
	CodeSkill = "E_BUILD_SKILL"
	// CodeTool is a tool without a usable backing.
	CodeTool = "E_BUILD_TOOL"
	// CodeAppendMode is an unknown defaults.append_mode.
	CodeAppendMode = "E_BUILD_APPEND_MODE"
)

// Skill is a loaded skill, by its declared name.
type Skill struct {
	// Instructions join the system prompt.
	Instructions string
	// Strict says that the bundle has a valid frontmatter; only then are its tools offered to the model.
	Strict bool
	Tools  []plan.SkillTool
	// Defaults are max_iterations, temperature and raise_on_max_iterations, as far as the skill sets them.
	Defaults *spec.Node
}

// Options are what a compilation takes besides the document.
type Options struct {
	// Handlers checks implementation names; nil leaves them unchecked.
	Handlers handler.Catalog
	// Skills are the loaded skills by declared name.
	Skills map[string]Skill
	// ForceDummy binds every agent to the dummy provider.
	ForceDummy bool
	// DefaultProvider serves models that name no provider; empty means dummy.
	DefaultProvider string
}

// Compile builds the plan of a document. The plan is nil when a diagnostic is an error. The document may be semantically invalid: what
// cannot be built is reported.
func Compile(doc *spec.Document, opts Options) (*plan.Plan, spec.Diagnostics) {
	b := &builder{doc: doc, opts: opts, uses: map[string][]handler.Kind{}}
	p := b.build()
	if b.found.HasErrors() {
		return nil, b.found
	}
	return p, b.found
}

type builder struct {
	doc   *spec.Document
	opts  Options
	found spec.Diagnostics
	// uses are the roles in which component functions are called.
	uses map[string][]handler.Kind
}

func (b *builder) build() *plan.Plan {
	p := &plan.Plan{
		FormatVersion: plan.Version,
		SpecVersion:   b.doc.Version,
		Tools:         b.tools(),
		Servers:       b.servers(),
		Humans:        b.humans(),
		Agents:        map[string]*plan.Agent{},
		Workflows:     map[string]*plan.Workflow{},
	}
	b.skills()

	p.AgentOrder = agentOrder(b.doc)
	for name, a := range b.doc.Components.Agents.All() {
		p.Agents[name] = b.agent(a, name, "components.agents."+name)
	}
	for name, w := range b.doc.Components.Workflows.All() {
		p.Workflows[name] = b.workflow(w, "components.workflows."+name)
	}
	p.Root = b.agent(b.doc.Agent, "", "agent")
	p.StepGuardrails = b.guardrails(b.doc.Agent, "agent", "workflow")
	if b.doc.Workflow != nil {
		p.Workflow = b.workflow(b.doc.Workflow, "workflow")
	}
	p.Functions = b.functions()
	b.cycles(p)
	return p
}

// report adds an error at the place of a node.
func (b *builder) report(code string, at *spec.Node, path, suggestion, format string, args ...any) {
	d := spec.Diagnostic{
		Code: code, Severity: spec.SeverityError, Path: path, Suggestion: suggestion, Message: fmt.Sprintf(format, args...),
	}
	if at != nil {
		d.File, d.Line, d.Column = at.File, at.Line, at.Column
	}
	b.found = append(b.found, d)
}

// firstOf returns the first node that is there, for positions.
func firstOf(nodes ...*spec.Node) *spec.Node {
	for _, n := range nodes {
		if n != nil {
			return n
		}
	}
	return nil
}

func wide(n *int) *int64 {
	if n == nil {
		return nil
	}
	v := int64(*n)
	return &v
}

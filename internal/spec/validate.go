package spec

// Handlers answers whether a code reference is registered and, when it is not,
// which registered names are close.
type Handlers func(name string) (known bool, nearest []string)

// ValidateOptions steer Validate.
type ValidateOptions struct {
	// Handlers checks code references; nil accepts every name.
	Handlers Handlers
}

// Validate runs the semantic checks in the language's fixed order: workflow
// references, tools, skills, runtime preferences, graphs, models, governance,
// humans, memory and guardrails, tool backings, workflow-backed agents, MCP,
// build order, and last the code references.
func Validate(d *Document, opts ValidateOptions) Diagnostics {
	v := validator{doc: d, humanInside: humanReaching(d)}
	v.eachWorkflow(v.workflowRefs)
	v.eachAgent(v.toolRefs)
	v.eachAgent(v.skillRefs)
	v.eachAgent(v.runtimePreferences)
	v.eachWorkflow(v.graphShape)
	v.eachAgent(v.modelStrategy)
	v.governance()
	v.humans()
	v.eachAgent(v.memoryAndGuardrails)
	v.toolBackings()
	v.eachAgent(v.asAgent)
	v.mcp()
	v.buildOrder()
	v.handlers(opts.Handlers)
	return v.found
}

// Check layers, decodes and validates in one go; the diagnostics begin with
// the warnings of reading. The document is nil when the schema does not hold.
func (in Inputs) Check(opts ValidateOptions) (*Document, Diagnostics, error) {
	doc, found, err := in.Document()
	if err != nil || doc == nil {
		return doc, found, err
	}
	return doc, append(found, Validate(doc, opts)...), nil
}

type validator struct {
	doc   *Document
	found Diagnostics
	// humanInside are the component workflows that reach an enabled human step.
	humanInside map[string]bool
	// privileged is set by the governance rows that ask for a human gate.
	privileged bool
}

// finding carries what add needs besides code and message: the path and the
// node and key that it talks about.
type finding struct {
	path       string
	suggestion string
	owner      *Node
	key        string
}

func (v *validator) fail(code, message string, f finding) { v.add(SeverityError, code, message, f) }
func (v *validator) warn(code, message string, f finding) { v.add(SeverityWarning, code, message, f) }

func (v *validator) add(severity Severity, code, message string, f finding) {
	pos := placeOf(f.owner, f.key)
	v.found = append(v.found, Diagnostic{
		Code: code, Severity: severity, Message: message, Path: f.path, Suggestion: f.suggestion,
		File: pos.File, Line: pos.Line, Column: pos.Column,
	})
}

// placeOf finds the nearest known position of a key: its value, the key itself,
// or the mapping that lacks it.
func placeOf(owner *Node, key string) Pos {
	if owner == nil {
		return Pos{}
	}
	if key == "" {
		return owner.Pos
	}
	if i := owner.index(key); i >= 0 {
		e := owner.Entries[i]
		if e.Value.Line > 0 {
			return e.Value.Pos
		}
		if e.KeyPos.Line > 0 {
			return e.KeyPos
		}
	}
	return owner.Pos
}

func (v *validator) eachWorkflow(check func(w *Workflow, path, name string)) {
	if v.doc.Workflow != nil {
		check(v.doc.Workflow, "workflow", "")
	}
	for i := range v.doc.Components.Workflows.Len() {
		name, w := v.doc.Components.Workflows.At(i)
		check(w, "components.workflows."+name, name)
	}
}

func (v *validator) eachAgent(check func(a *Agent, path string)) {
	check(v.doc.Agent, "agent")
	for i := range v.doc.Components.Agents.Len() {
		name, a := v.doc.Components.Agents.At(i)
		check(a, "components.agents."+name)
	}
}

// humanReaching finds the component workflows from which an enabled human step
// is reached through enabled workflow steps.
func humanReaching(d *Document) map[string]bool {
	var queue []string
	users := map[string][]string{}
	reached := map[string]bool{}
	for i := range d.Components.Workflows.Len() {
		name, w := d.Components.Workflows.At(i)
		for _, s := range w.AllSteps() {
			switch {
			case !s.Enabled:
			case s.Kind == StepHuman && !reached[name]:
				reached[name] = true
				queue = append(queue, name)
			case s.Kind == StepWorkflow:
				users[s.Ref] = append(users[s.Ref], name)
			}
		}
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, user := range users[name] {
			if !reached[user] {
				reached[user] = true
				queue = append(queue, user)
			}
		}
	}
	return reached
}

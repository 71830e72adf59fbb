package spec

import (
	"slices"
	"strings"
)

func (v *validator) toolRefs(a *Agent, path string) {
	if a.Tools == nil {
		return
	}
	where := finding{path: path + ".tools", owner: a.Node, key: "tools"}
	if len(a.Tools.Exclude) > 0 {
		excluded := make(map[string]bool, len(a.Tools.Exclude))
		for _, name := range a.Tools.Exclude {
			excluded[name] = true
		}
		for _, name := range a.Tools.Include {
			if excluded[name] {
				delete(excluded, name)
				v.fail("E_TOOL_CONFLICT", "Tool '"+name+"' appears in both include and exclude.", where)
			}
		}
	}
	include := a.Tools.Node.Get("include")
	for i, name := range a.Tools.Include {
		if !v.doc.Tools.Has(name) {
			v.fail("E_TOOL_REF", "Tool '"+name+"' is referenced but not defined.",
				finding{path: path + ".tools", owner: include.Items[i]})
		}
	}
}

func (v *validator) skillRefs(a *Agent, path string) {
	for i, name := range a.Skills {
		if !v.doc.Skills.Has(name) {
			v.fail("E_SKILL_REF", "Skill '"+name+"' is referenced but not defined.",
				finding{path: path + ".skills", owner: a.Node.Get("skills").Items[i]})
		}
	}
}

func (v *validator) runtimePreferences(a *Agent, path string) {
	r := a.RuntimePreferences
	if r == nil {
		return
	}
	where := func(key string) finding {
		return finding{path: path + ".runtime_preferences." + key, owner: r.Node, key: key}
	}
	if len(r.AllowedModes) > 0 {
		if r.PreferredMode != "" && !slices.Contains(r.AllowedModes, r.PreferredMode) {
			v.fail("E_RUNTIME_PREFERRED_NOT_ALLOWED", "preferred_mode '"+r.PreferredMode+"' is not in allowed_modes.", where("preferred_mode"))
		}
		if r.FallbackMode != "" && !slices.Contains(r.AllowedModes, r.FallbackMode) {
			v.fail("E_RUNTIME_FALLBACK_NOT_ALLOWED", "fallback_mode '"+r.FallbackMode+"' is not in allowed_modes.", where("fallback_mode"))
		}
	}
	if r.PreferredMode == ModeNative && r.NativeProvider == "" {
		v.warn("W_RUNTIME_NATIVE_PROVIDER", "native preferred_mode is set without native_provider.", where("native_provider"))
	}
	if r.PreferredMode == ModeAdapter && r.AdapterRef == "" {
		v.warn("W_RUNTIME_ADAPTER_REF", "adapter preferred_mode is set without adapter_ref.", where("adapter_ref"))
	}
}

func (v *validator) modelStrategy(a *Agent, path string) {
	if a.Model == nil && a.Strategy != nil && a.Strategy.Type != StrategySimple {
		v.warn("W_AGENT_MODEL", "Agent has a loop strategy but no explicit model.",
			finding{path: path + ".model", owner: a.Node, key: "strategy"})
	}
}

func (v *validator) humans() {
	for i := range v.doc.Components.Humans.Len() {
		name, h := v.doc.Components.Humans.At(i)
		where := func(key, suggestion string) finding {
			return finding{path: "components.humans." + name + "." + key, suggestion: suggestion, owner: h.Node, key: key}
		}
		if h.DefaultOption != nil && !slices.Contains(h.Options, *h.DefaultOption) {
			v.fail("E_HUMAN_DEFAULT_OPTION_NOT_IN_OPTIONS",
				"Human component '"+name+"' default_option '"+*h.DefaultOption+"' is not one of its options.",
				where("default_option", "Set default_option to one of the listed options, or remove it."))
		}
		if h.RequestType == RequestSelection && len(h.Options) == 0 {
			v.fail("E_HUMAN_SELECTION_REQUIRES_OPTIONS",
				"Human component '"+name+"' uses request_type 'selection' without any options to select from.",
				where("options", "Provide a non-empty options list for a selection request."))
		}
		if h.ResponseRole == "system" {
			v.warn("W_HUMAN_RESPONSE_ROLE_SYSTEM", "Human component '"+name+
				"' folds the reviewer's reply into the resumed thread as a 'system' message, so reviewer-supplied text becomes "+
				"a system-level instruction to downstream LLM steps — a prompt-injection surface if the reviewer is not fully trusted.",
				where("response_role", "Use response_role 'user' (or 'assistant') unless you intend reviewer input to act as a system directive."))
		}
	}
}

func (v *validator) memoryAndGuardrails(a *Agent, path string) {
	if a.Memory.Len() > 0 && !a.Memory.Get("policy").Truthy() {
		v.fail("E_MEMORY_POLICY_REQUIRED", "Agent '"+a.Name+"' declares memory without `policy`.", finding{
			path: path + ".memory.policy", owner: a.Memory, key: "policy",
			suggestion: "Set memory.policy (e.g. summary, retrieval).",
		})
	}
	for _, stage := range guardrailStages {
		items := a.Guardrails.Get(stage)
		if !items.Truthy() {
			continue
		}
		g := guardrailCheck{v: v, agent: a.Name, stage: stage, path: path + ".guardrails." + stage}
		switch items.Kind {
		case Sequence:
			for i, item := range items.Items {
				g.item(item, i)
			}
		case Mapping:
			for i := range items.Entries {
				g.notMapping(items, i)
			}
		default:
			g.notMapping(items, 0)
		}
	}
}

// guardrailStages in the order in which they are checked.
var guardrailStages = [...]string{"input", "output", "tool", "workflow"}

// GuardrailActions returns the actions that a stage honours, sorted, or nil
// for an unknown stage.
func GuardrailActions(stage string) []string {
	switch stage {
	case "input":
		return []string{"block", "escalate", "human_review", "retry", "warn"}
	case "output":
		return []string{"block", "escalate", "human_review", "retry", "revise", "warn"}
	case "tool", "workflow":
		return []string{"block", "escalate", "human_review", "redact", "retry", "revise", "warn"}
	default:
		return nil
	}
}

type guardrailCheck struct {
	v                  *validator
	agent, stage, path string
}

const guardrailNeeds = "Every guardrail item needs `id` and `type`."

func (g guardrailCheck) head(i int) string {
	return "Agent '" + g.agent + "' guardrail " + g.stage + "[" + itoa(i) + "] "
}

func (g guardrailCheck) notMapping(n *Node, i int) {
	g.v.fail("E_GUARDRAIL_FIELDS", g.head(i)+"must be a mapping with `id` and `type`.",
		finding{path: g.path + "[" + itoa(i) + "]", suggestion: guardrailNeeds, owner: n})
}

func (g guardrailCheck) item(n *Node, i int) {
	if n.Kind != Mapping {
		g.notMapping(n, i)
		return
	}
	path := func(key string) string { return g.path + "[" + itoa(i) + "]." + key }
	for _, key := range [...]string{"id", "type"} {
		if !n.Get(key).Truthy() {
			g.v.fail("E_GUARDRAIL_FIELDS", g.head(i)+"is missing `"+key+"`.",
				finding{path: path(key), suggestion: guardrailNeeds, owner: n, key: key})
		}
	}
	if mode := n.Get("mode"); mode != nil && mode.Text() != "middleware" {
		g.v.fail("E_GUARDRAIL_MODE_UNSUPPORTED", g.head(i)+"declares mode '"+shown(mode)+
			"', which the runtime does not attach (only `middleware` is wired).", finding{
			path: path("mode"), owner: n, key: "mode",
			suggestion: "Remove `mode` (defaults to `middleware`) or set it to `middleware`.",
		})
	}
	actions := GuardrailActions(g.stage)
	if action := n.Get("action"); action != nil && (action.Kind != String || !slices.Contains(actions, action.Value)) {
		g.v.fail("E_GUARDRAIL_ACTION_UNSUPPORTED", g.head(i)+"declares action '"+shown(action)+"', which the '"+g.stage+
			"' stage does not honor (it would crash or silently degrade at runtime).", finding{
			path: path("action"), owner: n, key: "action",
			suggestion: "Use one of ['" + strings.Join(actions, "', '") + "'] on the '" + g.stage + "' stage.",
		})
	}
}

// shown renders a scalar of a free block the way the language's clients know it.
func shown(n *Node) string {
	switch n.Kind {
	case Null:
		return "None"
	case Bool:
		if n.Value == "true" {
			return "True"
		}
		return "False"
	case Sequence, Mapping:
		return string(n.JSON())
	default:
		return n.Value
	}
}

func (v *validator) asAgent(a *Agent, path string) {
	if a.AsAgent == "" {
		return
	}
	head := "Agent '" + a.Name + "' "
	var fields []string
	for _, f := range [...]struct {
		name string
		set  bool
	}{
		{"model", a.Model != nil},
		{"strategy", a.Strategy != nil},
		{"runtime_preferences", a.RuntimePreferences != nil},
		{"tools", a.Tools != nil},
		{"skills", len(a.Skills) > 0},
		{"memory", a.Memory.Len() > 0},
		{"guardrails", a.Guardrails.Len() > 0},
		{"history", a.History.Len() > 0},
		{"middleware", len(a.Middleware) > 0},
		{"defaults", a.Defaults.Len() > 0},
	} {
		if f.set {
			fields = append(fields, f.name)
		}
	}
	if len(fields) > 0 {
		v.fail("E_AS_AGENT_FIELDS", head+"is backed by workflow '"+a.AsAgent+"' (as_agent); "+strings.Join(fields, ", ")+
			" are defined by the workflow and not allowed on the agent.", finding{
			path: path, owner: a.Node, key: fields[0],
			suggestion: "Remove these fields, or drop as_agent and define the agent directly.",
		})
	}
	if !v.doc.Components.Workflows.Has(a.AsAgent) {
		v.fail("E_AS_AGENT_UNKNOWN_WORKFLOW", head+"references workflow '"+a.AsAgent+
			"', which is not defined under components.workflows.", finding{
			path: path + ".as_agent", owner: a.Node, key: "as_agent",
			suggestion: "Define the workflow under components.workflows, or fix the reference.",
		})
	}
}

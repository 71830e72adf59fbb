package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/spec"
)

// Effective is a spec with the layers and defaults of its project.
type Effective struct {
	// Tree is the spec; its values keep the places in the files they came from.
	Tree        *spec.Node
	Path        string
	Environment string
	// Warnings are for the person who called: layers that were not found.
	Warnings []string
	// Found are the warnings of reading the files.
	Found spec.Diagnostics
	// Invalid says why the rules of the environment could not be applied: the spec has not the form of one.
	Invalid spec.Diagnostics
	// Sources are the texts that were read, by file name.
	Sources map[string][]byte
}

// MissingError names a spec file that does not exist.
type MissingError struct{ Path string }

// Error is the path, as scripts know it, with what is wrong.
func (e *MissingError) Error() string { return "No such spec file: " + e.Path }

// Unwrap makes it a fs.ErrNotExist.
func (e *MissingError) Unwrap() error { return fs.ErrNotExist }

// PolicyError says that the rules of the environment refuse the spec.
type PolicyError struct{ Found spec.Diagnostics }

// Error returns one line per violation.
func (e *PolicyError) Error() string { return e.Found.Text() }

// Enforced fails where the rules of the environment should have been applied and could not be. Commands that check the spec themselves say more
// and need not ask.
func (e *Effective) Enforced() error {
	if len(e.Invalid) > 0 {
		return &PolicyError{Found: e.Invalid}
	}
	return nil
}

// Source is where a spec comes from: a path, or text that is already there under a name for messages.
type Source struct {
	Path string
	Name string
	Text []byte
}

// Resolve reads a spec and gives it what the project says: overlays, defaults, and the rules of the environment.
func (p *Project) Resolve(src Source, environment string) (*Effective, error) {
	e := &Effective{Environment: p.Environment(environment), Sources: map[string][]byte{}}
	if err := p.base(e, src); err != nil {
		return nil, err
	}
	if err := p.overlay(e); err != nil {
		return nil, err
	}
	if !p.Has() {
		return e, nil
	}
	if err := p.fill(e); err != nil {
		return nil, err
	}
	return e, p.enforce(e)
}

func (p *Project) base(e *Effective, src Source) error {
	text, name := src.Text, src.Name
	if text == nil {
		path, err := p.SpecPath(src.Path)
		if err != nil {
			return err
		}
		if text, err = os.ReadFile(path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return &MissingError{Path: path}
			}
			return err
		}
		e.Path, name = path, p.shown(path)
	}
	var err error
	e.Tree, err = p.parse(e, name, text)
	return err
}

// shown is a path as messages show it: short when it is below the working folder.
func (p *Project) shown(path string) string {
	if rel, err := filepath.Rel(p.Dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func (p *Project) parse(e *Effective, name string, text []byte) (*spec.Node, error) {
	e.Sources[name] = text
	tree, found, err := spec.ParseFile(name, text, spec.Limits{})
	if err != nil {
		return nil, err
	}
	e.Found = append(e.Found, found...)
	if !tree.IsMapping() {
		return nil, fmt.Errorf("YAML root must be an object: %s", name) //nolint:revive,staticcheck // the documented text
	}
	return tree, nil
}

func (p *Project) overlay(e *Effective) error {
	for _, path := range p.Overlays(e.Environment) {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			e.Warnings = append(e.Warnings, fmt.Sprintf("Configured overlay path '%s' does not exist; skipping it. The overlay's settings are NOT applied.", path))
			continue
		}
		if err != nil {
			return err
		}
		layer, err := p.parse(e, p.shown(path), text)
		if err != nil {
			return err
		}
		e.Tree = spec.Merge(e.Tree, layer)
	}
	return nil
}

// fill adds the defaults of the project where the spec says nothing.
func (p *Project) fill(e *Effective) error {
	tree := e.Tree
	meta := under(tree.Get("metadata"), spec.NewMapping().
		With("project", spec.NewString(p.Config.Project.Name)).With("environment", spec.NewString(e.Environment)))
	tree = tree.With("metadata", meta)
	if agent := tree.Get("agent"); agent.IsNull() || agent.IsMapping() {
		tree = tree.With("agent", p.fillAgent(tree, e.Environment))
	}
	if env, ok := p.Config.Environments.Get(e.Environment); ok && !env.Defaults.IsNull() {
		tree = spec.Merge(env.Defaults.Node, tree)
	}
	notes, err := json.Marshal(p.Config.PolicyDefaults)
	if err != nil {
		return err
	}
	node, err := spec.FromJSON(notes, spec.Limits{})
	if err != nil {
		return err
	}
	if policies := tree.Get("policies"); policies.IsNull() || policies.IsMapping() {
		tree = tree.With("policies", under(policies, spec.NewMapping().With("project_defaults", node)))
	}
	e.Tree = tree
	return nil
}

// under returns a mapping with the keys of defaults that it lacks, in front of none of its own.
func under(own, defaults *spec.Node) *spec.Node {
	if own.IsNull() {
		return defaults
	}
	if !own.IsMapping() {
		return own
	}
	for _, e := range defaults.Entries {
		if !own.Has(e.Key) {
			own = own.With(e.Key, e.Value)
		}
	}
	return own
}

func (p *Project) fillAgent(tree *spec.Node, environment string) *spec.Node {
	agent := tree.Get("agent")
	if agent.IsNull() {
		agent = spec.NewMapping()
	}
	if runtime := p.runtimeDefaults(); runtime.Len() > 0 {
		agent = agent.With("runtime_preferences", under(agent.Get("runtime_preferences"), runtime))
	}
	defaults, ok := p.Config.ModelDefaults.Get(environment)
	if !ok {
		return agent
	}
	model := agent.Get("model")
	if !model.IsNull() && !model.IsMapping() {
		// The short form of a model names the model only.
		model = spec.Normalise(spec.NewMapping().With("agent", agent)).At("agent", "model")
	}
	extra := model.Get("extra")
	model = under(model, modelDefaults(defaults))
	model = model.With("extra", spec.Merge(orEmpty(defaults.Extra.Node), orEmpty(extra)))
	return agent.With("model", model)
}

func orEmpty(n *spec.Node) *spec.Node {
	if n.IsNull() {
		return spec.NewMapping()
	}
	return n
}

func (p *Project) runtimeDefaults() *spec.Node {
	r, out := p.Config.RuntimeDefaults, spec.NewMapping()
	add := func(key string, value *string) {
		if value != nil {
			out = out.With(key, spec.NewString(*value))
		}
	}
	add("preferred_mode", r.PreferredMode)
	add("fallback_mode", r.FallbackMode)
	if r.AllowedModes != nil {
		items := make([]*spec.Node, 0, len(*r.AllowedModes))
		for _, m := range *r.AllowedModes {
			items = append(items, spec.NewString(m))
		}
		out = out.With("allowed_modes", spec.NewSequence(items...))
	}
	add("native_provider", r.NativeProvider)
	add("adapter_ref", r.AdapterRef)
	add("bridge_provider", r.BridgeProvider)
	return out
}

func modelDefaults(m Model) *spec.Node {
	out := spec.NewMapping()
	if m.Provider != nil {
		out = out.With("provider", spec.NewString(*m.Provider))
	}
	if m.Name != nil {
		out = out.With("name", spec.NewString(*m.Name))
	}
	if m.Temperature != nil {
		out = out.With("temperature", float(*m.Temperature))
	}
	if m.MaxTokens != nil {
		out = out.With("max_tokens", spec.NewInt(int64(*m.MaxTokens)))
	}
	if m.TimeoutSeconds != nil {
		out = out.With("timeout_seconds", spec.NewInt(int64(*m.TimeoutSeconds)))
	}
	return out
}

// float writes a number so that it stays one with a fraction.
func float(f float64) *spec.Node {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return &spec.Node{Kind: spec.Float, Value: text}
}

// enforce applies the rules that the config states for the environment.
func (p *Project) enforce(e *Effective) error {
	env, ok := p.Config.Environments.Get(e.Environment)
	if !ok || env.PolicyEnforcement.IsNull() {
		return nil
	}
	rules, err := policy.Parse(env.PolicyEnforcement.JSON())
	if err != nil {
		return fmt.Errorf("Invalid project config %s: environments.%s.policy_enforcement: %w", p.ConfigPath, e.Environment, err) //nolint:revive,staticcheck // the documented text
	}
	doc, found, err := spec.Inputs{Base: e.Tree}.Check(spec.ValidateOptions{})
	if err != nil {
		// The command that follows tells what is wrong with the spec itself.
		return nil //nolint:nilerr // reported by the check of the command
	}
	if doc == nil {
		if rules.Enabled {
			e.Invalid = found
		}
		return nil
	}
	report := policy.NewReport(doc, found)
	if blocked := policy.Evaluate(rules, e.Environment, report); policy.Blocks(blocked) {
		return &PolicyError{Found: blocked}
	}
	return nil
}

package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/spec"
)

// reader reads typed values out of a config and collects what does not fit.
type reader struct{ problems []string }

func (r *reader) bad(path string, n *spec.Node, want string) {
	place := ""
	if n != nil && n.Line > 0 {
		place = fmt.Sprintf(" (line %d, column %d)", n.Line, n.Column)
	}
	r.problems = append(r.problems, fmt.Sprintf("%s must be %s%s", path, want, place))
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// block returns a mapping or nil; anything but a mapping or null is a problem.
func (r *reader) block(parent *spec.Node, path, key string) (*spec.Node, string) {
	n, at := parent.Get(key), join(path, key)
	if n.IsNull() {
		return nil, at
	}
	if !n.IsMapping() {
		r.bad(at, n, "a mapping")
		return nil, at
	}
	return n, at
}

func (r *reader) text(into *string, parent *spec.Node, path, key string, oneOf ...string) {
	n := parent.Get(key)
	switch {
	case n == nil:
	case n.Kind != spec.String:
		r.bad(join(path, key), n, "a text")
	case len(oneOf) > 0 && !slices.Contains(oneOf, n.Value):
		r.bad(join(path, key), n, "one of "+strings.Join(oneOf, ", "))
	default:
		*into = n.Value
	}
}

// optional reads a text that may be null.
func (r *reader) optional(into **string, parent *spec.Node, path, key string, oneOf ...string) {
	n := parent.Get(key)
	if n == nil {
		return
	}
	*into = nil
	if n.Kind != spec.Null {
		var s string
		r.text(&s, parent, path, key, oneOf...)
		*into = &s
	}
}

func (r *reader) flag(into *bool, parent *spec.Node, path, key string) {
	n := parent.Get(key)
	if n == nil {
		return
	}
	b, ok := n.AsBool()
	if !ok {
		r.bad(join(path, key), n, "true or false")
		return
	}
	*into = b
}

func (r *reader) integer(into *int, parent *spec.Node, path, key string) {
	n := parent.Get(key)
	if n == nil {
		return
	}
	i, ok := n.AsInt()
	if !ok {
		r.bad(join(path, key), n, "a whole number")
		return
	}
	*into = i
}

// count reads a whole number that may be null, and not below low.
func (r *reader) count(into **int, parent *spec.Node, path, key string, low int) {
	n := parent.Get(key)
	if n.IsNull() {
		return
	}
	var i int
	before := len(r.problems)
	r.integer(&i, parent, path, key)
	if len(r.problems) == before && i < low {
		r.bad(join(path, key), n, fmt.Sprintf("at least %d", low))
	}
	*into = &i
}

func (r *reader) number(into **float64, parent *spec.Node, path, key string) {
	n := parent.Get(key)
	if n.IsNull() {
		return
	}
	f, ok := n.AsFloat()
	if !ok {
		r.bad(join(path, key), n, "a number")
		return
	}
	*into = &f
}

func (r *reader) texts(into *[]string, parent *spec.Node, path, key string, oneOf ...string) {
	n := parent.Get(key)
	if n == nil {
		return
	}
	if n.Kind != spec.Sequence {
		r.bad(join(path, key), n, "a list of texts")
		return
	}
	out := make([]string, 0, len(n.Items))
	for i, item := range n.Items {
		at := fmt.Sprintf("%s.%d", join(path, key), i)
		switch {
		case item.Kind != spec.String:
			r.bad(at, item, "a text")
		case len(oneOf) > 0 && !slices.Contains(oneOf, item.Value):
			r.bad(at, item, "one of "+strings.Join(oneOf, ", "))
		default:
			out = append(out, item.Value)
		}
	}
	*into = out
}

func (r *reader) textMap(into *Map[string], parent *spec.Node, path, key string) {
	n, at := r.block(parent, path, key)
	if n == nil {
		return
	}
	for _, e := range n.Entries {
		var s string
		r.text(&s, n, at, e.Key)
		into.Set(e.Key, s)
	}
}

func (r *reader) free(into *Free, parent *spec.Node, path, key string) {
	n, _ := r.block(parent, path, key)
	into.Node = n
}

// decode reads the whole config; unknown keys are ignored.
func decode(root *spec.Node) (Config, []string) {
	c, r := defaults(), &reader{}
	r.identity(&c.Project, root)
	r.service(&c.Service, root)
	r.local(&c.Local, root)
	r.specs(&c.Specs, root)
	r.runtime(&c.RuntimeDefaults, root)
	r.models(&c.ModelDefaults, root)
	r.policies(&c.PolicyDefaults, root)
	if n, at := r.block(root, "", "secrets"); n != nil {
		r.textMap(&c.Secrets.ProviderEnv, n, at, "provider_env")
		r.textMap(&c.Secrets.ExtraEnv, n, at, "extra_env")
	}
	r.retention(&c.Retention, root)
	r.environments(&c.Environments, root)
	return c, r.problems
}

func (r *reader) identity(into *Identity, root *spec.Node) {
	n, at := r.block(root, "", "project")
	if n.Get("name") == nil {
		r.bad("project.name", n, "set")
		return
	}
	r.text(&into.Name, n, at, "name")
	r.optional(&into.Owner, n, at, "owner")
	r.optional(&into.Description, n, at, "description")
	r.text(&into.DefaultEnvironment, n, at, "default_environment")
	r.texts(&into.Tags, n, at, "tags")
}

func (r *reader) service(into *Service, root *spec.Node) {
	n, at := r.block(root, "", "service")
	r.optional(&into.DefaultURL, n, at, "default_url")
	r.integer(&into.Timeout, n, at, "timeout_seconds")
	r.textMap(&into.Headers, n, at, "headers")
}

func (r *reader) local(into *Local, root *spec.Node) {
	n, at := r.block(root, "", "local")
	r.text(&into.StatePath, n, at, "state_path")
	r.text(&into.ArtifactPath, n, at, "artifact_path")
	r.text(&into.LogPath, n, at, "log_path")
	r.text(&into.CachePath, n, at, "cache_path")
	r.flag(&into.CreateMissingDirs, n, at, "create_missing_dirs")
}

func (r *reader) specs(into *Specs, root *spec.Node) {
	n, at := r.block(root, "", "specs")
	r.optional(&into.DefaultSpec, n, at, "default_spec")
	r.texts(&into.IncludePaths, n, at, "include_paths")
	r.flag(&into.ValidateOnRun, n, at, "validate_on_run")
	overlays, at := r.block(n, at, "overlays")
	if overlays == nil {
		return
	}
	for _, e := range overlays.Entries {
		var paths []string
		r.texts(&paths, overlays, at, e.Key)
		into.Overlays.Set(e.Key, paths)
	}
}

func (r *reader) runtime(into *Runtime, root *spec.Node) {
	modes := []string{spec.ModeBridge, spec.ModeNative, spec.ModeAdapter}
	n, at := r.block(root, "", "runtime_defaults")
	r.optional(&into.PreferredMode, n, at, "preferred_mode", modes...)
	r.optional(&into.FallbackMode, n, at, "fallback_mode")
	r.optional(&into.NativeProvider, n, at, "native_provider")
	r.optional(&into.AdapterRef, n, at, "adapter_ref")
	r.optional(&into.BridgeProvider, n, at, "bridge_provider")
	if allowed := n.Get("allowed_modes"); allowed != nil && allowed.Kind == spec.Null {
		into.AllowedModes = nil
	} else if allowed != nil {
		r.texts(into.AllowedModes, n, at, "allowed_modes", modes...)
	}
}

func (r *reader) models(into *Map[Model], root *spec.Node) {
	n, at := r.block(root, "", "model_defaults")
	if n == nil {
		return
	}
	for _, e := range n.Entries {
		b, path := r.block(n, at, e.Key)
		var m Model
		r.optional(&m.Provider, b, path, "provider")
		r.optional(&m.Name, b, path, "name")
		r.number(&m.Temperature, b, path, "temperature")
		r.count(&m.MaxTokens, b, path, "max_tokens", 1)
		r.count(&m.TimeoutSeconds, b, path, "timeout_seconds", 1)
		r.free(&m.Extra, b, path, "extra")
		into.Set(e.Key, m)
	}
}

func (r *reader) policies(into *PolicyDefaults, root *spec.Node) {
	n, at := r.block(root, "", "policy_defaults")
	c, path := r.block(n, at, "checkpointing")
	r.flag(&into.Checkpointing.Enabled, c, path, "enabled")
	r.text(&into.Checkpointing.Mode, c, path, "mode", "none", "run", "step", "node")
	l, path := r.block(n, at, "logging")
	r.text(&into.Logging.Level, l, path, "level", "debug", "info", "warning", "error")
	t, path := r.block(n, at, "tracing")
	r.flag(&into.Tracing.Enabled, t, path, "enabled")
	r.flag(&into.Tracing.IncludeMessages, t, path, "include_messages")
	r.flag(&into.Tracing.IncludeToolResults, t, path, "include_tool_results")
	g, path := r.block(n, at, "guardrails")
	r.flag(&into.Guardrails.EnableDefaultInputFilter, g, path, "enable_default_input_filter")
	r.flag(&into.Guardrails.EnableDefaultOutputReview, g, path, "enable_default_output_review")
}

func (r *reader) retention(into *Retention, root *spec.Node) {
	n, at := r.block(root, "", "retention")
	for key, field := range map[string]**int{
		"runs_days": &into.Runs, "checkpoints_days": &into.Checkpoints, "queue_days": &into.Queue, "continuations_days": &into.Continuations,
		"audit_days": &into.Audit, "idempotency_days": &into.Idempotency, "artifacts_days": &into.Artifacts, "logs_days": &into.Logs,
	} {
		r.count(field, n, at, key, 0)
	}
}

func (r *reader) environments(into *Map[EnvironmentSettings], root *spec.Node) {
	n, at := r.block(root, "", "environments")
	if n == nil {
		return
	}
	for _, e := range n.Entries {
		b, path := r.block(n, at, e.Key)
		var s EnvironmentSettings
		r.free(&s.PolicyEnforcement, b, path, "policy_enforcement")
		r.free(&s.Defaults, b, path, "defaults")
		into.Set(e.Key, s)
	}
}

package compile

import (
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

const (
	providerDummy  = "dummy"
	providerOpenAI = "openai"
	// providerDefault is what normalising writes for a model given by name only.
	providerDefault = "default"
)

// providers maps the accepted names of providers to the ones that plans use.
var providers = map[string]string{
	"dummy": providerDummy, "openai": providerOpenAI, "openai-agents": providerOpenAI, "anthropic": "anthropic",
	"google": "google", "google-adk": "google", "gemini": "google", "ollama": "ollama",
}

// runtime chooses how an agent reaches its model (decision X4): the preferred mode, else the fallback mode. Bridge and native differ in
// where the provider's name comes from; both run our own loop.
func (b *builder) runtime(a *spec.Agent, path string) plan.Runtime {
	if b.opts.ForceDummy {
		return plan.Runtime{Mode: spec.ModeBridge, Provider: providerDummy}
	}
	mode := spec.ModeBridge
	prefs := a.RuntimePreferences
	if prefs != nil && prefs.PreferredMode != "" {
		mode = prefs.PreferredMode
	}
	if mode == spec.ModeAdapter {
		if prefs.FallbackMode == "" || prefs.FallbackMode == spec.ModeAdapter {
			b.report(CodeRuntime, firstOf(a.Node.At("runtime_preferences", "preferred_mode"), a.Node), path+".runtime_preferences.preferred_mode",
				"Use preferred_mode bridge or native, or set fallback_mode.",
				"Unable to bind runtime for agent %s: preferred_mode=adapter, and no adapter is available.", a.Name)
			return plan.Runtime{Mode: spec.ModeBridge, Provider: providerDummy}
		}
		mode = prefs.FallbackMode
	}
	rt := plan.Runtime{Mode: mode}
	b.connection(&rt, a, path)
	b.provider(&rt, a, path)
	return rt
}

func (b *builder) provider(rt *plan.Runtime, a *spec.Agent, path string) {
	name, at, where := b.providerName(rt.Mode, a)
	known, ok := providers[strings.ToLower(name)]
	switch {
	case ok:
		rt.Provider = known
	case rt.BaseURL != "":
		rt.Provider = name
	default:
		b.report(CodeRuntime, at, path+where,
			"Use dummy, openai, anthropic, google or ollama, or set model.extra.base_url to an OpenAI-compatible endpoint.",
			"Unable to bind runtime for agent %s: unknown provider '%s'.", a.Name, name)
	}
}

// providerName returns the name with the place it came from.
func (b *builder) providerName(mode string, a *spec.Agent) (name string, at *spec.Node, where string) {
	if mode == spec.ModeNative && a.RuntimePreferences != nil && a.RuntimePreferences.NativeProvider != "" {
		return a.RuntimePreferences.NativeProvider, firstOf(a.Node.At("runtime_preferences", "native_provider"), a.Node), ".runtime_preferences.native_provider"
	}
	fallback := b.opts.DefaultProvider
	if fallback == "" {
		fallback = providerDummy
	}
	if mode == spec.ModeNative {
		fallback = providerOpenAI
	}
	switch {
	case a.Model == nil:
		if mode == spec.ModeBridge {
			fallback = providerDummy
		}
		return fallback, a.Node, ".model"
	case a.Model.Provider == "" || a.Model.Provider == providerDefault:
		return fallback, firstOf(a.Model.Node, a.Node), ".model.provider"
	default:
		return a.Model.Provider, firstOf(a.Node.At("model", "provider"), a.Node), ".model.provider"
	}
}

func (b *builder) connection(rt *plan.Runtime, a *spec.Agent, path string) {
	if a.Model == nil {
		return
	}
	extra := a.Model.Extra
	text := func(key string) string {
		n := extra.Get(key)
		if !n.IsNull() && n.Kind != spec.String {
			b.report(CodeRuntime, n, path+".model.extra."+key, "", "model.extra.%s must be a string.", key)
		}
		return n.Text()
	}
	rt.BaseURL, rt.APIKeyRef = text("base_url"), text("api_key_ref")
	rt.HasInlineKey = extra.Get("api_key").Truthy()
}

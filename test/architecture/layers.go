// Package architecture states which package of the platform may import which, and its tests hold the code and the linter
// to that statement. It imports only the standard library.
package architecture

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the import path of the module.
const Module = "github.com/kneo-go/kneo"

// Layer is a group of packages that may import the packages of all layers before it, and none of its own.
type Layer struct {
	// Name is the name of the linter rule.
	Name string
	// Packages are paths below the module. A path that ends in "/..." stands for the whole tree.
	Packages []string
	// Allows are further packages that this layer may import, against the order of the layers.
	Allows []string
	// Only, when not empty, replaces "all layers before" by these packages.
	Only []string
}

// Layers lists the layers from the lowest to the highest. Generated code lies below all of them.
var Layers = []Layer{
	{Name: "base", Packages: []string{
		"internal/clock", "internal/contract", "internal/handler", "internal/id", "internal/cli/term", "internal/outbound", "internal/problem",
		"internal/pytext", "internal/redact", "internal/requestid", "internal/store/dbtype", "internal/testkit/certs", "internal/testkit/pgtest", "internal/version", "sql", "workers/python",
	}},
	{Name: "foundation", Packages: []string{
		"client", "internal/accesslog", "internal/auth", "internal/config", "internal/dispatch", "internal/errmap", "internal/inproc",
		"internal/profile", "internal/run", "internal/secret",
		"internal/telemetry", "internal/transport/openapi", "internal/wirejson", "worker",
	}},
	{Name: "language", Packages: []string{"internal/childworker", "internal/plan", "internal/record", "internal/spec", "internal/validate"}},
	{Name: "ports", Packages: []string{
		"internal/event", "internal/guardrail", "internal/llm", "internal/policy", "internal/store", "internal/tool",
	}},
	{Name: "adapter-parts", Packages: []string{
		"internal/llm/exchange", "internal/store/codec", "internal/store/fanout", "internal/store/rows",
	}},
	{Name: "adapters", Packages: []string{
		"internal/event/pglisten", "internal/llm/anthropic", "internal/llm/dummy", "internal/llm/google", "internal/llm/llmtest",
		"internal/llm/openai", "internal/store/postgres", "internal/store/sqlite", "internal/store/storetest",
		"internal/tool/builtin", "internal/tool/mcp", "internal/tool/remote", "internal/tool/tooltest",
	}},
	{Name: "logic", Packages: []string{
		"internal/agent", "internal/compile", "internal/draw", "internal/engine", "internal/idempotency", "internal/spec/schemagen",
		"internal/cli/restconn", "internal/project", "internal/specview",
	}},
	{Name: "execution", Packages: []string{"internal/runner"}},
	{Name: "use-cases", Packages: []string{"internal/maintenance", "internal/service", "internal/worker"}},
	{Name: "transport", Packages: []string{
		"internal/transport/gateway", "internal/transport/interceptor", "internal/transport/rpc", "internal/transport/server",
	}},
	{Name: "catalogs", Packages: []string{"internal/llm/catalog"}},
	{Name: "operations", Packages: []string{"internal/backup", "internal/doctor"}},
	{Name: "assembly", Packages: []string{"internal/app"}},
	{Name: "command", Packages: []string{"internal/cli", "internal/testkit", "embed"}},
	{Name: "binary", Packages: []string{"cmd/...", "internal/docgen"}},
}

// adapterLayer is the layer that only assemblies and tests may import.
const adapterLayer = "adapters"

// assemblies are the layers that may import adapters.
var assemblies = []string{"catalogs", "operations", "assembly", "command", "binary"}

// LayerOf returns the layer of a package path below the module.
func LayerOf(path string) (*Layer, bool) {
	for i := range Layers {
		for _, p := range Layers[i].Packages {
			if p == path || strings.HasSuffix(p, "/...") && strings.HasPrefix(path, strings.TrimSuffix(p, "...")) {
				return &Layers[i], true
			}
		}
	}
	return nil, false
}

// Allowed returns the packages below the module that a layer may import, sorted.
func (l *Layer) Allowed() []string {
	allowed := slices.Clone(l.Allows)
	if len(l.Only) > 0 {
		allowed = append(allowed, l.Only...)
	} else {
		for i := range Layers {
			lower := &Layers[i]
			if lower.Name == l.Name {
				break
			}
			if lower.Name == adapterLayer && !slices.Contains(assemblies, l.Name) {
				continue
			}
			allowed = append(allowed, lower.Packages...)
		}
	}
	slices.Sort(allowed)
	return slices.Compact(allowed)
}

// MayImport tells whether a layer may import a package path below the module.
func (l *Layer) MayImport(path string) bool {
	return strings.HasPrefix(path, "gen/") || slices.Contains(l.Allowed(), path)
}

// LinterRules writes the layers as rules of the depguard linter, indented for .golangci.yaml.
func LinterRules() string {
	var b strings.Builder
	line := func(depth int, format string, args ...any) {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", depth), fmt.Sprintf(format, args...))
	}
	for i := range Layers {
		l := &Layers[i]
		line(4, "%s:", l.Name)
		line(5, "list-mode: lax")
		line(5, "files:")
		line(6, `- "!$test"`)
		for _, p := range l.Packages {
			if tree, whole := strings.CutSuffix(p, "/..."); whole {
				line(6, `- "${config-path}/%s/**/*.go"`, tree)
				continue
			}
			line(6, `- "${config-path}/%s/*.go"`, p)
		}
		line(5, "deny:")
		line(6, `- pkg: "%s/"`, Module)
		line(7, `desc: "the layer %s may not import this; see test/architecture"`, l.Name)
		line(5, "allow:")
		line(6, `- "%s/gen/"`, Module)
		for _, p := range l.Allowed() {
			line(6, `- "%s/%s$"`, Module, p)
		}
	}
	return b.String()
}

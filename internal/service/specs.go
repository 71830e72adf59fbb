package service

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kneo-go/kneo/internal/compile"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/specview"
	"github.com/kneo-go/kneo/internal/store"
)

// SpecSource names a spec and its layers, as a request does. Inline wins over Path.
type SpecSource struct {
	// Path is empty when absent.
	Path string
	// Inline is the JSON object of the spec, nil when absent.
	Inline      json.RawMessage
	Environment *string
	Overlays    []string
	// Overrides is a JSON object, nil when absent.
	Overrides json.RawMessage
	Skills    spec.SkillsOverlay
}

func (s *SpecSource) environment() string {
	if s.Environment == nil {
		return ""
	}
	return *s.Environment
}

// shownPath is the path as given, nil when absent.
func (s *SpecSource) shownPath() *string { return optional(s.Path) }

// Compiled is the result of a build.
type Compiled struct {
	// OK tells that there is no error among the diagnostics.
	OK          bool
	Diagnostics spec.Diagnostics
	specview.CompileSummary
}

// Specs checks, builds and explains specs.
type Specs struct {
	store    store.Store
	compiler *Compiler
	audit    auditor
}

// NewSpecs returns the use case.
func NewSpecs(s store.Store, c *Compiler, now func() time.Time, newID func() string) *Specs {
	return &Specs{store: s, compiler: c, audit: auditor{store: s, now: now, newID: newID}}
}

// Validate checks a spec and builds nothing. An invalid spec is no error.
func (s *Specs) Validate(ctx context.Context, src SpecSource) (bool, spec.Diagnostics, error) {
	b, err := s.open(src, noSpecShort)
	if err != nil {
		return false, nil, err
	}
	_, found, err := b.document()
	if err != nil {
		return false, nil, err
	}
	valid := !found.HasErrors()
	return valid, found, s.audit.append(ctx, s.audit.event(ctx, "spec.validated", "", "", src.auditLayers(&valid)))
}

// Compile builds a spec without running it. strict refuses semantic errors; otherwise they are returned as far as the spec can be built.
func (s *Specs) Compile(ctx context.Context, src SpecSource, strict bool) (Compiled, error) {
	b, err := s.gated(ctx, src)
	if err != nil {
		return Compiled{}, err
	}
	p, found, err := b.plan(ctx, strict)
	if err != nil {
		return Compiled{}, err
	}
	valid := true
	out := Compiled{OK: !found.HasErrors(), Diagnostics: found, CompileSummary: specview.Compiled(p)}
	return out, s.audit.append(ctx, s.audit.event(ctx, "spec.compiled", "", "", src.auditLayers(&valid)))
}

// Explain builds a spec and names its parts.
func (s *Specs) Explain(ctx context.Context, src SpecSource) (specview.ExplainSummary, error) {
	b, err := s.gated(ctx, src)
	if err != nil {
		return specview.ExplainSummary{}, err
	}
	p, _, err := b.plan(ctx, true)
	if err != nil {
		return specview.ExplainSummary{}, err
	}
	return specview.Explain(p), s.audit.append(ctx, s.audit.event(ctx, "spec.explained", "", "", src.auditSource().bytes()))
}

// Graph builds a spec and returns its workflow as a graph.
func (s *Specs) Graph(ctx context.Context, src SpecSource) (specview.Graph, error) {
	b, err := s.gated(ctx, src)
	if err != nil {
		return specview.Graph{}, err
	}
	p, _, err := b.plan(ctx, true)
	if err != nil {
		return specview.Graph{}, err
	}
	graph := specview.NewGraph(p)
	metadata := src.auditSource()
	metadata.optional("workflow_kind", graph.WorkflowKind)
	return graph, s.audit.append(ctx, s.audit.event(ctx, "spec.graph", "", "", metadata.bytes()))
}

// PolicyReport reports what a spec may do. The environment is not stamped into it.
func (s *Specs) PolicyReport(ctx context.Context, src SpecSource) (*policy.Report, error) {
	given := src
	src.Environment = nil
	b, err := s.open(src, noSpecShort)
	if err != nil {
		return nil, err
	}
	report, err := b.report()
	if err != nil {
		return nil, err
	}
	return report, s.audit.append(ctx, s.audit.event(ctx, "spec.policy_reported", "", "", given.auditLayers(&report.Valid)))
}

// Messages of a request without a spec.
const (
	noSpec      = "Either spec_path or spec must be provided."
	noSpecShort = "Either spec or spec_path is required."
)

// open reads the files of a source.
func (s *Specs) open(src SpecSource, missing string) (*build, error) {
	return s.compiler.open(src, missing)
}

// gated opens a source and asks for what its environment demands: a signature, and what the stored policy says.
func (s *Specs) gated(ctx context.Context, src SpecSource) (*build, error) {
	b, err := s.open(src, noSpec)
	if err != nil {
		return nil, err
	}
	if err := s.compiler.o.Signatures.demand(src.environment(), b.signed); err != nil {
		return nil, err
	}
	return b, s.gate(ctx, src.environment(), b)
}

// gate refuses a spec that the stored policy of the environment blocks. A spec that does not fit the schema is passed on to its own error.
func (s *Specs) gate(ctx context.Context, environment string, b *build) error {
	if environment == "" {
		return nil
	}
	p, err := storedPolicy(ctx, s.store, environment)
	if err != nil || p == nil || !p.Enabled {
		return err
	}
	report, err := b.report()
	if err != nil || !report.Valid {
		// The error of the spec itself follows from the build.
		return nil //nolint:nilerr // see above
	}
	found := policy.Evaluate(*p, environment, report)
	if !policy.Blocks(found) {
		return nil
	}
	return blocked(found)
}

// frozen opens the spec that a run was created with.
func (s *Specs) frozen(ctx context.Context, r *run.Run) (*build, error) {
	snapshot, err := s.store.Snapshot(ctx, r.SnapshotDigest)
	if err != nil {
		return nil, storeError(err)
	}
	return s.compiler.thaw(snapshot)
}

// frozenReport implements reporter.
func (s *Specs) frozenReport(ctx context.Context, r *run.Run) (*policy.Report, error) {
	b, err := s.frozen(ctx, r)
	if err != nil {
		return nil, err
	}
	report, err := b.report()
	if err != nil || !report.Valid {
		return nil, nil //nolint:nilerr // a spec that does not load any more is not counted
	}
	return report, nil
}

func (s *SpecSource) auditSource() *object {
	o := &object{}
	o.optional("spec_path", s.shownPath())
	o.boolean("inline_spec", s.Inline != nil)
	return o
}

func (s *SpecSource) auditLayers(valid *bool) []byte {
	o := s.auditSource()
	o.optional("environment", s.Environment)
	o.list("overlays", s.Overlays)
	o.boolean("valid", *valid)
	return redact.JSON(o.bytes())
}

// refused is the error of a failed build.
func refused(found spec.Diagnostics) error {
	if err := compile.Problem(found); err != nil {
		return err.With("diagnostics", found)
	}
	return invalidSpec(found)
}

// invalidSpec is spec_invalid with diagnostics.
func invalidSpec(found spec.Diagnostics) error {
	return problem.New(problem.SpecInvalid, "Spec failed validation.").With("diagnostics", found)
}

// blocked is the refusal by a policy; its diagnostics have no suggestion.
func blocked(found spec.Diagnostics) error {
	list := []byte{'['}
	for i, d := range found {
		if i > 0 {
			list = append(list, ',')
		}
		var o object
		o.text("code", d.Code)
		o.text("severity", string(d.Severity))
		o.text("message", d.Message)
		o.optional("path", optional(d.Path))
		list = append(list, o.bytes()...)
	}
	return problem.New(problem.EnvironmentPolicyBlocked, "%s", found.Text()).With("diagnostics", rawJSON(append(list, ']')))
}

// Plan returns the plan of a snapshot by its digest, from memory when it is there.
func (s *Specs) Plan(ctx context.Context, digest string) (*plan.Plan, error) {
	if p, ok := s.compiler.plans.Get(digest); ok {
		return p, nil
	}
	snapshot, err := s.store.Snapshot(ctx, digest)
	if err != nil {
		return nil, storeError(err)
	}
	return s.compiler.Plan(ctx, snapshot)
}

// InlineKey returns model.extra.api_key of an agent of a snapshot; component is empty for the root agent. Plans never carry it.
func (s *Specs) InlineKey(ctx context.Context, digest, component string) (string, error) {
	snapshot, err := s.store.Snapshot(ctx, digest)
	if err != nil {
		return "", storeError(err)
	}
	b, err := s.compiler.thaw(snapshot)
	if err != nil {
		return "", err
	}
	doc, _, err := b.document()
	if err != nil || doc == nil {
		return "", err
	}
	agent := doc.Agent
	if component != "" {
		agent, _ = doc.Components.Agents.Get(component)
	}
	if agent == nil || agent.Model == nil {
		return "", nil
	}
	return agent.Model.Extra.Get("api_key").Text(), nil
}

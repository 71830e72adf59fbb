package cli

import (
	"slices"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/compile"
	"github.com/kneo-go/kneo/internal/draw"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/specview"
)

// localSpec works on a spec in this process, without a store. Names of handlers are not checked: their workers connect to services.
type localSpec struct {
	e    *project.Effective
	root string
}

// check returns the document, nil when the schema does not hold.
func (l *localSpec) check() (*spec.Document, spec.Diagnostics, error) {
	return spec.Inputs{Base: l.e.Tree, Found: l.e.Found}.Check(spec.ValidateOptions{})
}

func (l *localSpec) plan() (*plan.Plan, spec.Diagnostics, error) {
	doc, found, err := l.check()
	if err != nil {
		return nil, nil, err
	}
	if doc == nil || found.HasErrors() {
		return nil, nil, &specError{found, l.e}
	}
	resolver, err := spec.NewResolver(l.root, spec.Limits{})
	if err != nil {
		return nil, nil, err
	}
	loaded, err := resolver.LoadSkills(doc)
	if err != nil {
		return nil, nil, err
	}
	skills := make(map[string]compile.Skill, loaded.Len())
	for name, b := range loaded.All() {
		skills[name] = compile.Skill{Instructions: b.Instructions, Strict: b.Strict, Tools: skillTools(b), Defaults: b.Defaults()}
	}
	p, built := compile.Compile(doc, compile.Options{Skills: skills})
	all := slices.Concat(found, built)
	if p == nil {
		return nil, nil, &specError{all, l.e}
	}
	return p, all, nil
}

func skillTools(b *spec.LoadedSkill) []plan.SkillTool {
	if !b.Strict || b.Tools == nil {
		return nil
	}
	var out []plan.SkillTool
	for _, t := range b.Tools.Items {
		out = append(out, plan.SkillTool{Name: t.Get("name").Text(), Description: t.Get("description").Text(), Parameters: t.Get("parameters").JSON()})
	}
	return out
}

func (l *localSpec) compile() (*kneov1.SpecCompileResponse, error) {
	p, found, err := l.plan()
	if err != nil {
		return nil, err
	}
	v := specview.Compiled(p)
	return &kneov1.SpecCompileResponse{
		Ok: !found.HasErrors(), Diagnostics: toProto(found),
		Summary: &kneov1.SpecCompileSummary{HasRootAgent: v.HasRootAgent, HasRootWorkflow: v.HasRootWorkflow, ComponentAgents: v.ComponentAgents},
	}, nil
}

func (l *localSpec) explain() (*kneov1.SpecExplainResponse, error) {
	p, _, err := l.plan()
	if err != nil {
		return nil, err
	}
	v := specview.Explain(p)
	return &kneov1.SpecExplainResponse{Summary: &kneov1.SpecExplainSummary{
		RootAgent: v.RootAgent, RootWorkflow: v.RootWorkflow, ComponentAgents: v.ComponentAgents,
	}}, nil
}

func (l *localSpec) picture() (draw.Picture, error) {
	p, _, err := l.plan()
	if err != nil {
		return draw.Picture{}, err
	}
	return draw.NewPicture(p), nil
}

func (l *localSpec) graph() (*kneov1.SpecGraphResponse, error) {
	p, _, err := l.plan()
	if err != nil {
		return nil, err
	}
	v := specview.NewGraph(p)
	out := &kneov1.SpecGraphResponse{WorkflowName: v.WorkflowName, WorkflowKind: v.WorkflowKind, Start: v.Start}
	if v.MaxSteps != nil {
		out.MaxSteps = narrow(int(*v.MaxSteps))
	}
	for _, n := range v.Nodes {
		node := &kneov1.GraphNode{Id: n.ID, Kind: n.Kind, Name: n.Name, OnError: n.OnError, FallbackNode: n.FallbackNode, MaxRetries: *narrow(int(n.MaxRetries))}
		if n.TimeoutSeconds != nil {
			limit := float64(*n.TimeoutSeconds)
			node.TimeoutSeconds = &limit
		}
		out.Nodes = append(out.Nodes, node)
	}
	for _, e := range v.Edges {
		out.Edges = append(out.Edges, &kneov1.GraphEdge{Source: e.Source, Target: e.Target, Label: e.Label, Conditional: e.Conditional, Priority: *narrow(e.Priority)})
	}
	return out, nil
}

func (l *localSpec) report() ([]byte, error) {
	doc, found, err := l.check()
	if err != nil {
		return nil, err
	}
	return policy.NewReport(doc, found).JSON()
}

package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/service"
	"github.com/kneo-go/kneo/internal/specview"
)

// SpecServer serves SpecService.
type SpecServer struct {
	kneov1.UnimplementedSpecServiceServer
	specs *service.Specs
	runs  *service.Runs
}

// NewSpecServer returns the server.
func NewSpecServer(specs *service.Specs, runs *service.Runs) *SpecServer {
	return &SpecServer{specs: specs, runs: runs}
}

// specRequest is what all requests about a spec have.
type specRequest interface {
	GetSpecPath() string
	GetSpec() *kneov1.JsonObject
	GetOverlays() []string
	GetOverrides() *kneov1.JsonObject
}

func source(r specRequest, environment *string) service.SpecSource {
	return service.SpecSource{
		Path: r.GetSpecPath(), Inline: raw(r.GetSpec()), Environment: environment, Overlays: r.GetOverlays(), Overrides: raw(r.GetOverrides()),
	}
}

// RunSpec starts a run.
func (s *SpecServer) RunSpec(ctx context.Context, r *kneov1.RunCreateRequest) (*kneov1.RunCreateResponse, error) {
	return createRun(ctx, s.runs, r, "spec.run")
}

// ValidateSpec checks a spec.
func (s *SpecServer) ValidateSpec(ctx context.Context, r *kneov1.SpecRequest) (*kneov1.SpecValidateResponse, error) {
	valid, found, err := s.specs.Validate(ctx, source(r, r.Environment))
	if err != nil {
		return nil, err
	}
	return &kneov1.SpecValidateResponse{Valid: valid, Diagnostics: diagnostics(found)}, nil
}

// CompileSpec builds a spec without running it.
func (s *SpecServer) CompileSpec(ctx context.Context, r *kneov1.SpecCompileRequest) (*kneov1.SpecCompileResponse, error) {
	strict := r.Strict == nil || r.GetStrict()
	out, err := s.specs.Compile(ctx, source(r, r.Environment), strict)
	if err != nil {
		return nil, err
	}
	return &kneov1.SpecCompileResponse{
		Ok: out.OK, Diagnostics: diagnostics(out.Diagnostics),
		Summary: &kneov1.SpecCompileSummary{HasRootAgent: out.HasRootAgent, HasRootWorkflow: out.HasRootWorkflow, ComponentAgents: out.ComponentAgents},
	}, nil
}

// ExplainSpec names the parts of a spec.
func (s *SpecServer) ExplainSpec(ctx context.Context, r *kneov1.SpecRequest) (*kneov1.SpecExplainResponse, error) {
	out, err := s.specs.Explain(ctx, source(r, r.Environment))
	if err != nil {
		return nil, err
	}
	return &kneov1.SpecExplainResponse{Summary: &kneov1.SpecExplainSummary{
		RootAgent: out.RootAgent, RootWorkflow: out.RootWorkflow, ComponentAgents: out.ComponentAgents,
	}}, nil
}

// GraphSpec returns the workflow of a spec as a graph.
func (s *SpecServer) GraphSpec(ctx context.Context, r *kneov1.SpecRequest) (*kneov1.SpecGraphResponse, error) {
	g, err := s.specs.Graph(ctx, source(r, r.Environment))
	if err != nil {
		return nil, err
	}
	return &kneov1.SpecGraphResponse{
		WorkflowName: g.WorkflowName, WorkflowKind: g.WorkflowKind, Start: g.Start, MaxSteps: narrow(g.MaxSteps), Nodes: nodes(g.Nodes), Edges: edges(g.Edges),
	}, nil
}

// ReportSpecPolicy reports what a spec may do.
func (s *SpecServer) ReportSpecPolicy(ctx context.Context, r *kneov1.SpecRequest) (*kneov1.PolicyReportResponse, error) {
	report, err := s.specs.PolicyReport(ctx, source(r, r.Environment))
	if err != nil {
		return nil, err
	}
	text, err := report.JSON()
	if err != nil {
		return nil, err
	}
	return &kneov1.PolicyReportResponse{Valid: report.Valid, Report: object(text)}, nil
}

func nodes(list []specview.Node) []*kneov1.GraphNode {
	out := make([]*kneov1.GraphNode, len(list))
	for i, n := range list {
		out[i] = &kneov1.GraphNode{Id: n.ID, Kind: n.Kind, Name: n.Name, OnError: n.OnError, FallbackNode: n.FallbackNode, MaxRetries: *narrow(&n.MaxRetries)}
		if n.TimeoutSeconds != nil {
			seconds := float64(*n.TimeoutSeconds)
			out[i].TimeoutSeconds = &seconds
		}
	}
	return out
}

func edges(list []specview.Edge) []*kneov1.GraphEdge {
	out := make([]*kneov1.GraphEdge, len(list))
	for i, e := range list {
		out[i] = &kneov1.GraphEdge{Source: e.Source, Target: e.Target, Label: e.Label, Conditional: e.Conditional, Priority: count(e.Priority)}
	}
	return out
}

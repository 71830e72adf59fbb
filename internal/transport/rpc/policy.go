package rpc

import (
	"context"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/service"
)

// PolicyServer serves PolicyService.
type PolicyServer struct {
	kneov1.UnimplementedPolicyServiceServer
	policies *service.Policies
}

// NewPolicyServer returns the server.
func NewPolicyServer(p *service.Policies) *PolicyServer { return &PolicyServer{policies: p} }

// ListEnvironmentPolicies returns all policies.
func (s *PolicyServer) ListEnvironmentPolicies(ctx context.Context, _ *kneov1.ListEnvironmentPoliciesRequest) (*kneov1.ListEnvironmentPoliciesResponse, error) {
	list, err := s.policies.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &kneov1.ListEnvironmentPoliciesResponse{Policies: make(map[string]*kneov1.EnvironmentPolicy, len(list)), Count: count(len(list))}
	for i := range list {
		out.Policies[list[i].Environment] = toPolicy(&list[i].Policy)
	}
	return out, nil
}

// GetEnvironmentPolicy returns the policy of one environment.
func (s *PolicyServer) GetEnvironmentPolicy(ctx context.Context, r *kneov1.GetEnvironmentPolicyRequest) (*kneov1.EnvironmentPolicyResponse, error) {
	p, err := s.policies.Get(ctx, r.GetEnvironment())
	if err != nil {
		return nil, err
	}
	return &kneov1.EnvironmentPolicyResponse{Environment: r.GetEnvironment(), Policy: toPolicy(p)}, nil
}

// PutEnvironmentPolicy replaces the policy of one environment.
func (s *PolicyServer) PutEnvironmentPolicy(ctx context.Context, r *kneov1.PutEnvironmentPolicyRequest) (*kneov1.EnvironmentPolicyResponse, error) {
	next := fromPolicy(r.GetPolicy())
	previous, err := s.policies.Put(ctx, r.GetEnvironment(), next)
	if err != nil {
		return nil, err
	}
	return &kneov1.EnvironmentPolicyResponse{Environment: r.GetEnvironment(), Policy: toPolicy(&next), PreviousPolicy: toPolicy(previous)}, nil
}

// PreviewEnvironmentPolicy tells what a policy would change.
func (s *PolicyServer) PreviewEnvironmentPolicy(ctx context.Context, r *kneov1.PreviewEnvironmentPolicyRequest) (*kneov1.PolicyPreviewResponse, error) {
	preview, err := s.policies.Preview(ctx, r.GetEnvironment(), fromPolicy(r.GetPolicy()))
	if err != nil {
		return nil, err
	}
	out := &kneov1.PolicyPreviewResponse{
		Environment: r.GetEnvironment(), Diff: make(map[string]*kneov1.PolicyFieldChange, len(preview.Diff)),
		AffectedRunIds: preview.Affected, NewlyBlocking: preview.NewlyBlocking, RunsEvaluated: count(preview.Evaluated),
	}
	for _, c := range preview.Diff {
		out.Diff[c.Field] = &kneov1.PolicyFieldChange{From: value(c.From), To: value(c.To)}
	}
	return out, nil
}

func toPolicy(p *policy.Policy) *kneov1.EnvironmentPolicy {
	if p == nil {
		return nil
	}
	enabled := p.Enabled
	return &kneov1.EnvironmentPolicy{
		Enabled: &enabled, FailOnWarnings: p.FailOnWarnings, BlockedDiagnosticCodes: p.BlockedDiagnosticCodes, RequireHumanReview: p.RequireHumanReview,
		RequireToolPermissions: p.RequireToolPermissions, DenyUnrestrictedTools: p.DenyUnrestrictedTools, RequireGuardrails: p.RequireGuardrails,
	}
}

func fromPolicy(p *kneov1.EnvironmentPolicy) policy.Policy {
	return policy.Policy{
		Enabled: p.Enabled == nil || p.GetEnabled(), FailOnWarnings: p.GetFailOnWarnings(), BlockedDiagnosticCodes: p.GetBlockedDiagnosticCodes(),
		RequireHumanReview: p.GetRequireHumanReview(), RequireToolPermissions: p.GetRequireToolPermissions(),
		DenyUnrestrictedTools: p.GetDenyUnrestrictedTools(), RequireGuardrails: p.GetRequireGuardrails(),
	}
}

package service

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

const (
	// policyPrefix leads the metadata keys of environment policies.
	policyPrefix = "environment_policy/"
	// policyLease is the lock of policy changes.
	policyLease = "environment-policies"
	// previewRuns is how many of the newest runs a preview looks at.
	previewRuns = 500
)

// NamedPolicy is a stored policy with its environment.
type NamedPolicy struct {
	Environment string
	Policy      policy.Policy
}

// PolicyPreview is the effect that a policy would have.
type PolicyPreview struct {
	Diff                    []policy.Change
	Affected, NewlyBlocking []string
	Evaluated               int
}

// reporter makes the policy report of a run's frozen spec; nil when the spec does not load any more.
type reporter interface {
	frozenReport(ctx context.Context, r *run.Run) (*policy.Report, error)
}

// Policies reads, changes and tries environment policies.
type Policies struct {
	store   store.Store
	reports reporter
	audit   auditor
	log     *slog.Logger
}

// NewPolicies returns the use case; specs opens the frozen specs of runs for previews.
func NewPolicies(s store.Store, specs *Specs, log *slog.Logger, now func() time.Time, newID func() string) *Policies {
	return &Policies{store: s, reports: specs, audit: auditor{store: s, now: now, newID: newID}, log: log}
}

// List returns all policies sorted by environment.
func (p *Policies) List(ctx context.Context) ([]NamedPolicy, error) {
	stored, err := p.store.Metadata(ctx, policyPrefix)
	if err != nil {
		return nil, storeError(err)
	}
	out := make([]NamedPolicy, 0, len(stored))
	for key, raw := range stored {
		parsed, err := policy.Parse(raw)
		if err != nil {
			return nil, storeError(err)
		}
		out = append(out, NamedPolicy{Environment: strings.TrimPrefix(key, policyPrefix), Policy: parsed})
	}
	slices.SortFunc(out, func(a, b NamedPolicy) int { return strings.Compare(a.Environment, b.Environment) })
	return out, nil
}

// Get returns the policy of an environment, nil when none is stored.
func (p *Policies) Get(ctx context.Context, environment string) (*policy.Policy, error) {
	return storedPolicy(ctx, p.store, environment)
}

func storedPolicy(ctx context.Context, s store.Metadata, environment string) (*policy.Policy, error) {
	stored, err := s.Metadata(ctx, policyPrefix+environment)
	if err != nil {
		return nil, storeError(err)
	}
	raw, ok := stored[policyPrefix+environment]
	if !ok {
		return nil, nil
	}
	parsed, err := policy.Parse(raw)
	if err != nil {
		return nil, storeError(err)
	}
	return &parsed, nil
}

// Put replaces the policy of an environment and returns the previous one.
func (p *Policies) Put(ctx context.Context, environment string, next policy.Policy) (*policy.Policy, error) {
	owner := p.audit.newID()
	if err := p.store.AcquireLease(ctx, policyLease, owner, 30*time.Second); err != nil {
		if errors.Is(err, store.ErrLocked) {
			return nil, locked(policyLease)
		}
		return nil, storeError(err)
	}
	defer func() {
		if err := p.store.ReleaseLease(context.WithoutCancel(ctx), policyLease, owner); err != nil {
			p.log.WarnContext(ctx, "policy lock not released", "error", err)
		}
	}()
	raw, err := p.store.PutMetadata(ctx, policyPrefix+environment, next.Encode(), func(previous json.RawMessage) []run.AuditEvent {
		return []run.AuditEvent{p.audit.event(ctx, "policy.changed", "", "", changed(environment, previous, next))}
	})
	if err != nil {
		return nil, storeError(err)
	}
	if raw == nil {
		return nil, nil
	}
	previous, err := policy.Parse(raw)
	if err != nil {
		return nil, storeError(err)
	}
	return &previous, nil
}

// changed is the metadata of a change.
func changed(environment string, raw json.RawMessage, next policy.Policy) []byte {
	var previous *policy.Policy
	if parsed, err := policy.Parse(raw); raw != nil && err == nil {
		previous = &parsed
	}
	fields := []string{}
	for _, c := range policy.Diff(previous, next) {
		fields = append(fields, c.Field)
	}
	slices.Sort(fields)
	var o object
	o.text("surface", "environment_policy_enforcement")
	o.text("environment", environment)
	o.raw("previous", raw)
	o.raw("current", next.Encode())
	o.list("changed_fields", fields)
	return redact.JSON(o.bytes())
}

// Preview tells which of the newest runs a policy would treat differently. It stores nothing.
func (p *Policies) Preview(ctx context.Context, environment string, next policy.Policy) (PolicyPreview, error) {
	stored, err := p.Get(ctx, environment)
	if err != nil {
		return PolicyPreview{}, err
	}
	out := PolicyPreview{Diff: policy.Diff(stored, next)}
	runs, err := p.store.ListRuns(ctx, store.RunFilter{SortBy: "updated_at", Desc: true, Limit: previewRuns})
	if err != nil {
		return PolicyPreview{}, storeError(err)
	}
	for i := range runs {
		r := &runs[i]
		if r.Environment == nil || *r.Environment != environment {
			continue
		}
		report, err := p.reports.frozenReport(ctx, r)
		if err != nil {
			return PolicyPreview{}, err
		}
		if report == nil {
			continue
		}
		out.Evaluated++
		effect := policy.Preview(stored, next, environment, report)
		if effect.Affected {
			out.Affected = append(out.Affected, r.ID)
		}
		if effect.NewlyBlocking {
			out.NewlyBlocking = append(out.NewlyBlocking, r.ID)
		}
	}
	return out, nil
}

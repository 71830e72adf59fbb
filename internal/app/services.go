package app

import (
	"context"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/service"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

// buildServices builds what runs agents and the use cases on top of it.
func (a *App) buildServices() error {
	// The compiler needs the handlers and the agents need the specs, so the key look-up is bound late.
	inlineKey := func(ctx context.Context, digest, component string) (string, error) {
		return a.use.specs.InlineKey(ctx, digest, component)
	}
	watch, err := a.agentObserver()
	if err != nil {
		return err
	}
	if a.execution, err = newExecution(&a.cfg, a.o.Version, a.log, watch, inlineKey); err != nil {
		return err
	}
	compiler, err := a.compiler()
	if err != nil {
		return err
	}
	a.use.specs = service.NewSpecs(a.store, compiler, a.now, id.New)
	a.runner = runner.New(runner.Deps{
		Store: a.store, Plans: func(ctx context.Context, digest string) (*plan.Plan, error) { return a.use.specs.Plan(ctx, digest) },
		Agents: a.execution.loop, Guardrails: a.execution.loop, Functions: a.execution.functions, Metrics: a.metrics, Log: a.log, Clock: clock.System{},
		Lease: a.cfg.Worker.Lease, TraceLimit: a.cfg.Execution.TraceMaxEvents, RetryOnTimeout: a.cfg.Execution.WorkflowRetryOnTimeout,
		Watched: func(runID string) bool { return a.use.events.Watched(runID) },
	})
	a.execution.loop.Delegate = a.runner.Delegate // agents behind workflows, when other agents refer to them
	a.use.runs, err = service.NewRuns(service.RunsOptions{
		Store: a.store, Specs: a.use.specs, Executor: a.runner, Clock: clock.System{}, Log: a.log, Counters: a.metrics,
		MaxDepth: a.cfg.Worker.MaxQueueDepth, CacheEntries: int(a.cfg.Specs.CacheEntries),
	})
	if err != nil {
		return err
	}
	a.use.tasks = service.NewHumanTasks(a.store)
	a.use.audit = service.NewAudit(a.store)
	a.use.policies = service.NewPolicies(a.store, a.use.specs, a.log, a.now, id.New)
	a.use.skills = service.NewSkills(spec.ReadFrontmatter, a.log)
	a.use.credentials = service.NewCredentials(service.Lookup(a.o.Env), a.store, a.now, id.New)
	a.use.events = service.NewEvents(a.store)
	a.use.health = service.NewHealth(service.HealthOptions{
		Store: a.store, Durable: a.cfg.Storage.DatabaseURL != "" || a.cfg.Storage.SQLitePath != sqlite.Memory,
		Runtimes:  func() []string { return []string{"bridge", "native"} },
		Tools:     a.execution.toolNames,
		Providers: a.cfg.Observe.HealthProviders, MCPSecrets: a.cfg.Observe.HealthMCPSecrets, Env: service.Lookup(a.o.Env), Draining: a.draining.Load,
	})
	return nil
}

func (a *App) compiler() (*service.Compiler, error) {
	resolver, err := spec.NewResolver(a.cfg.Specs.Root, spec.Limits{})
	if err != nil {
		return nil, err
	}
	o := service.CompilerOptions{
		Resolver: resolver, Handlers: a.execution.handlers, ForceDummy: a.cfg.Specs.ForceDummyProvider, CacheEntries: int(a.cfg.Specs.CacheEntries),
		Signatures: service.Signatures{Key: a.cfg.Specs.SigningKey, Environments: a.cfg.Specs.SignedEnvironments},
	}
	if a.cfg.Specs.RequireProviderSecrets {
		o.Secrets = secret.Env{}
	}
	return service.NewCompiler(o)
}

// agentObserver writes spans, counts calls and records the metrics of the semantic conventions where telemetry is sent.
func (a *App) agentObserver() (agent.Observer, error) {
	spans := agent.NewSpans(a.tracing.Provider, agent.SpanOptions{RecordArguments: a.cfg.Observe.OTelArguments, RecordResults: a.cfg.Observe.OTelResults})
	watch := agent.Observers{spans, agent.Counts(a.metrics.Call), callTimes{a.metrics}}
	if a.exported == nil {
		return watch, nil
	}
	meters, err := agent.NewMeters(a.exported.Provider())
	if err != nil {
		return nil, err
	}
	return append(watch, meters), nil
}

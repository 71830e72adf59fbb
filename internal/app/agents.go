package app

import (
	"context"
	"log/slog"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/dispatch"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/catalog"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/outbound"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/tool"
	"github.com/kneo-go/kneo/internal/tool/builtin"
	"github.com/kneo-go/kneo/internal/tool/mcp"
)

// execution is what runs agents, tools and functions.
type execution struct {
	dispatcher *dispatch.Dispatcher
	handlers   *handler.Registry
	servers    *mcp.Pool
	models     *llm.Registry
	loop       *agent.Loop
	functions  agent.Functions
}

// newExecution builds it; inlineKey finds keys that specs carry themselves.
func newExecution(cfg *config.Config, version string, log *slog.Logger, watch agent.Observer, inlineKey func(ctx context.Context, digest, component string) (string, error)) (*execution, error) {
	e := &execution{dispatcher: dispatch.New(dispatch.Config{Timeout: cfg.Execution.HandlerTimeout, Now: clock.System{}.Now, NewID: id.New})}
	e.handlers = handler.NewRegistry(e.dispatcher)
	if cfg.Specs.ExampleTools {
		if err := builtin.Register(e.handlers, clock.System{}.Now); err != nil {
			return nil, err
		}
	}
	secrets := secret.Env{}
	e.servers = mcp.New(mcp.Options{
		Retries: int(cfg.MCP.Retries), Backoff: cfg.MCP.Backoff, Timeout: cfg.MCP.Timeout, RetryOnTimeout: cfg.MCP.RetryOnTimeout,
		ConnectTimeout: cfg.MCP.ConnectTimeout, Secrets: secrets, Version: version, Logger: log, AllowURL: outbound.Hosts(cfg.Specs.OutboundHosts).Allow,
	})
	providers := catalog.Options(exchange.Policy{
		Retries: int(cfg.Provider.Retries), Backoff: cfg.Provider.Backoff, Timeout: cfg.Provider.Timeout, RetryOnTimeout: cfg.Provider.RetryOnTimeout,
	})
	providers.Secrets, providers.ForceDummy, providers.RequireKeys = secrets, cfg.Specs.ForceDummyProvider, cfg.Specs.RequireProviderSecrets
	providers.AllowURL = outbound.Hosts(cfg.Specs.OutboundHosts).Allow
	e.models = llm.NewRegistry(providers)
	var err error
	e.loop, err = agent.New(agent.Config{
		Models: e.models, Tools: &tool.Executor{Handlers: e.handlers, Remote: e.servers}, Handlers: e.handlers, InlineKey: inlineKey,
		TokenBudget: cfg.Specs.TokenBudget, Builtin: exampleTools(cfg), Observer: watch, Logger: log,
	})
	e.functions = functions{e.handlers}
	return e, err
}

// exampleTools are the tools that every spec may name, unless the deployment turns them off (decision X15).
func exampleTools(cfg *config.Config) map[string]*plan.Tool {
	if !cfg.Specs.ExampleTools {
		return nil
	}
	return builtin.Tools()
}

// toolNames lists the registered tools that specs may use without declaring a server.
func (e *execution) toolNames() []string {
	names := []string{}
	for _, d := range e.handlers.Definitions() {
		if d.Kind == handler.Tool {
			names = append(names, d.Name)
		}
	}
	return names
}

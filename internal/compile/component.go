package compile

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

func (b *builder) functions() map[string]*plan.Function {
	out := make(map[string]*plan.Function, b.doc.Components.Functions.Len())
	for name, f := range b.doc.Components.Functions.All() {
		impl := handler.Canonical(f.Implementation)
		roles := b.uses[name]
		if len(roles) == 0 {
			roles = handler.Kinds()
		}
		b.checkHandler(firstOf(f.Node.Get("implementation"), f.Node), "components.functions."+name+".implementation",
			fmt.Sprintf("Function component '%s'", name), impl, roles, len(b.uses[name]) > 0)
		out[name] = &plan.Function{Name: name, Implementation: impl}
	}
	return out
}

// checkHandler reports a name that nobody serves in the roles it is used in: in all of them, or in any one when the component is not used.
func (b *builder) checkHandler(at *spec.Node, path, subject, impl string, roles []handler.Kind, all bool) {
	catalog := b.opts.Handlers
	if catalog == nil {
		return
	}
	served := func(k handler.Kind) bool { return catalog.Has(k, impl) }
	if all {
		i := slices.IndexFunc(roles, func(k handler.Kind) bool { return !served(k) })
		if i < 0 {
			return
		}
		if slices.ContainsFunc(handler.Kinds(), served) {
			b.report(CodeHandler, at, path, "Register it as "+string(roles[i])+" too.", "%s uses '%s' as a %s, and no handler serves it in that role.", subject, impl, roles[i])
			return
		}
	} else if slices.ContainsFunc(roles, served) {
		return
	}
	b.report(CodeHandler, at, path, "Register the handler in the server, or connect a worker that serves it.",
		"%s refers to '%s', and no such handler is registered.%s", subject, impl, handler.Hint(handler.Nearest(impl, catalog.Names(), 3)))
}

func (b *builder) tools() map[string]*plan.Tool {
	out := make(map[string]*plan.Tool, b.doc.Tools.Len())
	for name, t := range b.doc.Tools.All() {
		out[name] = b.tool(name, t)
	}
	return out
}

func (b *builder) tool(name string, t *spec.Tool) *plan.Tool {
	path := "tools." + name
	out := &plan.Tool{Name: name, Description: t.Description, Idempotent: true}
	if t.Idempotent != nil {
		out.Idempotent, out.IdempotentDeclared = *t.Idempotent, true
	}
	parameters := "{}"
	if t.Parameters.Len() > 0 {
		parameters = string(t.Parameters.JSON())
	}
	switch {
	case t.Implementation != "":
		out.Implementation = handler.Canonical(t.Implementation)
		b.checkHandler(firstOf(t.Node.Get("implementation"), t.Node), path+".implementation", fmt.Sprintf("Tool '%s'", name),
			out.Implementation, []handler.Kind{handler.Tool}, true)
	case t.MCP.Len() > 0:
		out.Server, out.RemoteName = t.MCPServerName(), t.MCPToolName(name)
		if t.Parameters.Len() == 0 {
			parameters = `{"type":"object"}`
		}
		if !b.doc.MCPServers.Has(out.Server) {
			b.report(CodeRef, firstOf(t.MCP.Get("server"), t.MCP), path+".mcp.server", "Define the server under mcp_servers.",
				"MCP tool '%s' references server '%s', which is not defined.", name, out.Server)
		}
	case t.Agent != "":
		out.Agent = t.Agent
		a, ok := b.doc.Components.Agents.Get(t.Agent)
		if !ok {
			b.report(CodeRef, firstOf(t.Node.Get("agent"), t.Node), path+".agent", "Define the agent under components.agents.",
				"Tool '%s' references agent '%s', which is not defined.", name, t.Agent)
			break
		}
		parameters = agentToolParameters(a.Name)
	default:
		b.report(CodeTool, t.Node, path, "Add one backing: implementation, mcp, or agent.", "Tool '%s' has no backing.", name)
	}
	out.Parameters = json.RawMessage(parameters)
	return out
}

// agentToolParameters is the fixed schema of an agent that serves as a tool.
func agentToolParameters(agent string) string {
	input := spec.NewMapping().With("type", spec.NewString("string")).
		With("description", spec.NewString("Input passed to the "+agent+" agent."))
	return string(spec.NewMapping().With("type", spec.NewString("object")).
		With("properties", spec.NewMapping().With("input", input)).
		With("required", spec.NewSequence(spec.NewString("input"))).JSON())
}

func (b *builder) servers() map[string]*plan.MCPServer {
	out := make(map[string]*plan.MCPServer, b.doc.MCPServers.Len())
	for name, s := range b.doc.MCPServers.All() {
		out[name] = &plan.MCPServer{
			Name: name, Transport: s.Transport, Command: s.Command, Args: slices.Clone(s.Args), Env: plainMap(&s.Env), Cwd: s.Cwd,
			URL: s.URL, SSEURL: s.SSEURL, MessageURL: s.MessageURL, Headers: plainMap(&s.Headers), TimeoutSeconds: s.Timeout,
			MaxResponseBytes: wide(s.MaxResponseBytes), SSEReadTimeout: s.SSEReadTimeout, Verify: s.Verify, CABundle: s.CABundle,
			ClientCert: s.ClientCert, ClientKey: s.ClientKey, ClientKeyRef: s.ClientKeyRef,
		}
	}
	return out
}

func plainMap(m *spec.OrderedMap[string]) map[string]string {
	if m.Len() == 0 {
		return nil
	}
	out := make(map[string]string, m.Len())
	for k, v := range m.All() {
		out[k] = v
	}
	return out
}

const (
	defaultTitle  = "Human review required"
	defaultPrompt = "Please review this item."
)

func (b *builder) humans() map[string]*plan.Human {
	out := make(map[string]*plan.Human, b.doc.Components.Humans.Len())
	for name, h := range b.doc.Components.Humans.All() {
		p := &plan.Human{
			Name: name, Title: defaultTitle, Prompt: defaultPrompt, Assignee: h.Assignee, TimeoutSeconds: wide(h.TimeoutSeconds),
			OnTimeout: h.OnTimeout, RequestType: h.RequestType, Options: slices.Clone(h.Options), HasOptions: h.Options != nil,
			DefaultOption: h.DefaultOption,
		}
		if h.Description != nil && *h.Description != "" {
			p.Title, p.Prompt = *h.Description, *h.Description
		}
		if h.OnTimeout == "" {
			p.OnTimeout = spec.OnTimeoutFail
		}
		if h.RequestType == "" {
			p.RequestType = spec.RequestApproval
		}
		if h.Context.Len() > 0 {
			p.Context = json.RawMessage(h.Context.JSON())
		}
		if h.ResponseRole != "" {
			role := h.ResponseRole
			p.ResponseRole = &role
		}
		if h.OnReject == spec.OnRejectFail {
			p.OnReject = h.OnReject
		}
		out[name] = p
	}
	return out
}

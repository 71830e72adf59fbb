package spec

import (
	"slices"
	"strings"
)

// UnsafeImplementation reports whether a code reference names a primitive of
// the system, of processes or of importing, which specs must not call directly.
func UnsafeImplementation(name string) bool {
	switch name {
	case "eval", "exec", "open", "compile", "__import__", "breakpoint":
		return true
	}
	module, _, found := strings.Cut(HandlerName(name), ".")
	if !found {
		return false
	}
	switch module {
	case "builtins", "code", "codeop", "ctypes", "fcntl", "importlib", "marshal", "mmap", "multiprocessing", "nt", "os",
		"pathlib", "pdb", "pickle", "platform", "posix", "pty", "runpy", "shutil", "signal", "socket", "subprocess", "sys", "tty":
		return true
	}
	return false
}

func on(b *bool) bool { return b != nil && *b }

func (v *validator) governance() {
	for i := range v.doc.Tools.Len() {
		name, t := v.doc.Tools.At(i)
		if UnsafeImplementation(t.Implementation) {
			v.privileged = true
			v.fail("E_UNSAFE_TOOL_IMPORT", "Tool '"+name+"' uses an unsafe implementation import.", finding{
				path: "tools." + name + ".implementation", owner: t.Node, key: "implementation",
				suggestion: "Reference an application function module instead of direct system, process, or import primitives.",
			})
		}
	}
	for i := range v.doc.Components.Functions.Len() {
		name, f := v.doc.Components.Functions.At(i)
		if UnsafeImplementation(f.Implementation) {
			v.privileged = true
			v.fail("E_UNSAFE_FUNCTION_IMPORT", "Function component '"+name+"' uses an unsafe implementation import.", finding{
				path: "components.functions." + name + ".implementation", owner: f.Node, key: "implementation",
				suggestion: "Reference a reviewed application function module instead of direct system, process, or import primitives.",
			})
		}
	}
	v.eachAgent(v.permissions)
	if v.privileged && !v.hasHumanGate() {
		v.warn("W_HUMAN_APPROVAL_MISSING", "Spec exposes privileged tools or unsafe imports without a human approval step.", finding{
			path: "workflow", owner: v.doc.Root, key: "workflow",
			suggestion: "Add a human workflow step before deployment or document why the spec is exempt.",
		})
	}
}

func (v *validator) permissions(a *Agent, path string) {
	if a.Tools == nil {
		return
	}
	p := a.Tools.Permissions
	if p == nil {
		v.privileged = true
		v.warn("W_TOOL_POLICY_UNRESTRICTED", "Agent tool selection has no explicit permissions policy.", finding{
			path: path + ".tools.permissions", owner: a.Node, key: "tools",
			suggestion: "Declare permissions even when all privileged capabilities are disabled.",
		})
		return
	}
	warn := func(set bool, code, key, message, suggestion string) {
		if set {
			v.privileged = true
			v.warn(code, message, finding{path: path + ".tools.permissions." + key, suggestion: suggestion, owner: p.Node, key: key})
		}
	}
	warn(on(p.AllowNetwork) && len(p.AllowedDomains) == 0, "W_TOOL_NETWORK_UNRESTRICTED", "allowed_domains",
		"Agent allows network tool access without an allowed_domains list.", "Restrict network tools to approved domains.")
	warn(on(p.AllowShell), "W_TOOL_SHELL_ALLOWED", "allow_shell",
		"Agent allows shell-capable tools.", "Require review and human approval for shell-capable workflows.")
	warn(on(p.AllowFilesystemWrite), "W_TOOL_FILESYSTEM_WRITE_ALLOWED", "allow_filesystem_write",
		"Agent allows filesystem write access.", "Require review and human approval for write-capable workflows.")
	warn(on(p.AllowFilesystemRead), "W_TOOL_FILESYSTEM_READ_ALLOWED", "allow_filesystem_read",
		"Agent allows filesystem read access.", "Require review and human approval for read-capable workflows.")
}

func (v *validator) hasHumanGate() bool {
	gate := func(s *Step) bool { return s.Enabled && s.Kind == StepHuman }
	if w := v.doc.Workflow; w != nil && slices.ContainsFunc(w.AllSteps(), gate) {
		return true
	}
	for i := range v.doc.Components.Workflows.Len() {
		if _, w := v.doc.Components.Workflows.At(i); slices.ContainsFunc(w.AllSteps(), gate) {
			return true
		}
	}
	return false
}

// Backings lists what backs a tool, in the language's order; a valid tool has one.
func (t *Tool) Backings() []string {
	var out []string
	if t.Implementation != "" {
		out = append(out, "implementation")
	}
	if t.MCP.Len() > 0 {
		out = append(out, "mcp")
	}
	if t.Agent != "" {
		out = append(out, "agent")
	}
	return out
}

func (v *validator) toolBackings() {
	for i := range v.doc.Tools.Len() {
		name, t := v.doc.Tools.At(i)
		path := "tools." + name
		head := "Tool '" + name + "' "
		switch backings := t.Backings(); {
		case len(backings) == 0:
			v.fail("E_TOOL_NO_BACKING", head+"sets none of implementation / mcp / agent; a tool is backed by exactly one of them.",
				finding{path: path, owner: t.Node, suggestion: "Add one backing: implementation, mcp, or agent."})
		case len(backings) > 1:
			v.fail("E_TOOL_MULTIPLE_BACKINGS", head+"sets "+strings.Join(backings, ", ")+
				"; a tool is backed by exactly one of implementation / mcp / agent.",
				finding{path: path, owner: t.Node, suggestion: "Keep only one backing on the tool."})
		}
		if t.Agent == "" {
			continue
		}
		if !v.doc.Components.Agents.Has(t.Agent) {
			v.fail("E_AGENT_TOOL_UNKNOWN_AGENT", head+"references agent '"+t.Agent+"', which is not defined under components.agents.",
				finding{path: path + ".agent", owner: t.Node, key: "agent", suggestion: "Define the agent under components.agents, or fix the reference."})
		}
		if t.Parameters.Len() > 0 {
			v.warn("W_AGENT_TOOL_PARAMETERS_IGNORED", head+
				"is agent-backed; its declared parameters are ignored — an agent-as-tool's input schema is fixed to a single 'input' string.",
				finding{path: path + ".parameters", owner: t.Node, key: "parameters", suggestion: "Remove parameters from the agent-backed tool."})
		}
	}
}

func (v *validator) mcp() {
	for i := range v.doc.MCPServers.Len() {
		name, m := v.doc.MCPServers.At(i)
		v.mcpServer(name, m)
	}
	for i := range v.doc.Tools.Len() {
		name, t := v.doc.Tools.At(i)
		if t.MCP.Len() == 0 {
			continue
		}
		server := t.MCP.Get("server")
		if !server.Truthy() {
			v.fail("E_MCP_TOOL_NO_SERVER", "MCP tool '"+name+"' must set mcp.server to a declared mcp_servers entry.", finding{
				path: "tools." + name + ".mcp", owner: t.Node, key: "mcp", suggestion: "Add mcp: {server: <name>, name?: <remote-tool>}.",
			})
			continue
		}
		if server.Kind != String || !v.doc.MCPServers.Has(server.Value) {
			v.fail("E_MCP_UNKNOWN_SERVER", "MCP tool '"+name+"' references server '"+shown(server)+
				"', which is not defined under mcp_servers.", finding{
				path: "tools." + name + ".mcp.server", owner: t.MCP, key: "server",
				suggestion: "Define the server under mcp_servers, or fix the reference.",
			})
		}
	}
}

func (v *validator) mcpServer(name string, m *MCPServer) {
	key, value := "command", m.Command
	switch m.Transport {
	case TransportHTTP:
		key, value = "url", m.URL
	case TransportSSE:
		key, value = "sse_url", m.SSEURL
	}
	path := "mcp_servers." + name + "."
	if value == "" {
		v.fail("E_MCP_MISSING_FIELD", "MCP server '"+name+"' (transport '"+m.Transport+"') requires '"+key+"'.", finding{
			path: path + key, owner: m.Node, key: key, suggestion: "Set '" + key + "' on the '" + m.Transport + "' MCP server.",
		})
	}
	if m.Transport != TransportStdio && m.Verify != nil && !*m.Verify {
		v.warn("W_MCP_TLS_VERIFY_DISABLED", "MCP server '"+name+"' sets verify: false, disabling TLS certificate verification — "+
			"the connection is exposed to man-in-the-middle attacks.", finding{
			path: path + "verify", owner: m.Node, key: "verify", suggestion: "Remove verify: false, or set ca_bundle to trust a private CA.",
		})
	}
}

// CodeHandlerUnknown marks a code reference that no handler answers to.
const CodeHandlerUnknown = "E_HANDLER_UNKNOWN"

// HandlerName brings the two spellings of a code reference, pkg.mod.name and
// pkg.mod:name, to the first.
func HandlerName(ref string) string { return strings.Replace(ref, ":", ".", 1) }

func (v *validator) handlers(lookup Handlers) {
	if lookup == nil {
		return
	}
	check := func(ref, path string, owner *Node) {
		known, nearest := lookup(HandlerName(ref))
		if known {
			return
		}
		suggestion := "Register a handler under this name, or connect a worker that serves it."
		if len(nearest) > 0 {
			suggestion = "Did you mean " + strings.Join(nearest, ", ") + "?"
		}
		v.fail(CodeHandlerUnknown, "No handler is registered for '"+ref+"'.",
			finding{path: path, suggestion: suggestion, owner: owner, key: "implementation"})
	}
	for i := range v.doc.Tools.Len() {
		if name, t := v.doc.Tools.At(i); t.Implementation != "" {
			check(t.Implementation, "tools."+name+".implementation", t.Node)
		}
	}
	for i := range v.doc.Components.Functions.Len() {
		name, f := v.doc.Components.Functions.At(i)
		check(f.Implementation, "components.functions."+name+".implementation", f.Node)
	}
}

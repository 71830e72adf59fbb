package spec

// Decode checks a layered, migrated and normalised tree against the schema and
// gives it types. All structural problems become one E_SCHEMA diagnostic, and
// the document is then nil.
func Decode(tree *Node) (*Document, Diagnostics) {
	if tree == nil {
		tree = NewMapping()
	}
	if d := checkSchema(tree); d != nil {
		return nil, Diagnostics{*d}
	}
	d := &Document{Root: tree}
	for i := range tree.Entries {
		v := tree.Entries[i].Value
		switch tree.Entries[i].Key {
		case "version":
			d.Version = v.Value
		case "metadata":
			d.Metadata = notNull(v)
		case "agent":
			d.Agent = decodeAgent(v)
		case "workflow":
			if v.Kind != Null {
				d.Workflow = decodeWorkflow(v)
			}
		case "components":
			decodeComponents(&d.Components, v)
		case "tools":
			decodeMap(&d.Tools, v, decodeTool)
		case "mcp_servers":
			decodeMap(&d.MCPServers, v, decodeMCPServer)
		case "skills":
			decodeMap(&d.Skills, v, decodeSkill)
		case "policies":
			d.Policies = v
		}
	}
	return d, nil
}

func decodeMap[T any](out *OrderedMap[T], n *Node, decode func(*Node) T) {
	if len(n.Entries) == 0 {
		return
	}
	out.keys = make([]string, 0, len(n.Entries))
	out.items = make([]T, 0, len(n.Entries))
	out.index = make(map[string]int, len(n.Entries))
	for i := range n.Entries {
		out.Set(n.Entries[i].Key, decode(n.Entries[i].Value))
	}
}

func notNull(n *Node) *Node {
	if n.Kind == Null {
		return nil
	}
	return n
}

func optText(n *Node) *string {
	if n.Kind != String {
		return nil
	}
	return &n.Value
}

func optInt(n *Node) *int {
	if n.Kind == Null {
		return nil
	}
	i, _ := n.AsInt()
	return &i
}

func optFloat(n *Node) *float64 {
	if n.Kind == Null {
		return nil
	}
	f, _ := n.AsFloat()
	return &f
}

func optBool(n *Node) *bool {
	if n.Kind == Null {
		return nil
	}
	b, _ := n.AsBool()
	return &b
}

func texts(n *Node) []string {
	if n.Kind != Sequence {
		return nil
	}
	out := make([]string, len(n.Items))
	for i, item := range n.Items {
		out[i] = item.Value
	}
	return out
}

func decodeComponents(c *Components, n *Node) {
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "agents":
			decodeMap(&c.Agents, v, decodeAgent)
		case "workflows":
			decodeMap(&c.Workflows, v, decodeWorkflow)
		case "functions":
			decodeMap(&c.Functions, v, decodeFunction)
		case "humans":
			decodeMap(&c.Humans, v, decodeHuman)
		}
	}
}

func decodeAgent(n *Node) *Agent {
	a := &Agent{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "name":
			a.Name = v.Value
		case "description":
			a.Description = v.Text()
		case "system_prompt":
			a.SystemPrompt = v.Text()
		case "model":
			a.Model = decodeModel(v)
		case "strategy":
			a.Strategy = decodeStrategy(v)
		case "runtime_preferences":
			a.RuntimePreferences = decodeRuntime(v)
		case "history":
			a.History = notNull(v)
		case "memory":
			a.Memory = notNull(v)
		case "guardrails":
			a.Guardrails = notNull(v)
		case "tools":
			a.Tools = decodeToolSelection(v)
		case "skills":
			a.Skills = texts(v)
		case "middleware":
			a.Middleware = texts(v)
		case "defaults":
			a.Defaults = v
		case "as_agent":
			a.AsAgent = v.Text()
		}
	}
	return a
}

func decodeModel(n *Node) *Model {
	if n.Kind == Null {
		return nil
	}
	m := &Model{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "provider":
			m.Provider = v.Value
		case "name":
			m.Name = v.Value
		case "temperature":
			m.Temperature = optFloat(v)
		case "max_tokens":
			m.MaxTokens = optInt(v)
		case "token_budget":
			m.TokenBudget = optInt(v)
		case "timeout_seconds":
			m.TimeoutSeconds = optInt(v)
		case "extra":
			m.Extra = v
		}
	}
	return m
}

func decodeStrategy(n *Node) *Strategy {
	if n.Kind == Null {
		return nil
	}
	s := &Strategy{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "type":
			s.Type = v.Value
		case "max_iterations":
			s.MaxIterations = optInt(v)
		case "stop_on_tool_error":
			s.StopOnToolError = optBool(v)
		case "parallel_tool_calls":
			s.ParallelToolCalls = optBool(v)
		}
	}
	return s
}

func decodeRuntime(n *Node) *RuntimePreferences {
	if n.Kind == Null {
		return nil
	}
	r := &RuntimePreferences{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "preferred_mode":
			r.PreferredMode = v.Text()
		case "fallback_mode":
			r.FallbackMode = v.Text()
		case "allowed_modes":
			r.AllowedModes = texts(v)
		case "native_provider":
			r.NativeProvider = v.Text()
		case "adapter_ref":
			r.AdapterRef = v.Text()
		case "bridge_provider":
			r.BridgeProvider = v.Text()
		}
	}
	return r
}

func decodeToolSelection(n *Node) *ToolSelection {
	if n.Kind == Null {
		return nil
	}
	t := &ToolSelection{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "include":
			t.Include = texts(v)
		case "exclude":
			t.Exclude = texts(v)
		case "permissions":
			t.Permissions = decodePermissions(v)
		}
	}
	return t
}

func decodePermissions(n *Node) *Permissions {
	if n.Kind == Null {
		return nil
	}
	p := &Permissions{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "allow_network":
			p.AllowNetwork = optBool(v)
		case "allow_filesystem_read":
			p.AllowFilesystemRead = optBool(v)
		case "allow_filesystem_write":
			p.AllowFilesystemWrite = optBool(v)
		case "allow_shell":
			p.AllowShell = optBool(v)
		case "allowed_domains":
			p.AllowedDomains = texts(v)
		case "denied_domains":
			p.DeniedDomains = texts(v)
		}
	}
	return p
}

func decodeFunction(n *Node) *Function {
	return &Function{
		Node: n, Implementation: n.Get("implementation").Text(),
		InputSchema: present(n, "input_schema"), OutputSchema: present(n, "output_schema"),
	}
}

func present(n *Node, key string) *Node {
	if v := n.Get(key); !v.IsNull() {
		return v
	}
	return nil
}

func decodeHuman(n *Node) *Human {
	h := &Human{Node: n, OnTimeout: OnTimeoutFail, OnReject: OnRejectContinue, RequestType: RequestApproval}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "description":
			h.Description = optText(v)
		case "assignee":
			h.Assignee = optText(v)
		case "timeout_seconds":
			h.TimeoutSeconds = optInt(v)
		case "on_timeout":
			h.OnTimeout = v.Value
		case "on_reject":
			h.OnReject = v.Value
		case "request_type":
			h.RequestType = v.Value
		case "options":
			h.Options = texts(v)
		case "default_option":
			h.DefaultOption = optText(v)
		case "context":
			h.Context = notNull(v)
		case "response_role":
			h.ResponseRole = v.Text()
		}
	}
	return h
}

func decodeTool(n *Node) *Tool {
	t := &Tool{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "description":
			t.Description = v.Value
		case "parameters":
			t.Parameters = v
		case "implementation":
			t.Implementation = v.Text()
		case "mcp":
			t.MCP = notNull(v)
		case "agent":
			t.Agent = v.Text()
		case "idempotent":
			t.Idempotent = optBool(v)
		}
	}
	return t
}

func decodeMCPServer(n *Node) *MCPServer {
	m := &MCPServer{Node: n}
	for i := range n.Entries {
		v := n.Entries[i].Value
		switch n.Entries[i].Key {
		case "transport":
			m.Transport = v.Value
		case "args":
			m.Args = texts(v)
		case "env":
			decodeMap(&m.Env, v, (*Node).Text)
		case "headers":
			decodeMap(&m.Headers, v, (*Node).Text)
		case "timeout":
			m.Timeout = optFloat(v)
		case "max_response_bytes":
			m.MaxResponseBytes = optInt(v)
		case "sse_read_timeout":
			m.SSEReadTimeout = optFloat(v)
		case "verify":
			m.Verify = optBool(v)
		}
	}
	m.Command, m.Cwd = n.Get("command").Text(), n.Get("cwd").Text()
	m.URL, m.SSEURL, m.MessageURL = n.Get("url").Text(), n.Get("sse_url").Text(), n.Get("message_url").Text()
	m.CABundle, m.ClientCert = n.Get("ca_bundle").Text(), n.Get("client_cert").Text()
	m.ClientKey, m.ClientKeyRef = n.Get("client_key").Text(), n.Get("client_key_ref").Text()
	return m
}

func decodeSkill(n *Node) *Skill {
	return &Skill{Node: n, Source: n.Get("source").Text(), Description: n.Get("description").Text()}
}

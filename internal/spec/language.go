package spec

// shape is the form a field's value must have.
type shape uint8

const (
	shapeText shape = iota
	shapeInt
	shapeFloat
	shapeBool
	shapeEnum
	shapeMap      // free mapping with string keys
	shapeTextMap  // mapping of strings
	shapeTexts    // list of strings
	shapeAny      // anything
	shapeBlock    // one block
	shapeBlocks   // list of blocks
	shapeBlockMap // mapping of names to blocks
	shapeWorkflow
	shapeWorkflowMap
)

// field is one key of a block: what the checker, the JSON Schema and the
// documentation say about it.
type field struct {
	name     string
	alias    string
	shape    shape
	required bool
	nullable bool
	// positive demands a value above zero.
	positive bool
	// path is the label of a value that must not leave its folder, or "".
	path string
	enum []string
	// block names the block of a shapeBlock, shapeBlocks or shapeBlockMap field.
	block string
	// short names the scalar or list form that normalising expands, for editors.
	short shape
	// initial is the JSON text of the default, or "".
	initial string
	doc     string
}

// block is a mapping with known keys.
type block struct {
	name   string
	doc    string
	fields []field
	index  map[string]int
}

func (b *block) field(name string) *field {
	if i, ok := b.index[name]; ok {
		return &b.fields[i]
	}
	return nil
}

// grammar is the whole language: blocks by name and workflow blocks by type.
type grammar struct {
	blocks    map[string]*block
	order     []string
	workflows map[string]*block
	types     []string
}

// language is the immutable table that checking, schema and documentation read.
var language = newGrammar()

func newGrammar() *grammar {
	g := &grammar{blocks: map[string]*block{}, workflows: map[string]*block{}}
	for _, b := range [][]*block{rootBlocks(), agentBlocks(), stepBlocks(), componentBlocks()} {
		for _, x := range b {
			g.add(x)
		}
	}
	for _, w := range workflowBlocks() {
		g.add(w)
	}
	for _, t := range [][2]string{
		{WorkflowSequential, "SequentialWorkflow"},
		{WorkflowGraph, "GraphWorkflow"},
		{WorkflowConcurrent, "ConcurrentWorkflow"},
		{WorkflowHandoff, "HandoffWorkflow"},
		{WorkflowGroupChat, "GroupChatWorkflow"},
		{"group_chat", "GroupChatWorkflow"},
	} {
		g.workflows[t[0]] = g.blocks[t[1]]
		g.types = append(g.types, t[0])
	}
	return g
}

func (g *grammar) add(b *block) {
	b.index = make(map[string]int, len(b.fields))
	for i, f := range b.fields {
		b.index[f.name] = i
		if f.alias != "" {
			b.index[f.alias] = i
		}
	}
	g.blocks[b.name] = b
	g.order = append(g.order, b.name)
}

func rootBlocks() []*block {
	return []*block{
		{name: "Spec", doc: "A spec: one root agent, optionally a workflow, and the parts they use.", fields: []field{
			{name: "version", shape: shapeEnum, enum: []string{CurrentVersion}, required: true, doc: "Version of the language."},
			{name: "metadata", shape: shapeMap, nullable: true, doc: "Free notes; environment and project may be filled in."},
			{name: "agent", shape: shapeBlock, block: "Agent", required: true, doc: "The root agent."},
			{name: "workflow", shape: shapeWorkflow, nullable: true, doc: "The root workflow."},
			{name: "components", shape: shapeBlock, block: "Components", doc: "Named parts that steps and tools refer to."},
			{name: "tools", shape: shapeBlockMap, block: "Tool", doc: "Tools that agents may include, by name."},
			{name: "mcp_servers", shape: shapeBlockMap, block: "MCPServer", doc: "MCP servers that tools may use, by name."},
			{name: "skills", shape: shapeBlockMap, block: "Skill", doc: "Skill bundles that agents may select, by name."},
			{name: "policies", shape: shapeMap, doc: "Free notes without effect."},
		}},
		{name: "Components", doc: "Named parts.", fields: []field{
			{name: "agents", shape: shapeBlockMap, block: "Agent", doc: "Agents that steps and tools refer to."},
			{name: "workflows", shape: shapeWorkflowMap, doc: "Workflows that steps and agents refer to."},
			{name: "functions", shape: shapeBlockMap, block: "Function", doc: "Functions that steps refer to."},
			{name: "humans", shape: shapeBlockMap, block: "Human", doc: "Questions to people that steps refer to."},
		}},
		{name: "Skill", doc: "A bundle of instructions on disk.", fields: []field{
			{name: "source", shape: shapeText, required: true, path: "skill source", doc: "File or folder of the bundle, relative to the spec root."},
			{name: "description", shape: shapeText, nullable: true, doc: "A note."},
		}},
	}
}

func modes() []string { return []string{ModeBridge, ModeNative, ModeAdapter} }

func agentBlocks() []*block {
	return []*block{
		{name: "Agent", doc: "A model with its instructions, tools and checks.", fields: []field{
			{name: "name", shape: shapeText, required: true, doc: "Name shown in results and traces."},
			{name: "description", shape: shapeText, nullable: true, doc: "What the agent is for."},
			{name: "system_prompt", shape: shapeText, nullable: true, doc: "Instructions for the model."},
			{name: "model", shape: shapeBlock, block: "Model", nullable: true, short: shapeText, doc: "The model, or just its name."},
			{name: "strategy", shape: shapeBlock, block: "Strategy", nullable: true, short: shapeEnum, doc: "How the agent loops, or just the type; simple by default."},
			{name: "runtime_preferences", shape: shapeBlock, block: "RuntimePreferences", nullable: true, doc: "What executes the agent."},
			{name: "history", shape: shapeMap, nullable: true, doc: "Free notes without effect."},
			{name: "memory", shape: shapeMap, nullable: true, doc: "Memory policy: policy is full, sliding_window, summary or retrieval."},
			{name: "guardrails", shape: shapeMap, nullable: true, doc: "Checks by stage: input, output, tool, workflow."},
			{name: "tools", shape: shapeBlock, block: "ToolSelection", nullable: true, short: shapeTexts, doc: "Tools the agent may use, or just the list of names."},
			{name: "skills", shape: shapeTexts, doc: "Names of declared skills."},
			{name: "middleware", shape: shapeTexts, doc: "Names without effect."},
			{name: "defaults", shape: shapeMap, doc: "Defaults of runs; append_mode is auto, never, user_only or assistant_only."},
			{name: "as_agent", shape: shapeText, nullable: true, doc: "Name of the component workflow that answers for this agent."},
		}},
		{name: "Model", doc: "A provider's model and its limits.", fields: []field{
			{name: "provider", shape: shapeText, required: true, doc: "openai, anthropic, google, ollama, dummy or a registered name."},
			{name: "name", shape: shapeText, required: true, doc: "Name of the model at the provider."},
			{name: "temperature", shape: shapeFloat, nullable: true, doc: "Sampling temperature."},
			{name: "max_tokens", shape: shapeInt, nullable: true, doc: "Most tokens of one answer."},
			{name: "token_budget", shape: shapeInt, nullable: true, positive: true, doc: "Most tokens of input and output in one run."},
			{name: "timeout_seconds", shape: shapeInt, nullable: true, doc: "Time limit of one model call."},
			{name: "extra", shape: shapeMap, doc: "Settings of the provider: base_url, api_key_ref and others."},
		}},
		{name: "Strategy", doc: "How an agent loops.", fields: []field{
			{name: "type", shape: shapeEnum, enum: []string{StrategySimple, StrategyReact, StrategyPlanAct}, required: true, doc: "Kind of loop."},
			{name: "max_iterations", shape: shapeInt, nullable: true, doc: "Most rounds of the loop; 10 by default."},
			{name: "stop_on_tool_error", shape: shapeBool, nullable: true, doc: "Whether a failed tool ends the loop."},
			{name: "parallel_tool_calls", shape: shapeBool, nullable: true, doc: "Whether tools may be called side by side."},
		}},
		{name: "RuntimePreferences", doc: "What executes an agent.", fields: []field{
			{name: "preferred_mode", shape: shapeEnum, enum: modes(), nullable: true, doc: "First choice; bridge by default."},
			{name: "fallback_mode", shape: shapeEnum, enum: modes(), nullable: true, doc: "Second choice."},
			{name: "allowed_modes", shape: shapeTexts, enum: modes(), nullable: true, doc: "The only modes that may be chosen."},
			{name: "native_provider", shape: shapeText, nullable: true, doc: "Provider of the native mode."},
			{name: "adapter_ref", shape: shapeText, nullable: true, doc: "Name of the adapter."},
			{name: "bridge_provider", shape: shapeText, nullable: true, doc: "A note without effect."},
		}},
		{name: "ToolSelection", doc: "Which tools an agent may use.", fields: []field{
			{name: "include", shape: shapeTexts, doc: "Tools that are offered; an agent without any has no tools."},
			{name: "exclude", shape: shapeTexts, doc: "Tools that are refused."},
			{name: "permissions", shape: shapeBlock, block: "Permissions", nullable: true, doc: "What the tools may do."},
		}},
		{name: "Permissions", doc: "The declared posture of an agent's tools; the domain lists are enforced at every call.", fields: []field{
			{name: "allow_network", shape: shapeBool, nullable: true, doc: "Tools use the network."},
			{name: "allow_filesystem_read", shape: shapeBool, nullable: true, doc: "Tools read files."},
			{name: "allow_filesystem_write", shape: shapeBool, nullable: true, doc: "Tools write files."},
			{name: "allow_shell", shape: shapeBool, nullable: true, doc: "Tools run commands."},
			{name: "allowed_domains", shape: shapeTexts, doc: "The only domains, with their subdomains, that arguments may name."},
			{name: "denied_domains", shape: shapeTexts, doc: "Domains that arguments must not name."},
		}},
	}
}

func stepBlocks() []*block {
	return []*block{
		{name: "Step", doc: "One unit of a workflow.", fields: []field{
			{name: "id", shape: shapeText, required: true, doc: "Name of the step within its workflow."},
			{name: "kind", shape: shapeEnum, enum: []string{StepAgent, StepFunction, StepWorkflow, StepHuman, StepGuardrail}, required: true, doc: "What ref names."},
			{name: "ref", shape: shapeText, required: true, doc: "Name of the component."},
			{name: "enabled", shape: shapeBool, initial: "true", doc: "A disabled step is left out."},
			{name: "on_error", shape: shapeEnum, enum: []string{OnErrorFail, OnErrorContinue, OnErrorRetry, OnErrorFallback}, initial: `"fail"`, doc: "What happens when the step fails."},
			{name: "fallback_ref", shape: shapeText, nullable: true, doc: "Step of this workflow that runs instead."},
			{name: "max_retries", shape: shapeInt, initial: "0", doc: "Further attempts after a failure."},
			{name: "timeout_seconds", shape: shapeInt, nullable: true, doc: "Time limit of one attempt."},
		}},
		{name: "Edge", doc: "A connection of two graph nodes.", fields: []field{
			{name: "from", alias: "from_", shape: shapeText, required: true, doc: "Node it leaves."},
			{name: "to", shape: shapeText, required: true, doc: "Node it reaches."},
			{name: "condition", shape: shapeBlock, block: "Condition", nullable: true, doc: "When it is taken; always by default."},
			{name: "label", shape: shapeText, nullable: true, doc: "Text for drawings."},
		}},
		{name: "Condition", doc: "Decides whether an edge is taken.", fields: []field{
			{name: "type", shape: shapeEnum, enum: []string{
				ConditionAlways, ConditionNever, ConditionOutputContains, ConditionOutputEquals, ConditionStatusIs,
				ConditionMetadataEquals, ConditionVariableEquals, ConditionAllOf, ConditionAnyOf, ConditionNot,
			}, required: true, doc: "Kind of test."},
			{name: "value", shape: shapeAny, nullable: true, doc: "What to compare with."},
			{name: "key", shape: shapeText, nullable: true, doc: "Metadata or variable to compare."},
			{name: "case_sensitive", shape: shapeBool, initial: "false", doc: "Whether letters must match exactly."},
			{name: "conditions", shape: shapeBlocks, block: "Condition", doc: "Parts of all_of and any_of."},
			{name: "condition", shape: shapeBlock, block: "Condition", nullable: true, doc: "Part of not."},
		}},
		{name: "Selector", doc: "The order of a handoff.", fields: []field{
			{name: "type", shape: shapeEnum, enum: []string{SelectorSequence, SelectorRoundRobin}, initial: `"sequence"`, doc: "Kind of order."},
			{name: "sequence", shape: shapeTexts, doc: "Participants in the order of their turns."},
		}},
	}
}

func workflowBlocks() []*block {
	head := func(types ...string) []field {
		return []field{
			{name: "type", shape: shapeEnum, enum: types, required: true, doc: "Kind of workflow."},
			{name: "name", shape: shapeText, nullable: true, doc: "Name shown in results; the type followed by -workflow by default."},
			{name: "description", shape: shapeText, nullable: true, doc: "What the workflow is for."},
		}
	}
	participants := field{name: "participants", shape: shapeBlocks, block: "Step", required: true, doc: "Who takes part."}
	iterations := field{name: "max_iterations", shape: shapeInt, nullable: true, doc: "Most iterations."}
	return []*block{
		{name: "SequentialWorkflow", doc: "Steps one after another.", fields: append(head(WorkflowSequential),
			field{name: "steps", shape: shapeBlocks, block: "Step", required: true, doc: "The steps in order."})},
		{name: "GraphWorkflow", doc: "Nodes connected by conditional edges.", fields: append(head(WorkflowGraph),
			field{name: "start", shape: shapeText, required: true, doc: "Node that runs first."},
			field{name: "nodes", shape: shapeBlockMap, block: "Step", required: true, doc: "The nodes; the key is the node's id."},
			field{name: "edges", shape: shapeBlocks, block: "Edge", required: true, doc: "The edges; the first that matches is taken."},
			field{name: "max_steps", shape: shapeInt, initial: "50", doc: "Most nodes that one run may visit."})},
		{name: "ConcurrentWorkflow", doc: "Participants side by side.", fields: append(head(WorkflowConcurrent), participants, iterations)},
		{name: "HandoffWorkflow", doc: "Participants in turns, each handing on to the next.", fields: append(head(WorkflowHandoff), participants,
			field{name: "selector", shape: shapeBlock, block: "Selector", doc: "The order of turns."}, iterations)},
		{name: "GroupChatWorkflow", doc: "Participants in rounds on a shared thread.", fields: append(head(WorkflowGroupChat, "group_chat"), participants,
			field{name: "rounds", shape: shapeInt, initial: "1", doc: "How often everyone speaks."}, iterations)},
	}
}

func componentBlocks() []*block {
	return []*block{
		{name: "Function", doc: "A named handler.", fields: []field{
			{name: "implementation", shape: shapeText, required: true, doc: "Registered name of the handler."},
			{name: "input_schema", shape: shapeMap, nullable: true, doc: "A note without effect."},
			{name: "output_schema", shape: shapeMap, nullable: true, doc: "A note without effect."},
		}},
		{name: "Human", doc: "A question to a person.", fields: []field{
			{name: "description", shape: shapeText, nullable: true, doc: "Title and text of the request."},
			{name: "assignee", shape: shapeText, nullable: true, doc: "Who should answer."},
			{name: "timeout_seconds", shape: shapeInt, nullable: true, doc: "When the request expires."},
			{name: "on_timeout", shape: shapeEnum, enum: []string{OnTimeoutFail, OnTimeoutContinue, OnTimeoutEscalate}, initial: `"fail"`, doc: "What happens then."},
			{name: "on_reject", shape: shapeEnum, enum: []string{OnRejectContinue, OnRejectFail}, initial: `"continue"`, doc: "What a rejection does to the run."},
			{name: "request_type", shape: shapeEnum, enum: []string{RequestApproval, RequestReview, RequestCorrection, RequestSelection, RequestFreeform}, initial: `"approval"`, doc: "Kind of request."},
			{name: "options", shape: shapeTexts, nullable: true, doc: "Answers to choose from."},
			{name: "default_option", shape: shapeText, nullable: true, doc: "The answer offered first."},
			{name: "context", shape: shapeMap, nullable: true, doc: "Further facts for the person."},
			{name: "response_role", shape: shapeEnum, enum: []string{"user", "assistant", "system"}, nullable: true, doc: "Role under which the answer joins the thread."},
		}},
		{name: "Tool", doc: "Something a model can call; exactly one of implementation, mcp and agent backs it.", fields: []field{
			{name: "description", shape: shapeText, required: true, doc: "What the tool does, for the model."},
			{name: "parameters", shape: shapeMap, doc: "JSON Schema of the arguments."},
			{name: "implementation", shape: shapeText, nullable: true, doc: "Registered name of the handler."},
			{name: "mcp", shape: shapeMap, nullable: true, doc: "MCP backing: server, and name when the remote name differs."},
			{name: "agent", shape: shapeText, nullable: true, doc: "Component agent that answers the call."},
			{name: "idempotent", shape: shapeBool, nullable: true, doc: "false: a call that may have happened is never repeated without asking."},
		}},
		{name: "MCPServer", doc: "Where MCP tools live.", fields: mcpFields()},
	}
}

func mcpFields() []field {
	const label = "MCP server path"
	return []field{
		{name: "transport", shape: shapeEnum, enum: []string{TransportStdio, TransportHTTP, TransportSSE}, required: true, doc: "How to reach it."},
		{name: "command", shape: shapeText, nullable: true, doc: "Program of a stdio server."},
		{name: "args", shape: shapeTexts, doc: "Arguments of the program."},
		{name: "env", shape: shapeTextMap, nullable: true, doc: "Environment of the program."},
		{name: "cwd", shape: shapeText, nullable: true, path: label, doc: "Working folder of the program."},
		{name: "url", shape: shapeText, nullable: true, doc: "Address of an http server."},
		{name: "sse_url", shape: shapeText, nullable: true, doc: "Address of the event stream."},
		{name: "message_url", shape: shapeText, nullable: true, doc: "Address for messages of an sse server."},
		{name: "headers", shape: shapeTextMap, nullable: true, doc: "Headers of every request."},
		{name: "timeout", shape: shapeFloat, nullable: true, doc: "Time limit of a request in seconds."},
		{name: "max_response_bytes", shape: shapeInt, nullable: true, doc: "Largest response."},
		{name: "sse_read_timeout", shape: shapeFloat, nullable: true, doc: "Time limit between two events in seconds."},
		{name: "verify", shape: shapeBool, nullable: true, doc: "false turns the certificate check off."},
		{name: "ca_bundle", shape: shapeText, nullable: true, path: label, doc: "File of trusted authorities."},
		{name: "client_cert", shape: shapeText, nullable: true, path: label, doc: "File of the client certificate."},
		{name: "client_key", shape: shapeText, nullable: true, path: label, doc: "File of the client key."},
		{name: "client_key_ref", shape: shapeText, nullable: true, doc: "Secret that holds the client key; wins over client_key."},
	}
}

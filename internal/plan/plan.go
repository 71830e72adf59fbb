// Package plan holds the compiled form of a spec: everything the engine, the agent loop and the graph views read, with every reference
// resolved and every default filled in. A Plan is plain data, serialises to JSON, and is named by the digest of the frozen inputs it was
// compiled from. It imports only the standard library.
package plan

import "encoding/json"

// Version is the format of a serialised Plan; a stored plan of another version is compiled again from its snapshot.
const Version = 1

// Kind is the shape of a workflow.
type Kind string

// Workflow kinds as named in specs and metadata ("group-chat" with a hyphen).
const (
	Sequential Kind = "sequential"
	Graph      Kind = "graph"
	Concurrent Kind = "concurrent"
	Handoff    Kind = "handoff"
	GroupChat  Kind = "group-chat"
)

// StepKind is what a step does.
type StepKind string

// Step kinds. A guardrail step runs an agent.
const (
	StepAgent     StepKind = "agent"
	StepFunction  StepKind = "function"
	StepWorkflow  StepKind = "workflow"
	StepHuman     StepKind = "human"
	StepGuardrail StepKind = "guardrail"
)

// Plan is a compiled spec.
type Plan struct {
	FormatVersion int    `json:"format_version"`
	SpecVersion   string `json:"spec_version"`
	// Root is the root agent.
	Root *Agent `json:"root"`
	// Workflow is the root workflow, or nil.
	Workflow *Workflow `json:"workflow,omitempty"`
	// Agents, Workflows, Functions, Tools, Servers and Humans are by component name.
	Agents    map[string]*Agent     `json:"agents,omitempty"`
	Workflows map[string]*Workflow  `json:"workflows,omitempty"`
	Functions map[string]*Function  `json:"functions,omitempty"`
	Tools     map[string]*Tool      `json:"tools,omitempty"`
	Servers   map[string]*MCPServer `json:"mcp_servers,omitempty"`
	Humans    map[string]*Human     `json:"humans,omitempty"`
	// AgentOrder lists component agents in build order (spec-language.md §7.2).
	AgentOrder []string `json:"agent_order,omitempty"`
	// StepGuardrails are the root agent's workflow-stage guardrails; they check the output of every step of every workflow (decision X6).
	StepGuardrails []Guardrail `json:"step_guardrails,omitempty"`
}

// Workflow is one compiled workflow; disabled steps and the edges that touch them are already gone.
type Workflow struct {
	// Name has its default filled in.
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Kind        Kind   `json:"kind"`
	// Steps are the enabled steps, nodes or participants in declared order.
	Steps []Step `json:"steps"`
	// Start, Edges and MaxSteps belong to graphs.
	Start    string `json:"start,omitempty"`
	Edges    []Edge `json:"edges,omitempty"`
	MaxSteps int64  `json:"max_steps,omitempty"`
	// Selector ("sequence" or "round_robin") and Sequence belong to handoff.
	Selector string   `json:"selector,omitempty"`
	Sequence []string `json:"sequence,omitempty"`
	// Rounds belongs to group chat.
	Rounds int64 `json:"rounds,omitempty"`
	// MaxIterations clamps handoff turns; nil means no clamp.
	MaxIterations *int64 `json:"max_iterations,omitempty"`
}

// Step is one enabled step. For graphs ID is the node's key.
type Step struct {
	ID   string   `json:"id"`
	Kind StepKind `json:"kind"`
	// Ref is the component name in the map of the kind.
	Ref string `json:"ref"`
	// OnError is fail, continue, retry or fallback.
	OnError string `json:"on_error"`
	// Fallback is the id of an enabled step of the same workflow, or empty.
	Fallback   string `json:"fallback,omitempty"`
	MaxRetries int64  `json:"max_retries,omitempty"`
	// TimeoutSeconds is per attempt; nil or ≤ 0 means none.
	TimeoutSeconds *int64 `json:"timeout_seconds,omitempty"`
}

// Edge of a graph. Edges of a node are tried in declared order; the first that matches is followed.
type Edge struct {
	From      string     `json:"from"`
	To        string     `json:"to"`
	Label     *string    `json:"label,omitempty"`
	Condition *Condition `json:"condition,omitempty"`
}

// Condition of an edge (spec-language.md §2.8).
type Condition struct {
	Type          string          `json:"type"`
	Value         json.RawMessage `json:"value,omitempty"`
	Key           string          `json:"key,omitempty"`
	CaseSensitive bool            `json:"case_sensitive,omitempty"`
	Conditions    []Condition     `json:"conditions,omitempty"`
	Condition     *Condition      `json:"condition,omitempty"`
}

// Runtime says how an agent reaches its model (decision X4).
type Runtime struct {
	// Mode is bridge or native as shown in metadata (runtime_mode), or sdk for an agent that a workflow backs.
	Mode string `json:"mode"`
	// Provider is dummy, openai, anthropic, google, ollama or another name with a base URL.
	Provider string `json:"provider"`
	// BaseURL, APIKeyRef and APIKey come from model.extra. APIKeyRef names an environment variable.
	BaseURL   string `json:"base_url,omitempty"`
	APIKeyRef string `json:"api_key_ref,omitempty"`
	// HasInlineKey says that model.extra.api_key is set; the key itself is read from the snapshot's inputs at call time and never stored in a plan.
	HasInlineKey bool `json:"has_inline_key,omitempty"`
}

// Agent is one compiled agent.
type Agent struct {
	// Name is the display and trace name.
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Component is the key under components.agents, or empty for the root agent.
	Component string `json:"component,omitempty"`
	// SystemPrompt is the agent's prompt followed by its skills' instructions.
	SystemPrompt string  `json:"system_prompt,omitempty"`
	Runtime      Runtime `json:"runtime"`
	// Model is the model name, or empty for the provider's default.
	Model       string   `json:"model,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	MaxTokens   *int64   `json:"max_tokens,omitempty"`
	// TokenBudget bounds input plus output tokens of one run of the agent; nil means the deployment's.
	TokenBudget    *int64          `json:"token_budget,omitempty"`
	TimeoutSeconds *float64        `json:"timeout_seconds,omitempty"`
	Extra          json.RawMessage `json:"extra,omitempty"`
	// Strategy is simple, react or plan-act.
	Strategy string `json:"strategy"`
	// MaxIterations is the loop limit with its default filled in (10).
	MaxIterations int64 `json:"max_iterations"`
	// FailOnMaxIterations makes a call that reaches the limit a failure; a skill's defaults can ask for it.
	FailOnMaxIterations bool  `json:"fail_on_max_iterations,omitempty"`
	StopOnToolError     bool  `json:"stop_on_tool_error,omitempty"`
	ParallelToolCalls   *bool `json:"parallel_tool_calls,omitempty"`
	// Tools are the visible tool names in declared order (include minus exclude).
	Tools []string `json:"tools,omitempty"`
	// Include and Exclude are as declared, for the name gate.
	Include     []string     `json:"include,omitempty"`
	Exclude     []string     `json:"exclude,omitempty"`
	Permissions *Permissions `json:"permissions,omitempty"`
	// SkillTools are tools that strict skills offer to the model; no handler exists for them.
	SkillTools []SkillTool `json:"skill_tools,omitempty"`
	Memory     *Memory     `json:"memory,omitempty"`
	Input      []Guardrail `json:"input_guardrails,omitempty"`
	Output     []Guardrail `json:"output_guardrails,omitempty"`
	ToolResult []Guardrail `json:"tool_guardrails,omitempty"`
	// AppendMode is auto, never, user_only or assistant_only: what of a call joins the agent's history.
	AppendMode string `json:"append_mode"`
	// AsAgent names the workflow that backs this agent, or is empty.
	AsAgent string `json:"as_agent,omitempty"`
}

// Permissions of an agent's tools. Nil booleans are undeclared.
type Permissions struct {
	AllowNetwork         *bool    `json:"allow_network,omitempty"`
	AllowFilesystemRead  *bool    `json:"allow_filesystem_read,omitempty"`
	AllowFilesystemWrite *bool    `json:"allow_filesystem_write,omitempty"`
	AllowShell           *bool    `json:"allow_shell,omitempty"`
	AllowedDomains       []string `json:"allowed_domains,omitempty"`
	DeniedDomains        []string `json:"denied_domains,omitempty"`
}

// SkillTool is a tool declaration inside a skill.
type SkillTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// Memory is an agent's memory policy (spec-language.md §2.4).
type Memory struct {
	// Policy is full, sliding_window, summary or retrieval.
	Policy                 string `json:"policy"`
	MaxMessages            int64  `json:"max_messages,omitempty"`
	PreserveSystemMessages bool   `json:"preserve_system_messages,omitempty"`
	TopK                   int64  `json:"top_k,omitempty"`
	// Summarizer and Retriever are resolved references.
	Summarizer *Ref `json:"summarizer,omitempty"`
	Retriever  *Ref `json:"retriever,omitempty"`
}

// Ref is a resolved component reference.
type Ref struct {
	// Bucket is agents, functions, tools, workflows or humans.
	Bucket string `json:"bucket"`
	Name   string `json:"name"`
}

// Guardrail is one check (spec-language.md §2.5).
type Guardrail struct {
	ID string `json:"id"`
	// Type is keyword, regex, function or agent.
	Type   string `json:"type"`
	Action string `json:"action"`
	Ref    *Ref   `json:"ref,omitempty"`
	// Keywords and Patterns belong to their types.
	Keywords []string `json:"keywords,omitempty"`
	Patterns []string `json:"patterns,omitempty"`
}

// Function is a component function, a name in the handler registry (decision X10).
type Function struct {
	Name string `json:"name"`
	// Implementation is the registry key, "pkg.mod.name".
	Implementation string `json:"implementation"`
}

// Tool is a declared tool with exactly one backing.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	// Implementation is a registry key; Server and RemoteName are an MCP tool; Agent is a component agent.
	Implementation string `json:"implementation,omitempty"`
	Server         string `json:"server,omitempty"`
	RemoteName     string `json:"remote_name,omitempty"`
	Agent          string `json:"agent,omitempty"`
	// Idempotent is false when the spec says that a cut-off call must not be repeated (decision X18); default true.
	Idempotent bool `json:"idempotent"`
	// IdempotentDeclared says that the spec itself decided; otherwise an MCP annotation may say that a call must not be repeated.
	IdempotentDeclared bool `json:"idempotent_declared,omitempty"`
}

// MCPServer is a declared MCP server. Secret values are references, resolved at the first call.
type MCPServer struct {
	Name             string            `json:"name"`
	Transport        string            `json:"transport"`
	Command          string            `json:"command,omitempty"`
	Args             []string          `json:"args,omitempty"`
	Env              map[string]string `json:"env,omitempty"`
	Cwd              string            `json:"cwd,omitempty"`
	URL              string            `json:"url,omitempty"`
	SSEURL           string            `json:"sse_url,omitempty"`
	MessageURL       string            `json:"message_url,omitempty"`
	Headers          map[string]string `json:"headers,omitempty"`
	TimeoutSeconds   *float64          `json:"timeout_seconds,omitempty"`
	MaxResponseBytes *int64            `json:"max_response_bytes,omitempty"`
	SSEReadTimeout   *float64          `json:"sse_read_timeout,omitempty"`
	Verify           *bool             `json:"verify,omitempty"`
	CABundle         string            `json:"ca_bundle,omitempty"`
	ClientCert       string            `json:"client_cert,omitempty"`
	ClientKey        string            `json:"client_key,omitempty"`
	ClientKeyRef     string            `json:"client_key_ref,omitempty"`
}

// Human is a human component with defaults filled in (spec-language.md §2.9).
type Human struct {
	Name           string          `json:"name"`
	Title          string          `json:"title"`
	Prompt         string          `json:"prompt"`
	Assignee       *string         `json:"assignee,omitempty"`
	TimeoutSeconds *int64          `json:"timeout_seconds,omitempty"`
	OnTimeout      string          `json:"on_timeout"`
	RequestType    string          `json:"request_type"`
	Options        []string        `json:"options,omitempty"`
	HasOptions     bool            `json:"has_options,omitempty"`
	DefaultOption  *string         `json:"default_option,omitempty"`
	Context        json.RawMessage `json:"context,omitempty"`
	ResponseRole   *string         `json:"response_role,omitempty"`
	// OnReject is "" (go on with the rejection text) or "fail" (decision X8).
	OnReject string `json:"on_reject,omitempty"`
}

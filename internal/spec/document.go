package spec

// Document is a spec that passed the schema: typed, normalised, in declaration
// order. A nil *Node stands for an absent or null free-form block. Text fields
// that are "" were absent, null or empty, which the language treats alike;
// fields where the difference shows are pointers.
type Document struct {
	// Root is the normalised tree the document was read from.
	Root       *Node
	Version    string
	Metadata   *Node
	Agent      *Agent
	Workflow   *Workflow
	Components Components
	Tools      OrderedMap[*Tool]
	MCPServers OrderedMap[*MCPServer]
	Skills     OrderedMap[*Skill]
	// Policies is free-form and has no effect.
	Policies *Node
}

// Environment returns metadata.environment when it is a string.
func (d *Document) Environment() string { return d.Metadata.Get("environment").Text() }

// Components are the named parts that steps and tools refer to.
type Components struct {
	Agents    OrderedMap[*Agent]
	Workflows OrderedMap[*Workflow]
	Functions OrderedMap[*Function]
	Humans    OrderedMap[*Human]
}

// Agent is a model with its instructions, tools and checks.
type Agent struct {
	Node               *Node
	Name               string
	Description        string
	SystemPrompt       string
	Model              *Model
	Strategy           *Strategy
	RuntimePreferences *RuntimePreferences
	History            *Node
	Memory             *Node
	Guardrails         *Node
	Tools              *ToolSelection
	Skills             []string
	Middleware         []string
	Defaults           *Node
	AsAgent            string
}

// AppendMode returns defaults.append_mode: auto, never, user_only,
// assistant_only, or "" when it is not set.
func (a *Agent) AppendMode() string { return a.Defaults.Get("append_mode").Text() }

// Model names a provider's model and its limits.
type Model struct {
	Node           *Node
	Provider       string
	Name           string
	Temperature    *float64
	MaxTokens      *int
	TokenBudget    *int
	TimeoutSeconds *int
	Extra          *Node
}

// The strategies of an agent.
const (
	StrategySimple  = "simple"
	StrategyReact   = "react"
	StrategyPlanAct = "plan-act"
)

// Strategy is how an agent loops.
type Strategy struct {
	Node              *Node
	Type              string
	MaxIterations     *int
	StopOnToolError   *bool
	ParallelToolCalls *bool
}

// The runtime modes.
const (
	ModeBridge  = "bridge"
	ModeNative  = "native"
	ModeAdapter = "adapter"
)

// RuntimePreferences choose what executes an agent.
type RuntimePreferences struct {
	Node           *Node
	PreferredMode  string
	FallbackMode   string
	AllowedModes   []string
	NativeProvider string
	AdapterRef     string
	BridgeProvider string
}

// ToolSelection is which tools an agent may use.
type ToolSelection struct {
	Node        *Node
	Include     []string
	Exclude     []string
	Permissions *Permissions
}

// Permissions are the declared posture of an agent's tools; only the domain
// lists are enforced per call.
type Permissions struct {
	Node                 *Node
	AllowNetwork         *bool
	AllowFilesystemRead  *bool
	AllowFilesystemWrite *bool
	AllowShell           *bool
	AllowedDomains       []string
	DeniedDomains        []string
}

// The kinds of steps.
const (
	StepAgent     = "agent"
	StepFunction  = "function"
	StepWorkflow  = "workflow"
	StepHuman     = "human"
	StepGuardrail = "guardrail"
)

// What a step does when it fails.
const (
	OnErrorFail     = "fail"
	OnErrorContinue = "continue"
	OnErrorRetry    = "retry"
	OnErrorFallback = "fallback"
)

// Step is one unit of a workflow: a sequential step, a graph node or an
// orchestration participant.
type Step struct {
	Node           *Node
	ID             string
	Kind           string
	Ref            string
	Enabled        bool
	OnError        string
	FallbackRef    string
	MaxRetries     int
	TimeoutSeconds *int
}

// The types of workflows. WorkflowGroupChat is also spelled group_chat in files.
const (
	WorkflowSequential = "sequential"
	WorkflowGraph      = "graph"
	WorkflowConcurrent = "concurrent"
	WorkflowHandoff    = "handoff"
	WorkflowGroupChat  = "group-chat"
)

// Workflow is one of the five workflow types; only the fields of its Type are set.
type Workflow struct {
	Node        *Node
	Type        string
	Name        string
	Description string

	// Steps of a sequential workflow.
	Steps []*Step

	// Start, Nodes, Edges and MaxSteps of a graph. The key of Nodes is the node's id.
	Start    string
	Nodes    OrderedMap[*Step]
	Edges    []*Edge
	MaxSteps int

	// Participants of concurrent, handoff and group-chat workflows.
	Participants  []*Step
	MaxIterations *int
	// Selector of a handoff.
	Selector Selector
	// Rounds of a group chat.
	Rounds int
}

// DisplayName returns the name or the default name of the type.
func (w *Workflow) DisplayName() string {
	if w.Name != "" {
		return w.Name
	}
	return w.Type + "-workflow"
}

// AllSteps returns the steps, nodes or participants in declaration order.
func (w *Workflow) AllSteps() []*Step {
	switch w.Type {
	case WorkflowSequential:
		return w.Steps
	case WorkflowGraph:
		return w.Nodes.items
	default:
		return w.Participants
	}
}

// The selector types of a handoff.
const (
	SelectorSequence   = "sequence"
	SelectorRoundRobin = "round_robin"
)

// Selector orders the turns of a handoff.
type Selector struct {
	Type     string
	Sequence []string
}

// Edge connects two graph nodes.
type Edge struct {
	Node      *Node
	From      string
	To        string
	Condition *Condition
	Label     *string
}

// The condition types.
const (
	ConditionAlways         = "always"
	ConditionNever          = "never"
	ConditionOutputContains = "output_contains"
	ConditionOutputEquals   = "output_equals"
	ConditionStatusIs       = "status_is"
	ConditionMetadataEquals = "metadata_equals"
	ConditionVariableEquals = "variable_equals"
	ConditionAllOf          = "all_of"
	ConditionAnyOf          = "any_of"
	ConditionNot            = "not"
)

// Condition decides whether an edge is taken.
type Condition struct {
	Node          *Node
	Type          string
	Value         *Node
	Key           string
	CaseSensitive bool
	Conditions    []*Condition
	Condition     *Condition
}

// Function is a named handler.
type Function struct {
	Node           *Node
	Implementation string
	InputSchema    *Node
	OutputSchema   *Node
}

// The types of human requests.
const (
	RequestApproval   = "approval"
	RequestReview     = "review"
	RequestCorrection = "correction"
	RequestSelection  = "selection"
	RequestFreeform   = "freeform"
)

// What becomes of a human task that nobody answered in time.
const (
	OnTimeoutFail     = "fail"
	OnTimeoutContinue = "continue"
	OnTimeoutEscalate = "escalate"
)

// What becomes of a run whose human task was rejected.
const (
	OnRejectContinue = "continue"
	OnRejectFail     = "fail"
)

// Human is a question to a person.
type Human struct {
	Node           *Node
	Description    *string
	Assignee       *string
	TimeoutSeconds *int
	OnTimeout      string
	// OnReject is continue unless the component says fail.
	OnReject      string
	RequestType   string
	Options       []string
	DefaultOption *string
	Context       *Node
	// ResponseRole is user, assistant, system or "".
	ResponseRole string
}

// Tool is something a model can call. Exactly one of Implementation, MCP and
// Agent is set in a valid spec.
type Tool struct {
	Node           *Node
	Description    string
	Parameters     *Node
	Implementation string
	MCP            *Node
	Agent          string
	// Idempotent is nil when the spec does not say; false means that a call
	// which may have happened must not be repeated without asking.
	Idempotent *bool
}

// MCPServerName returns mcp.server when it is a string.
func (t *Tool) MCPServerName() string { return t.MCP.Get("server").Text() }

// MCPToolName returns the remote name of an MCP tool, by default the local one.
func (t *Tool) MCPToolName(local string) string {
	if name := t.MCP.Get("name").Text(); name != "" {
		return name
	}
	return local
}

// The MCP transports.
const (
	TransportStdio = "stdio"
	TransportHTTP  = "http"
	TransportSSE   = "sse"
)

// MCPServer is where MCP tools live.
type MCPServer struct {
	Node             *Node
	Transport        string
	Command          string
	Args             []string
	Env              OrderedMap[string]
	Cwd              string
	URL              string
	SSEURL           string
	MessageURL       string
	Headers          OrderedMap[string]
	Timeout          *float64
	MaxResponseBytes *int
	SSEReadTimeout   *float64
	Verify           *bool
	CABundle         string
	ClientCert       string
	ClientKey        string
	ClientKeyRef     string
}

// Skill is a bundle of instructions on disk.
type Skill struct {
	Node        *Node
	Source      string
	Description string
}

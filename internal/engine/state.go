package engine

import (
	"encoding/json"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// KindAgent is the kind of the frame that runs one agent without a workflow around it.
const KindAgent plan.Kind = "agent"

// Phase is where a step instance stands.
type Phase string

// Phases of a step instance.
const (
	PhaseRun    Phase = "run"
	PhaseNested Phase = "nested"
	PhaseCheck  Phase = "check"
	PhaseGate   Phase = "gate"
	PhaseAsk    Phase = "ask"
	PhaseDone   Phase = "done"
	PhaseFailed Phase = "failed"
)

// State is everything a run needs to go on. It serialises to JSON; results applied in journal order rebuild it.
type State struct {
	// Target is "agent" or "workflow"; Input is the text the run was created with.
	Target string `json:"target"`
	Input  string `json:"input"`
	// Leg counts executions of the run: 1 for the first, one more for every answered task and every continuation.
	Leg  int    `json:"leg"`
	Root *Frame `json:"root,omitempty"`
	// Counts are the iteration counters by "<step>|<node>".
	Counts map[string]int64 `json:"counts,omitempty"`
	// Closed names steps and nodes that have a completed event already, by "<step>|<node>".
	Closed map[string]bool `json:"closed,omitempty"`
	// Histories are the agents' own conversations of this leg, by component name.
	Histories map[string][]run.Message `json:"histories,omitempty"`
	Usage     *run.Usage               `json:"usage,omitempty"`
	// Status is empty while the run goes on, then completed, failed or max_iterations.
	Status   run.Status    `json:"status,omitempty"`
	Output   string        `json:"output,omitempty"`
	Messages []run.Message `json:"messages,omitempty"`
	Failure  *Failure      `json:"failure,omitempty"`
	// Agent is the result of the run's single agent, or nil for workflows.
	Agent *AgentResult `json:"agent,omitempty"`

	events []Event
}

// New returns the state of a run that has not begun.
func New(target, input string) *State {
	return &State{Target: target, Input: input, Leg: 1}
}

// Frame is one workflow in progress.
type Frame struct {
	// Workflow is the component name, empty for the root.
	Workflow string    `json:"workflow,omitempty"`
	Kind     plan.Kind `json:"kind"`
	// Path prefixes the keys of the frame's steps.
	Path string `json:"path,omitempty"`
	// Start is the key of the trace event that opened the frame in this leg.
	Start  string        `json:"start"`
	Thread []run.Message `json:"thread,omitempty"`
	// Turn is the index of the running step (sequential) or turn (handoff, group chat).
	Turn int `json:"turn,omitempty"`
	// Taken counts node executions of a graph.
	Taken int64 `json:"taken,omitempty"`
	// Visited are the finished steps, LegSteps those of this leg.
	Visited  []string `json:"visited,omitempty"`
	LegSteps []string `json:"leg_steps,omitempty"`
	// LegTurns are the model's turns in this leg, nested workflows included; a function counts as one.
	LegTurns int64 `json:"leg_turns,omitempty"`
	// Instances counts executions per step id.
	Instances map[string]int `json:"instances,omitempty"`
	Active    []*Active      `json:"active,omitempty"`
	// Termination says why a graph ended.
	Termination string `json:"termination,omitempty"`
	// HumanOutput is the text of the last step when it was a person's.
	HumanOutput *string `json:"human_output,omitempty"`
	// Status and Failure tell the enclosing step that a nested frame has ended.
	Status  run.Status `json:"status,omitempty"`
	Failure *Failure   `json:"failure,omitempty"`
	// NoTrace hides the frame's trace events; NoSteps its step events (workflows behind an agent).
	NoTrace bool `json:"no_trace,omitempty"`
	NoSteps bool `json:"no_steps,omitempty"`
}

// Active is one step instance.
type Active struct {
	// Step is the id of the step; Target is the id whose target runs: the step itself or its fallback.
	Step   string `json:"step"`
	Target string `json:"target"`
	// Instance numbers executions of the step in its frame; Attempt counts all tries of the instance; Tries those since the last fresh start.
	Instance int `json:"instance"`
	Attempt  int `json:"attempt"`
	Tries    int `json:"tries"`
	// Key names the current attempt.
	Key   string `json:"key"`
	Input string `json:"input"`
	Phase Phase  `json:"phase"`
	Child *Frame `json:"child,omitempty"`
	// Messages is the thread handed to an agent.
	Messages []run.Message `json:"messages,omitempty"`
	Out      *Outcome      `json:"out,omitempty"`
	Failure  *Failure      `json:"failure,omitempty"`
	// Reason is the error that a fallback or a continued step covers.
	Reason *Failure `json:"reason,omitempty"`
	// TaskID is the human task of an open gate, once it is opened.
	TaskID string `json:"task_id,omitempty"`
	Ask    *Ask   `json:"ask,omitempty"`
	// Asks counts questions about cut-off calls.
	Asks int `json:"asks,omitempty"`
}

// Outcome is a step's result before it joins the conversation.
type Outcome struct {
	Output string `json:"output"`
	// Messages is the result's own thread; nil for functions.
	Messages []run.Message `json:"messages,omitempty"`
	// Status is "completed", or "failed" for a step continued after a failure.
	Status string `json:"status"`
	// Meta is what metadata_equals conditions see.
	Meta map[string]json.RawMessage `json:"meta,omitempty"`
	// Function, Human and Continued tell how the outcome joins the thread.
	Function  bool `json:"function,omitempty"`
	Human     bool `json:"human,omitempty"`
	Continued bool `json:"continued,omitempty"`
	// Leg is the leg that began with this answer of a person, or 0.
	Leg int `json:"leg,omitempty"`
	// Role is the response role of a human step, or empty.
	Role string `json:"role,omitempty"`
	// MaxedOut tells that a nested workflow ended at its cap.
	MaxedOut bool `json:"maxed_out,omitempty"`
	// Agent is the component whose history the result extends, or empty.
	Agent string `json:"agent,omitempty"`
	// Append is the agent's append mode.
	Append string `json:"append,omitempty"`
	// AgentResult is kept for a run that is one agent.
	AgentResult *AgentResult `json:"agent_result,omitempty"`
}

// Failure is why an attempt, a step or a run failed.
type Failure struct {
	// Type is one of the failure types of internal/run; Message is for people.
	Type    string `json:"type"`
	Message string `json:"message"`
	// Code is the wire code when the failure keeps its own status in a response (decision W4), or empty.
	Code string `json:"code,omitempty"`
	// Violation is the violation_type of a guardrail or tool policy, or empty.
	Violation string `json:"violation,omitempty"`
	// Retry says that another attempt may help; Abort that no error policy may swallow the failure.
	Retry bool `json:"retry,omitempty"`
	Abort bool `json:"abort,omitempty"`
	// Scope is the key of the enclosing step whose time limit passed, or empty.
	Scope string `json:"scope,omitempty"`
}

// AgentResult is what an agent returned. The thread is kept as the number of request messages it begins with and the messages added.
type AgentResult struct {
	Output      string          `json:"output"`
	Keep        int             `json:"keep"`
	Add         []run.Message   `json:"add,omitempty"`
	MaxedOut    bool            `json:"maxed_out,omitempty"`
	Iterations  int64           `json:"iterations"`
	RuntimeMode string          `json:"runtime_mode,omitempty"`
	RuntimeName string          `json:"runtime_name,omitempty"`
	Plan        *string         `json:"plan,omitempty"`
	Memory      json.RawMessage `json:"memory,omitempty"`
	Guardrails  json.RawMessage `json:"guardrails,omitempty"`
}

// Decision answers a gate.
type Decision struct {
	Decision       string          `json:"decision"`
	Content        *string         `json:"content,omitempty"`
	SelectedOption *string         `json:"selected_option,omitempty"`
	RequestID      string          `json:"request_id,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
}

// Ask is the question whether a cut-off call happened (decision X18).
type Ask struct {
	// CallKey is the journal key of the call; Name the tool; Arguments what it was called with.
	CallKey   string          `json:"call_key"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
}

// Result is the outcome of one action, as journaled. Key names the action; exactly one of the other parts is set, Usage may join them.
type Result struct {
	Key      string       `json:"key"`
	Agent    *AgentResult `json:"agent,omitempty"`
	Output   *string      `json:"output,omitempty"`
	Decision *Decision    `json:"decision,omitempty"`
	Ask      *Ask         `json:"ask,omitempty"`
	Err      *Failure     `json:"err,omitempty"`
	Usage    *run.Usage   `json:"usage,omitempty"`
}

// Events returns what happened since the last call, in order.
func (s *State) Events() []Event {
	e := s.events
	s.events = nil
	return e
}

func (s *State) emit(e Event) { s.events = append(s.events, e) }

package engine

import (
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// ActionKind says what the runner has to do.
type ActionKind string

// Kinds of actions.
const (
	RunAgent    ActionKind = "run_agent"
	RunFunction ActionKind = "run_function"
	CheckStep   ActionKind = "check_step"
	OpenGate    ActionKind = "open_gate"
	AskPerson   ActionKind = "ask_person"
	Done        ActionKind = "done"
	Fail        ActionKind = "fail"
)

// Action is one thing to do. Its Key comes back in the Result.
type Action struct {
	Kind ActionKind
	Key  string
	// Step is the id of the step; Node is true when it is a graph node.
	Step string
	Node bool
	// Agent is the agent to run and Messages its thread.
	Agent    *plan.Agent
	Messages []run.Message
	// Function is the function to call.
	Function *plan.Function
	// Input is the step's input; for CheckStep the text to check, for OpenGate the text under review.
	Input string
	// TimeoutSeconds limits the attempt; nil means no limit. Scopes are the limits of enclosing steps, outermost first.
	TimeoutSeconds *int64
	Scopes         []Scope
	// Gate describes an OpenGate or AskPerson action.
	Gate *Gate
}

// Scope is the time limit of an enclosing step's attempt.
type Scope struct {
	Key            string
	TimeoutSeconds int64
}

// Gate describes a pause for a person.
type Gate struct {
	// Human is the component, nil for a question about a cut-off call.
	Human *plan.Human
	Ask   *Ask
	// TaskID is set once the task exists.
	TaskID string
	// Kind is the kind of the workflow that pauses; Workflow its name; Start the key of its opening trace event.
	Kind     plan.Kind
	Workflow string
	Start    string
	// Index is the position of the step in a sequential workflow.
	Index   int
	Visited []string
	// Thread is the conversation a reviewer sees.
	Thread []run.Message
	// Remaining are the turns still to run (handoff, group chat); Order and Deltas belong to concurrent.
	Remaining []string
	Order     []string
	Deltas    map[string][]run.Message
}

// EventKind names something that happened inside the engine.
type EventKind string

// Kinds of events.
const (
	WorkflowStarted   EventKind = "workflow_started"
	WorkflowResumed   EventKind = "workflow_resumed"
	WorkflowCompleted EventKind = "workflow_completed"
	WorkflowFailed    EventKind = "workflow_failed"
	AgentStarted      EventKind = "run_started"
	AgentCompleted    EventKind = "run_completed"
	AgentFailed       EventKind = "run_failed"
	StepEntered       EventKind = "step_entered"
	StepCompleted     EventKind = "step_completed"
	StepFailed        EventKind = "step_failed"
	HumanResumed      EventKind = "human_resumed"
	StepRetrying      EventKind = "step_retrying"
)

// Event is one thing that happened. The runner turns it into trace events, checkpoints and live events.
type Event struct {
	Kind EventKind
	// Key is stable for the event; Parent is the key of the event that opened the span, or empty.
	Key, Parent string
	// Workflow and WorkflowKind name the frame's workflow; Agent is the agent's display name.
	Workflow     string
	WorkflowKind plan.Kind
	Agent        string
	// Step is the id; Node tells that it is a graph node. Index is the position in a sequential root workflow, else -1.
	Step  string
	Node  bool
	Index int
	// Nested tells that the frame is not the root.
	Nested        bool
	Input, Output string
	// Iteration is the counter of a step event.
	Iteration int64
	Visited   []string
	Failure   *Failure
	// MessageCount belongs to agent events.
	MessageCount int
	// StartIndex, StepCount, StartNode and MaxSteps belong to workflow events; StartNode may be empty.
	StartIndex  int
	StepCount   int
	StartNode   string
	MaxSteps    int64
	Termination string
	// TaskID is the task that a HumanResumed event answers.
	TaskID string
}

// Package guardrails proves that guardrails and tool policies hold wherever an agent can run: every rule in every stage in every kind of workflow, each
// with the attempts to get around it.
package guardrails

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/run"
)

type object = map[string]any

// obedient is a model that does what the last message says: "call <tool> <arguments>" calls a tool, whatever the agent may use, "search" uses
// web_search when it is offered, and everything else is repeated. It delegates to a tool named ask, and reviews as told.
type obedient struct{}

// Name implements llm.Provider.
func (obedient) Name() string { return "obedient" }

// Complete implements llm.Provider.
func (obedient) Complete(_ context.Context, r *llm.Request) (*llm.Response, error) {
	last := r.Messages[len(r.Messages)-1]
	offers := func(name string) bool {
		for _, t := range r.Tools {
			if t.Name == name {
				return true
			}
		}
		return false
	}
	call := func(name, arguments string) (*llm.Response, error) {
		return &llm.Response{Text: "calling", ToolCalls: []run.ToolCall{{ID: "c1", Name: name, Arguments: json.RawMessage(arguments)}}}, nil
	}
	text := last.Content
	switch {
	case strings.HasPrefix(text, "You review the payload below."):
		if strings.Contains(text, "leak") {
			return &llm.Response{Text: "It leaks."}, nil
		}
		return &llm.Response{Text: "PASS"}, nil
	case last.Role == llm.RoleTool:
		return &llm.Response{Text: "found " + text}, nil
	case offers("ask"):
		arguments, err := json.Marshal(map[string]string{"input": text})
		if err != nil {
			return nil, err
		}
		return call("ask", string(arguments))
	case strings.HasPrefix(text, "call "):
		name, arguments, _ := strings.Cut(strings.TrimPrefix(text, "call "), " ")
		return call(name, arguments)
	case offers("web_search") && strings.Contains(text, "search"):
		arguments, err := json.Marshal(map[string]string{"query": text})
		if err != nil {
			return nil, err
		}
		return call("web_search", string(arguments))
	}
	return &llm.Response{Text: "said " + text}, nil
}

// kind builds a spec in which the agent "x" runs, with after it the function step "bracket" where a kind has a place for it. The attempt to get around
// a refusal is in the step: it is retried and continued.
type kind struct {
	name string
	// after says that bracket runs when x was let through.
	after bool
	// resumes says that the run waits for a person, whose answer x gets.
	resumes bool
	// reviews says that x judges another agent's text, and refuses unless it answers PASS.
	reviews bool
	build   func(spec object)
}

func step(id, what, ref string) object { return object{"id": id, "kind": what, "ref": ref} }

// stubborn is the step of the guarded agent.
func stubborn(what, ref string) object {
	s := step("x", what, ref)
	s["on_error"], s["max_retries"] = "continue", 2
	return s
}

func components(spec object) object { return spec["components"].(object) }

var bracket = step("z", "function", "bracket")

// kinds are all places where an agent runs. Each takes the guarded agent from components.agents.x.
var kinds = []kind{
	{name: "sequential", after: true, build: func(spec object) {
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("agent", "x"), bracket}}
	}},
	{name: "guardrail step", after: true, build: func(spec object) {
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("guardrail", "x"), bracket}}
	}},
	{name: "graph", after: true, build: func(spec object) {
		spec["workflow"] = object{
			"type": "graph", "start": "x", "nodes": object{"x": stubborn("agent", "x"), "z": bracket},
			"edges": []any{object{"from": "x", "to": "z"}},
		}
	}},
	{name: "fallback", after: true, build: func(spec object) {
		broken := step("f", "function", "fail")
		broken["on_error"], broken["fallback_ref"] = "fallback", "x"
		spec["workflow"] = object{
			"type": "graph", "start": "f", "nodes": object{"f": broken, "x": step("x", "agent", "x"), "z": bracket},
			"edges": []any{object{"from": "f", "to": "z"}, object{"from": "x", "to": "z"}},
		}
	}},
	{name: "concurrent", build: func(spec object) {
		spec["workflow"] = object{"type": "concurrent", "participants": []any{stubborn("agent", "x"), step("y", "function", "upper")}}
	}},
	{name: "handoff", after: true, build: func(spec object) {
		spec["workflow"] = object{"type": "handoff", "participants": []any{stubborn("agent", "x"), bracket}}
	}},
	{name: "group chat", after: true, build: func(spec object) {
		spec["workflow"] = object{"type": "group-chat", "rounds": 1, "participants": []any{stubborn("agent", "x"), bracket}}
	}},
	{name: "nested workflow", after: true, build: func(spec object) {
		components(spec)["workflows"] = object{"inner": object{"type": "sequential", "steps": []any{stubborn("agent", "x")}}}
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("workflow", "inner"), bracket}}
	}},
	{name: "nested concurrent", after: true, build: func(spec object) {
		components(spec)["workflows"] = object{"inner": object{"type": "concurrent", "participants": []any{stubborn("agent", "x")}}}
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("workflow", "inner"), bracket}}
	}},
	{name: "workflow as agent", after: true, build: func(spec object) {
		components(spec)["workflows"] = object{"inner": object{"type": "sequential", "steps": []any{stubborn("agent", "x")}}}
		components(spec)["agents"].(object)["team"] = object{"name": "team", "as_agent": "inner"}
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("agent", "team"), bracket}}
	}},
	{name: "agent as tool", after: true, build: func(spec object) {
		spec["tools"].(object)["ask"] = object{"description": "d", "agent": "x"}
		components(spec)["agents"].(object)["boss"] = object{"name": "boss", "model": "kit", "strategy": "react", "tools": []any{"ask"}}
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("agent", "boss"), bracket}}
	}},
	{name: "workflow as tool", after: true, build: func(spec object) {
		components(spec)["workflows"] = object{"inner": object{"type": "sequential", "steps": []any{stubborn("agent", "x")}}}
		spec["tools"].(object)["ask"] = object{"description": "d", "agent": "team"}
		agents := components(spec)["agents"].(object)
		agents["team"] = object{"name": "team", "as_agent": "inner"}
		agents["boss"] = object{"name": "boss", "model": "kit", "strategy": "react", "tools": []any{"ask"}}
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("agent", "boss"), bracket}}
	}},
	{name: "workflow as reviewer", reviews: true, build: func(spec object) {
		components(spec)["workflows"] = object{"inner": object{"type": "sequential", "steps": []any{stubborn("agent", "x")}}}
		agents := components(spec)["agents"].(object)
		agents["team"] = object{"name": "team", "as_agent": "inner"}
		agents["boss"] = object{"name": "boss", "model": "kit", "guardrails": object{"output": []any{object{"id": "r", "type": "agent", "ref": "team"}}}}
		spec["workflow"] = object{"type": "sequential", "steps": []any{stubborn("agent", "boss"), bracket}}
	}},
	{name: "after a person", after: true, resumes: true, build: func(spec object) {
		spec["workflow"] = object{"type": "sequential", "steps": []any{step("h", "human", "h"), stubborn("agent", "x"), bracket}}
	}},
}

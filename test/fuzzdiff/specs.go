package main

import (
	"maps"
	"slices"
	"strconv"
)

// spec makes a valid spec.
func (s *session) spec() object {
	spec := object{"version": "v1", "agent": s.agent("root", 60)}
	if s.chance(10) {
		spec["metadata"] = object{"team": "a", "n": 1}
	}
	if s.chance(75) {
		spec["components"] = s.components()
		spec["workflow"] = s.workflow(true)
	}
	if s.chance(6) {
		spec["tools"] = object{"web": object{"description": "d", "agent": "a"}}
	}
	if s.chance(4) {
		spec["policies"] = object{"x": s.value(2)}
	}
	return spec
}

func (s *session) agent(name string, plain int) object {
	a := object{"name": name}
	if s.chance(plain) {
		return a
	}
	if s.chance(40) {
		a["system_prompt"] = "Be brief."
	}
	if s.chance(30) {
		a["strategy"] = pick[any](s, "simple", "react", "plan-act", object{"type": "react", "max_iterations": 3})
	}
	if s.chance(30) {
		a["model"] = pick[any](s, "m", object{"provider": "dummy", "name": "m"}, object{"provider": "dummy", "name": "m", "temperature": 0.5, "max_tokens": 100})
	}
	if s.chance(30) {
		a["memory"] = pick[any](s, object{"policy": "full"}, object{"policy": "sliding_window", "max_messages": 2}, object{})
	}
	if s.chance(25) {
		a["guardrails"] = object{pick(s, "input", "output"): []any{s.guardrail()}}
	}
	if s.chance(15) {
		a["runtime_preferences"] = pick[any](s, object{"preferred_mode": "bridge"}, object{"allowed_modes": []any{"bridge"}}, object{})
	}
	if s.chance(15) {
		a["defaults"] = object{"append_mode": pick(s, "auto", "never", "user_only", "assistant_only")}
	}
	return a
}

func (s *session) guardrail() object {
	if s.chance(50) {
		return object{"id": "kw", "type": "keyword", "config": object{"keywords": []any{"forbidden", "secret"}}}
	}
	return object{"id": "rx", "type": "regex", "action": pick(s, "block", "warn"), "config": object{"patterns": []any{pick(s, "forbidden", `sea\b`, "^$", "h.llo")}}}
}

func (s *session) components() object {
	c := object{
		"agents": object{"a": s.agent("a", 70), "b": s.agent("b", 70), "c": s.agent("c", 70)},
		"humans": object{"h": s.human()},
	}
	if s.chance(25) {
		inner := s.workflow(false)
		c["workflows"] = object{"inner": inner}
	}
	return c
}

func (s *session) human() object {
	h := object{"description": "Check"}
	if s.chance(30) {
		h["request_type"] = pick(s, "approval", "review", "correction", "selection", "freeform")
		h["options"] = pick[any](s, []any{"left", "right"}, nil)
	}
	if s.chance(20) {
		h["assignee"] = "alice"
	}
	if s.chance(15) {
		h["response_role"] = pick(s, "user", "assistant", "system")
	}
	if s.chance(15) {
		h["context"] = object{"note": "n"}
	}
	return h
}

func (s *session) step(id string, nested bool) object {
	step := object{"id": id, "kind": "agent", "ref": pick(s, "a", "b", "c")}
	switch {
	case s.chance(15):
		step["kind"], step["ref"] = "human", "h"
	case nested && s.chance(8):
		step["kind"], step["ref"] = "workflow", "inner"
	}
	if s.chance(10) {
		step["on_error"] = pick(s, "fail", "continue", "retry")
	}
	if s.chance(8) {
		step["max_retries"] = s.rng.IntN(3)
	}
	if s.chance(5) {
		step["enabled"] = s.chance(50)
	}
	if s.chance(5) {
		step["timeout_seconds"] = 30
	}
	return step
}

func (s *session) steps(nested bool) []any {
	var out []any
	for i := range 1 + s.rng.IntN(3) {
		out = append(out, s.step("s"+strconv.Itoa(i), nested))
	}
	return out
}

func (s *session) workflow(nested bool) object {
	w := object{}
	if s.chance(70) {
		w["name"] = "flow"
	}
	switch s.rng.IntN(6) {
	case 0, 1:
		w["type"], w["steps"] = "sequential", s.steps(nested)
		if nested && s.chance(15) {
			w["steps"] = []any{"a", "b"}
		}
	case 2:
		s.graph(w, nested)
	case 3:
		w["type"], w["participants"] = "concurrent", s.steps(nested)
	case 4:
		w["type"], w["participants"] = "handoff", s.steps(nested)
		if s.chance(50) {
			w["selector"] = pick[any](s, object{"type": "sequence", "sequence": []any{"s0"}}, object{"type": "round_robin"}, object{"type": "sequence", "sequence": []any{"s0", "s0"}})
		}
	default:
		w["type"], w["participants"], w["rounds"] = pick(s, "group-chat", "group_chat"), s.steps(nested), 1+s.rng.IntN(2)
	}
	return w
}

func (s *session) graph(w object, nested bool) {
	n := 1 + s.rng.IntN(4)
	nodes, edges := object{}, []any{}
	for i := range n {
		id := "n" + strconv.Itoa(i)
		nodes[id] = s.step(id, nested)
		if i+1 < n {
			edge := object{"from": id, "to": "n" + strconv.Itoa(i+1)}
			if s.chance(40) {
				edge["condition"] = s.condition(2)
			}
			if s.chance(20) {
				edge["label"] = "next"
			}
			edges = append(edges, edge)
		}
	}
	w["type"], w["start"], w["nodes"], w["edges"] = "graph", "n0", nodes, edges
	if s.chance(20) {
		w["max_steps"] = pick(s, 1, 2, 10)
	}
}

func (s *session) condition(depth int) object {
	switch n := s.rng.IntN(8); {
	case n == 0:
		return object{"type": "never"}
	case n == 1:
		return object{"type": "output_contains", "value": pick(s, "hello", "Final", "sea"), "case_sensitive": s.chance(50)}
	case n == 2:
		return object{"type": "status_is", "value": pick(s, "completed", "failed")}
	case n == 3:
		return object{"type": "metadata_equals", "key": "agent_name", "value": pick[any](s, "a", "b", 1, true, nil)}
	case n == 4:
		return object{"type": "variable_equals", "key": "x", "value": 1}
	case n == 5 && depth > 0:
		return object{"type": pick(s, "all_of", "any_of"), "conditions": []any{s.condition(depth - 1), s.condition(depth - 1)}}
	case n == 6 && depth > 0:
		return object{"type": "not", "condition": s.condition(depth - 1)}
	}
	return object{"type": "always"}
}

// value makes any JSON value.
func (s *session) value(depth int) any {
	if depth > 0 && s.chance(30) {
		return pick[any](s, []any{s.value(depth - 1)}, object{"k": s.value(depth - 1)}, []any{}, object{})
	}
	return pick[any](s, nil, true, false, 0, 1, -1, 1.5, 1e30, big, "", "text", "1", "true", " v1", "ü")
}

// place is where a value hangs in a document.
type place struct {
	parent object
	key    string
}

// places lists the members of all objects of a document in a stable order.
func places(v any, into []place) []place {
	switch v := v.(type) {
	case object:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			into = append(into, place{v, k})
			into = places(v[k], into)
		}
	case []any:
		for _, e := range v {
			into = places(e, into)
		}
	}
	return into
}

// damage changes one place of a spec.
func (s *session) damage(spec object) {
	all := places(spec, nil)
	at := all[s.rng.IntN(len(all))]
	switch s.rng.IntN(6) {
	case 0:
		delete(at.parent, at.key)
	case 1, 2:
		at.parent[at.key] = s.value(2)
	case 3:
		at.parent[pick(s, "extra", "Name", "x-y", "")] = s.value(1)
	case 4:
		other := all[s.rng.IntN(len(all))]
		at.parent[at.key] = copied(other.parent[other.key])
	default:
		if text, ok := at.parent[at.key].(string); ok {
			at.parent[at.key] = text + pick(s, "x", " ", "_", "0")
		} else {
			at.parent[at.key+"s"] = at.parent[at.key]
			delete(at.parent, at.key)
		}
	}
}

// copied keeps a document a tree when one part of it is put into another.
func copied(v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for k, e := range v {
			out[k] = copied(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copied(e)
		}
		return out
	}
	return v
}

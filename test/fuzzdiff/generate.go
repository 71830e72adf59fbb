package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

type object = map[string]any

// cases makes the next few chains.
func (s *session) cases() []chain {
	spec := s.spec()
	if s.chance(40) {
		s.damage(spec)
	}
	if s.chance(8) {
		s.damage(spec)
	}
	switch s.rng.IntN(20) {
	case 0, 1, 2, 3, 4:
		return []chain{s.toolchain(spec)}
	case 5, 6, 7, 8, 9:
		return []chain{s.history(spec)}
	case 10, 11:
		return []chain{s.broken(spec)}
	case 12:
		return []chain{s.listing()}
	case 13:
		return []chain{s.keyed(spec)}
	case 14, 15:
		return []chain{s.filtered()}
	case 16:
		return []chain{s.governed(spec)}
	case 17:
		return []chain{s.method()}
	case 18:
		return []chain{pick(s, s.inventory(), s.bundle(spec))}
	default:
		return []chain{s.unknown()}
	}
}

func (s *session) chance(percent int) bool { return s.rng.IntN(100) < percent }

func pick[T any](s *session, options ...T) T { return options[s.rng.IntN(len(options))] }

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // values are made here
	}
	return string(b)
}

func (s *session) prefix() string { return pick(s, "/v1", "/v1", "") }

// toolchain asks everything about a spec that runs nothing.
func (s *session) toolchain(spec object) chain {
	body := object{"spec": spec}
	if s.chance(15) {
		body["overrides"] = s.overrides()
	}
	if s.chance(10) {
		body["environment"] = pick[any](s, "prod", "", nil, 3)
	}
	if s.chance(5) {
		body[pick(s, "target", "extra", "strict")] = s.value(1)
	}
	var c chain
	for _, what := range []string{"validate", "compile", "explain", "graph", "policy-report"} {
		c = append(c, request{Method: "POST", Path: s.prefix() + "/specs/" + what, Body: encode(body)})
	}
	return []request{pick(s, c...), pick(s, c...)}
}

func (s *session) overrides() object {
	return pick(s,
		object{"agent": object{"name": "other"}}, object{"agent": nil}, object{"workflow": nil}, object{"metadata": object{"a": 1}},
		object{"workflow": object{"name": "renamed"}}, object{"version": "v0"}, object{"components": object{"__delete__": true}},
		object{"agent": object{"strategy": "react"}}, object{"nothing": object{"__delete__": true}},
	)
}

func (s *session) input() string {
	return pick(s, "hello", "", "Write a text about the sea", "search the sea", "forbidden words", "ünïcödé \u2028 text", strings.Repeat("long ", 300),
		"password=hunter2 is secret", "call +49 170 1234567 or mail a@b.example", "line\nbreak\ttab")
}

func (s *session) creation(spec object) object {
	body := object{"input": s.input(), "spec": spec}
	if s.chance(30) {
		body["target"] = pick(s, "agent", "workflow")
	}
	if s.chance(20) {
		body["session_id"] = pick[any](s, "s-1", "", nil)
	}
	if s.chance(20) {
		body["metadata"] = pick[any](s, object{"ticket": "T-1", "n": 1.5, "deep": object{"list": []any{1, "a", nil, true}}}, object{"password": "x", "token_count": 3}, object{})
	}
	if s.chance(10) {
		body["overrides"] = s.overrides()
	}
	if s.chance(10) {
		body["skills"] = pick[any](s, object{"add": []any{"x"}}, object{"disable": []any{"x"}}, nil, object{"other": 1})
	}
	if s.chance(10) {
		body["environment"] = pick[any](s, "prod", "dev", "")
	}
	return body
}

// history runs a spec and reads everything about the run.
func (s *session) history(spec object) chain {
	c := chain{{Method: "POST", Path: s.prefix() + pick(s, "/runs", "/specs/run"), Body: encode(s.creation(spec))}}
	reads := []string{
		"", "/checkpoints", "/trace", "/graph", "/recovery", "/replay", "/policy-report", "/checkpoints/diff", "/checkpoints?type=run_started",
		"/checkpoints/diff?from_sequence=1&to_sequence=2", "/trace?event_type=agent_started", "/trace?limit=1&offset=1", "/checkpoints?sort_order=desc",
	}
	s.rng.Shuffle(len(reads), func(i, j int) { reads[i], reads[j] = reads[j], reads[i] })
	for _, below := range reads[:1+s.rng.IntN(4)] {
		c = append(c, request{Method: "GET", Path: "/v1/runs/{run}" + below})
	}
	if s.chance(60) {
		c = append(c, s.answer())
	}
	switch s.rng.IntN(4) {
	case 0:
		c = append(c, request{Method: "POST", Path: "/v1/runs/{run}/cancel"})
	case 1:
		c = append(c, request{Method: "POST", Path: "/v1/runs/{run}/continue"})
	}
	return append(c, request{Method: "GET", Path: "/v1/runs/{run}" + pick(s, "", "/checkpoints", "/recovery")})
}

// answer decides a human task, which exists only when the run is blocked.
func (s *session) answer() request {
	body := object{"request_id": "{request}", "decision": pick(s, "approved", "rejected", "answered", "selected", "edited")}
	if s.chance(50) {
		body["content"] = pick[any](s, "my words", "", nil)
	}
	if s.chance(20) {
		body["selected_option"] = pick[any](s, "left", "right", nil)
	}
	if s.chance(10) {
		body[pick(s, "decision", "request_id", "metadata", "extra")] = s.value(1)
	}
	return request{Method: "POST", Path: "/v1/human-tasks/{task}/resume", Body: encode(body)}
}

// broken is a request whose body is not what it should be.
func (s *session) broken(spec object) chain {
	path := s.prefix() + pick(s, "/runs", "/specs/run", "/specs/validate", "/specs/compile", "/human-tasks/none/resume")
	body := s.creation(spec)
	for range 1 + s.rng.IntN(3) {
		switch key := pick(s, slices.Sorted(maps.Keys(body))...); s.rng.IntN(3) {
		case 0:
			delete(body, key)
		case 1:
			body[key] = s.value(1)
		default:
			body[pick(s, "x", "async", "timeout", "inputs")] = s.value(1)
		}
		if len(body) == 0 {
			break
		}
	}
	text := encode(body)
	switch s.rng.IntN(8) {
	case 0:
		text = text[:s.rng.IntN(len(text)+1)]
	case 1:
		text = s.odd()
	case 2:
		text = pick(s, "", "null", "[]", "1", `"text"`, "{", "{}", "{]", "tru", "\x00", `{"input":"a"`, `[1,2`)
	}
	r := request{Method: "POST", Path: path, Body: text}
	if s.chance(10) {
		r.Header = map[string]string{"Content-Type": pick(s, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", "application/vnd.x+json")}
	}
	return chain{r}
}

// listing reads a list with parameters, good and bad.
func (s *session) listing() chain {
	path := s.prefix() + pick(s, "/runs", "/runs", "/human-tasks", "/audit-events", "/skills")
	values := []string{"", "1", "0", "-1", "2", "x", "100000", "desc", "asc", "updated_at", "created_at", "id", "status", "true", "false", "2026-01-01", "2026-01-01T00:00:00Z", "1.5", "%00", "null"}
	names := []string{"limit", "offset", "sort_by", "sort_order", "status", "workflow_kind", "workflow_name", "has_error", "created_after", "created_before", "q", "event_type", "nope", "Limit"}
	// A status that no run has keeps the lists of both servers equal.
	query := []string{map[bool]string{true: "session_id=none", false: "run_id=none"}[strings.HasSuffix(path, "/runs")]}
	if strings.HasSuffix(path, "/skills") {
		query = nil
	}
	for range s.rng.IntN(4) {
		query = append(query, pick(s, names...)+"="+pick(s, values...))
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return chain{{Method: "GET", Path: path}}
}

// keyed repeats a request under one key.
func (s *session) keyed(spec object) chain {
	key := fmt.Sprintf("key-%d", s.rng.Uint64())
	if s.chance(20) {
		key = pick(s, key+strings.Repeat("k", 256-len(key)), strings.Repeat("k", 257), " "+key+" ", " ")
	}
	body := s.creation(spec)
	header := map[string]string{"Idempotency-Key": key}
	path := s.prefix() + pick(s, "/runs", "/specs/run")
	first := request{Method: "POST", Path: path, Header: header, Body: encode(body)}
	second := first
	if s.chance(40) {
		body["input"] = "another input"
		second.Body = encode(body)
	}
	return chain{first, second}
}

// unknown asks for what does not exist.
func (s *session) unknown() chain {
	id := pick(s, "none", "00000000-0000-4000-8000-000000000000", "a%20b", "ü", strings.Repeat("x", 300))
	below := pick(s, "", "/checkpoints", "/trace", "/graph", "/recovery", "/replay", "/policy-report", "/checkpoints/diff", "/nothing")
	switch s.rng.IntN(5) {
	case 0:
		return chain{{Method: "POST", Path: s.prefix() + "/runs/" + id + pick(s, "/cancel", "/continue")}}
	case 1:
		return chain{{Method: "POST", Path: s.prefix() + "/human-tasks/" + id + "/resume", Body: encode(object{"request_id": "r", "decision": "approved"})}}
	case 2:
		return chain{{Method: pick(s, "DELETE", "PUT", "PATCH", "POST"), Path: s.prefix() + "/runs/" + id + below}}
	case 3:
		return chain{{Method: "GET", Path: pick(s, "/nothing", "/v1", "/v1/", "/v2/runs", "/v1/runs/", "/v1/specs/validate", "/healthz", "/livez", "/v1/healthz", "/RUNS", "//runs")}}
	default:
		return chain{{Method: "GET", Path: s.prefix() + "/runs/" + id + below}}
	}
}

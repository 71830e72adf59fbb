package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// filtered makes a few runs in a session of their own and lists them, their tasks and what was recorded about them.
func (s *session) filtered() chain {
	name := fmt.Sprintf("session-%d", s.rng.Uint64())
	var c chain
	for range 1 + s.rng.IntN(3) {
		body := s.creation(s.spec())
		body["session_id"] = name
		c = append(c, request{Method: "POST", Path: "/v1/runs", Body: encode(body)})
	}
	paths := []string{"/v1/runs?session_id=" + name, "/v1/human-tasks?run_id={run}", "/v1/audit-events?run_id={run}", "/v1/audit-events?session_id=" + name}
	for range 1 + s.rng.IntN(3) {
		path := pick(s, paths...)
		for range s.rng.IntN(3) {
			path += "&" + pick(s, "limit=1", "limit=2", "offset=1", "offset=10000", "sort_order=asc", "sort_order=desc", "sort_by=created_at", "sort_by=status", "sort_by=nothing", "sort_by=",
				"sort_by=metadata.caller_metadata.ticket", "status=completed", "status=blocked", "status=failed", "workflow_kind=agent", "workflow_kind=workflow", "workflow_name=flow",
				"agent_name=root", "has_error=true", "event_type=run.create", "action=run.create", "outcome=success", "environment=prod", "state=pending")
		}
		c = append(c, request{Method: "GET", Path: path})
	}
	return c
}

// governed stores a policy of an environment, reads it back, and runs a spec there.
func (s *session) governed(spec object) chain {
	name := fmt.Sprintf("env-%d", s.rng.Uint64())
	path := s.prefix() + "/policies/environment/" + name
	c := chain{{Method: "PUT", Path: path, Body: encode(s.policy())}}
	switch s.rng.IntN(4) {
	case 0:
		c = append(c, request{Method: "GET", Path: path})
	case 1:
		c = append(c, request{Method: "POST", Path: path + "/preview", Body: encode(s.policy())})
	case 2:
		c = append(c, request{Method: "PUT", Path: path, Body: encode(s.policy())})
	}
	body := s.creation(spec)
	body["environment"] = name
	c = append(c, request{Method: "POST", Path: s.prefix() + pick(s, "/runs", "/specs/run"), Body: encode(body)})
	about := encode(object{"spec": spec, "environment": name})
	c = append(c, request{Method: "POST", Path: "/v1/specs/" + pick(s, "compile", "explain", "graph", "policy-report", "validate"), Body: about})
	return append(c, request{Method: "POST", Path: path + "/preview", Body: encode(s.policy())})
}

func (s *session) policy() object {
	p := object{}
	for _, field := range []string{"enabled", "fail_on_warnings", "require_human_review", "require_tool_permissions", "deny_unrestricted_tools", "require_guardrails"} {
		if s.chance(25) {
			p[field] = s.chance(70)
		}
	}
	if s.chance(25) {
		p["blocked_diagnostic_codes"] = pick[any](s, []any{}, []any{"W_UNUSED"}, []any{"E_SCHEMA", "W_X"}, nil, "W_X")
	}
	if s.chance(10) {
		p[pick(s, "enabled", "extra", "require_guardrails")] = s.value(1)
	}
	return p
}

// method asks a route with a method that it may not have.
func (s *session) method() chain {
	path := s.prefix() + pick(s, "/runs", "/runs/none", "/runs/none/trace", "/specs/validate", "/specs/run", "/human-tasks", "/human-tasks/none/resume", "/healthz", "/readyz", "/skills",
		"/policies/environment", "/policies/environment/none", "/security/credentials", "/audit-events", "/nothing")
	return chain{{Method: pick(s, "HEAD", "OPTIONS", "TRACE", "PATCH", "DELETE", "PUT"), Path: path}}
}

// inventory asks for credentials.
func (s *session) inventory() chain {
	path := s.prefix() + "/security/credentials"
	var query []string
	for range s.rng.IntN(4) {
		query = append(query, pick(s, "providers=openai", "providers=my-own", "providers=a,b", "providers=", "extras=SOME_VARIABLE", "extras=", "include_service_tokens=false",
			"include_service_tokens=0", "include_service_tokens=maybe", "nope=1"))
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return chain{{Method: "GET", Path: path}}
}

// bundle sends a document that looks like a signed bundle and is none.
func (s *session) bundle(spec object) chain {
	b := object{
		"kind": "kneo.spec.bundle", "spec": spec, "digest": object{"algorithm": "SHA256", "value": strings.Repeat("0", 64)},
		"signature": object{"algorithm": "HMAC-SHA256", "key_id": "KNEO_SERV_SPEC_SIGNING_KEY", "value": strings.Repeat("0", 64)}, "metadata": object{},
	}
	s.damage(b)
	return chain{{Method: "POST", Path: s.prefix() + "/specs/" + pick(s, "validate", "compile", "run"), Body: encode(object{"spec": b, "input": "x"})}}
}

// doubled repeats a key of a request.
const doubled = `"input":"twice",`

// odd makes requests that are JSON for some readers only, and numbers that few can hold.
func (s *session) odd() string {
	return "{" + pick(s, doubled, `"metadata":{"n":NaN},`, `"metadata":{"n":-Infinity},`, `"metadata":{"n":123456789012345678901234567890},`, `"metadata":{"n":1e400},`,
		`"metadata":{"n":-0.0},`, `"metadata":{"s":"\ud800"},`, `"metadata":{"s":"\u0000"},`, `"metadata":{"":{"":[]}},`, `"metadata":{"n":01},`, `"metadata":{"n":1.0},`, ",", "\ufeff") +
		`"input":"x","spec":{"version":"v1","agent":{"name":"r"}}}`
}

// big is a number beyond 64 bits.
const big = json.Number("123456789012345678901234567890")

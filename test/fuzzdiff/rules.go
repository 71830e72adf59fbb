package main

import (
	"regexp"
	"strings"
)

// listLike finds something else where a list belongs; the reference walks over the characters of a text or the keys of a map, and takes false for
// nothing.
var listLike = line(`"(steps|participants|input|output)":[^\[n]`)

// notJSON finds numbers that JSON has not.
var notJSON = line(`\b(NaN|Infinity)\b`)

// unshowable is what the reference says when its own answer cannot be written.
var unshowable = line(`codec can't (de|en)code|Out of range float values`)

// badVersion is a version that is a list or a map.
var badVersion = line(`"version":[\[{]`)

// badConfig is a configuration of a guardrail that is none.
var badConfig = line(`"config":[^{]|"(patterns|keywords)":(\[[^"\]]|[^\[])`)

var stepID = regexp.MustCompile(`"id":"([^"]*)"`)

var agentRef = regexp.MustCompile(`"kind":"agent"[^{}]*"ref":"([^"]*)"`)

// repeatedIDs tells whether two steps of a spec, in different workflows, have the same id.
func repeatedIDs(x exchange) bool { return repeats(stepID, x.spec) }

// sharedAgents tells whether two steps of a spec run the same agent.
func sharedAgents(x exchange) bool { return repeats(agentRef, x.spec) }

// repeats tells whether the group of an expression matches the same text twice.
func repeats(e *regexp.Regexp, text string) bool {
	seen := map[string]bool{}
	for _, found := range e.FindAllStringSubmatch(text, -1) {
		if seen[found[1]] {
			return true
		}
		seen[found[1]] = true
	}
	return false
}

// rules are tried together: an answer is explained when every difference in it is explained by one of them.
var rules = []rule{
	// Requests and their refusals.
	{source: "W4", says: "a run that failed in a step is answered with the run", when: func(x exchange) bool {
		return internalError(x) && x.ours.status == 200 && runStatus(x.ours) == "failed"
	}},
	{source: "W6", says: "what cannot be built is an invalid spec", when: all(internalError, says(400, "spec_invalid"))},
	{source: "W6", says: "a version that is no text is refused", when: all(internalError, says(400, "invalid_request"), func(x exchange) bool { return badVersion.MatchString(x.spec) })},
	{source: "W6", says: "a spec that cannot be read has diagnostics", when: all(internalError, below("/specs/"), func(x exchange) bool {
		return x.ours.status == 200 && strings.Contains(string(x.ours.raw), `"severity":"error"`)
	})},
	{source: "ADR 0039", says: "a count beyond 64 bits is refused", when: all(specHas(string(big)), func(x exchange) bool {
		return strings.Contains(string(x.ours.raw), `"E_SCHEMA"`) && !strings.Contains(string(x.theirs.raw), `"E_SCHEMA"`)
	})},
	{source: "W14", says: "a run that cannot continue says so", when: all(internalError, says(409, "run_state_conflict"))},
	{source: "W14", says: "every failed run whose journal allows it can continue", when: all(internalError, below("/continue"), func(x exchange) bool { return x.ours.status == 200 })},
	{source: "X2", says: "several participants may wait for people", when: all(internalError, specHas(`"type":"concurrent"`), func(x exchange) bool {
		return x.ours.status == 200 && strings.Count(x.spec, `"kind":"human"`) > 1
	})},
	{source: "W5", says: "an invalid spec is refused before a run is stored", when: all(statuses(202, 400), says(400, "spec_invalid"))},
	{source: "W6", says: "a reference that leads nowhere is an invalid spec", when: all(statuses(404, 400), says(400, "spec_invalid"))},
	{source: "W6", says: "what cannot be built is refused before it runs", when: func(x exchange) bool {
		return x.theirs.status != 400 && x.ours.status == 400 && strings.Contains(detail(x.ours), "E_BUILD_")
	}},
	{source: "W6", says: "an invalid spec has diagnostics, however it is found out", when: all(both(400), func(x exchange) bool {
		return code(x.ours) == "spec_invalid" || strings.Contains(detail(x.ours), "E_BUILD_")
	}), lines: line(`^\.detail\.(error|diagnostics)`)},
	{source: "X4", says: "a provider that does not exist is refused", when: all(says(400, "spec_invalid"), func(x exchange) bool { return strings.Contains(detail(x.ours), "E_BUILD_RUNTIME") })},
	{source: "X6", says: "guardrails that cannot be built are refused", when: refused("E_BUILD_GUARDRAIL")},
	{source: "W4", says: "an error of the run's own settings is in the run", when: func(x exchange) bool {
		return statuses(400, 200)(x) && strings.Contains(string(x.ours.raw), "RunConfig.")
	}},
	{source: "W4", says: "an answer with an error of the run is kept under its key", when: func(x exchange) bool {
		return x.Header["Idempotency-Key"] != "" && x.theirs.status != 409 && code(x.ours) == "idempotency_key_conflict"
	}},
	{source: "W4", says: "a guardrail, a budget and a missing secret name their run", lines: line(`^\.detail\.run_id: absent, ours "<id>"$`)},
	{source: "W10", says: "an unknown run is not found", when: all(below("/checkpoints"), says(404, "not_found"), func(x exchange) bool { return x.theirs.status == 200 || x.theirs.status == 400 })},
	{source: "W13", says: "a human step at the end completes the run", when: all(below("/resume"), func(x exchange) bool { return x.theirs.status >= 400 && x.ours.status == 200 })},
	{source: "W16", says: "repeated keys and numbers that JSON has not are refused", when: func(x exchange) bool {
		return x.ours.status == 422 && strings.Contains(string(x.ours.raw), `"json_invalid"`) && (notJSON.MatchString(x.Body) || strings.Contains(x.Body, doubled))
	}},
	{source: "W18", says: "positions in broken JSON are the parser's own", lines: line(`^\.detail\[0\]\.loc\[1\]: \d+, ours \d+$`)},
	{source: "W18", says: "diagnostics have a position", lines: line(`\.(line|column): absent, ours (\d+|null)$`)},
	{source: "W22", says: "a blank key is refused", when: func(x exchange) bool {
		key, ok := x.Header["Idempotency-Key"]
		return ok && strings.TrimSpace(key) == "" && x.ours.status == 400
	}},
	{source: "ADR 0039", says: "what is no list is no list of steps", when: func(x exchange) bool {
		return listLike.MatchString(x.spec) && (strings.Contains(string(x.ours.raw), "E_SCHEMA") && !strings.Contains(string(x.theirs.raw), "E_SCHEMA") || strings.Contains(string(x.theirs.raw), "E_GUARDRAIL_FIELDS"))
	}},
	{source: "ADR 0039", says: "a body that is no JSON is refused for that, whatever its bytes are", when: func(x exchange) bool {
		return statuses(400, 422)(x) && unshowable.MatchString(string(x.theirs.raw)) && x.ours.body != nil
	}},
	{source: "ADR 0039", says: "ids of any length are looked up", when: all(internalError, says(404, "not_found"), func(x exchange) bool { return len(x.Path) > 300 })},
	{source: "ADR 0012", says: "a bundle is read wherever a spec is", when: specHas(`"kind":"kneo.spec.bundle"`)},
	{source: "W5", says: "what cannot be compiled is refused before the environment is asked", when: all(statuses(403, 400), says(400, "invalid_request", "spec_invalid"), func(x exchange) bool {
		return code(x.theirs) == "environment_policy_blocked"
	})},
	{source: "ADR 0039", says: "an agent with an empty name runs", when: all(internalError, specHas(`"name":""`), func(x exchange) bool { return x.ours.status < 500 })},
	{source: "W6", says: "what a run does not use is not built", when: all(internalError, func(x exchange) bool { return x.ours.status == 200 && badConfig.MatchString(x.spec) })},

	{source: "X4", says: "the inventory names the providers there are", when: below("/security/credentials"), lines: line(`^\.inventory\.providers\.`)},

	// A run and what it says.
	{source: "W1", says: "a queued run says queued", lines: line(`\bstatus: "running", ours "queued"$`)},
	{source: "W9", says: "session ids are shown", lines: line(`session_id: "\[REDACTED\]", ours ("|null$)`)},
	{source: "W19", says: "types of errors are codes", lines: line(`\.error\.type: "[A-Z]\w+", ours "[a-z_]+"$`)},
	{source: "X14", says: "what a pause said is cleared when the run has ended", lines: line(`\.metadata\.(continuation_id|human_intervention_required|request|pending_\w+)\S*: .*, ours absent$`)},
	{source: "X14", says: "metadata of a run that was resumed has the result of its last leg", when: resumed, lines: line(`^\.metadata\.(duration_ms|iterations|sdk|variables|workflow_\w+|resumed_from_continuation_id)\S*: absent, ours `)},
	{source: "ADR 0039", says: "metadata of a stored run does not repeat its trace", lines: line(`metadata\.trace\.(events|run_id)\S*: .*, ours absent$`)},
	{source: "ADR 0039", says: "metadata of a resumed leg is the same for every kind of workflow", when: all(below("/resume"), both(200)), lines: line(`^\.metadata\.(duration_ms|iterations|sdk|node_kind|workflow\S*|runtime_\S*|agent_name)`)},
	{source: "ADR 0039", says: "the position of a run follows its steps", lines: line(`current_step_index: null, ours \d+$`)},
	{source: "execution.md §4", says: "a request is made by its step", lines: line(`request.*requested_by: "h", ours "`)},

	{source: "ADR 0011", says: "audit is written with the action, before the run can pause", when: below("/audit-events"), lines: line(`^\.events\[\d+\]\.(status|continuation_id): `)},

	{source: "W14", says: "recovery says beforehand whether a run can continue", lines: line(`\bcan_continue: (true|false), ours (true|false)$`)},

	{source: "ADR 0039", says: "recovery of an ended run says how it ended", when: all(below("/recovery"), both(200), func(x exchange) bool {
		return runStatus(x.theirs) == "running" && runStatus(x.ours) == "failed"
	}), lines: line(`^\.(status|error)\b`)},

	// Checkpoints and traces.
	{source: "ADR 0039", says: "a diff shows neither durations nor the repeated trace", when: all(below("/checkpoints/diff"), both(200)), lines: line(`^\.(added|removed|changed|change_count|truncated)`)},
	{source: "ADR 0039", says: "the context of a run follows its steps", lines: line(`execution_context|step_iteration_counts`)},
	{source: "ADR 0039", says: "a checkpoint has the events since the one before, and its state all so far", lines: line(`checkpoints\[\d+\]\.(state\.)?trace_events`)},
	{source: "X2", says: "participants end in any order", when: all(specHas(`"type":"concurrent"`), func(x exchange) bool {
		return x.theirs.status == x.ours.status && (!whole(x) || sameRows(x) || resumed(x))
	}), lines: line(`events\[\d+\]|workflow_type: |visited_(steps|nodes)\[|iterations?\b|execution_context|step_id: |completed_steps\[|last_|resume_input|checkpoints\[\d+\]\.(state|metadata|type|node_id)|timeline\[`)},
	{source: "X2", says: "participants that share an agent do not see each other's turns", when: all(specHas(`"type":"concurrent"`), sharedAgents), lines: line(`\.(messages|sibling_deltas\.[^.\[]+)(\[\d+\]|: )`)},
	{source: "ADR 0039", says: "the answer of a person has a row of its own, also when a nested step has the same id", when: all(resumed, repeatedIDs), lines: line(`^\.(checkpoint_count|count|checkpoints\[)`)},
	{source: "ADR 0039", says: "rows of a resumed leg are written as it goes", when: all(resumed, func(x exchange) bool { return !whole(x) || moreRows(x) }), lines: line(`checkpoints\[\d+\]\.(state|metadata)\.|replay_context\.|timeline\[|^\.current_(node|step)_id|^\.visited_(steps|nodes)`)},
	{source: "ADR 0039", says: "repeated turns and nested steps of a resumed leg have rows", when: all(resumed, func(x exchange) bool { return !whole(x) || moreRows(x) }, specHas(`"rounds"`, `"selector"`, `"kind":"workflow"`)), lines: line(`^\.(checkpoints\[|checkpoint_count|count: )`)},
	{source: "ADR 0039", says: "the rows of a repeated turn show it", when: specHas(`"rounds"`, `"selector"`), lines: line(`checkpoints\[\d+\]\.state\.visited_steps\[`)},
	{source: "ADR 0039", says: "the row of a resumed leg is written when it begins, before it can know of its next pause", when: resumed, lines: line(`checkpoints\[\d+\]\.step_id: "[^"]*", ours null$`)},
	{source: "execution.md §2.2", says: "agents begin with an empty history after a pause", when: func(x exchange) bool {
		return resumed(x) || strings.Contains(x.Path, "/resume")
	}, lines: line(`metadata\.message_count|\.input_preview: |\.messages`)},

	// The last one: where the reference fails inside there is nothing to compare with.
	{source: "ADR 0039", says: "an internal error is answered with what is wrong, or with the result", when: all(internalError, func(x exchange) bool { return x.ours.status < 500 })},
}

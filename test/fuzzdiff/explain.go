package main

import (
	"regexp"
	"slices"
	"strings"
)

// rule is a difference that a decision wants.
type rule struct {
	// name starts with the number of the decision.
	name string
	// answers tells whether the rule speaks of these answers at all; nil means any.
	answers func(r request, theirs, ours answer) bool
	// lines are the differences that it explains; nil means all.
	lines *regexp.Regexp
}

func line(expr string) *regexp.Regexp { return regexp.MustCompile(expr) }

func statuses(theirs, ours int) func(request, answer, answer) bool {
	return func(_ request, a, b answer) bool { return a.status == theirs && b.status == ours }
}

// listLike finds a text or a map where a list belongs; the reference walks over its characters or keys.
var listLike = line(`"(steps|participants|input|output)":["{]`)

var stepID = line(`"id":"([^"]*)"`)

// repeatedIDs tells whether two steps of a spec, in different workflows, have the same id.
func repeatedIDs(spec string) bool {
	seen := map[string]bool{}
	for _, found := range stepID.FindAllStringSubmatch(spec, -1) {
		if seen[found[1]] {
			return true
		}
		seen[found[1]] = true
	}
	return false
}

// rules are tried together: an answer is explained when every difference in it is explained by one of them.
var rules = []rule{
	{name: "W1 a queued run says queued", lines: line(`status: "running", ours "queued"$`)},
	{name: "W3, W4, W6, W14 what was an internal error has a status of its own", answers: func(_ request, a, b answer) bool {
		return a.status == 500 && b.status < 500
	}},
	{name: "W5 an invalid spec is refused before a run is stored", answers: func(r request, a, b answer) bool {
		return a.status == 202 && b.status == 400 && code(b) == "spec_invalid"
	}},
	{name: "W9 session ids are shown", lines: line(`session_id: "\[REDACTED\]", ours `)},
	{name: "W10 an unknown run is not found", answers: func(r request, a, b answer) bool {
		return strings.Contains(r.Path, "/checkpoints") && b.status == 404 && (a.status == 200 || a.status == 400)
	}},
	{name: "W16 duplicate keys and numbers that JSON has not are refused", answers: statuses(200, 422), lines: line(`.`)},
	{name: "W18 diagnostics have a position", lines: line(`\.(line|column): absent, ours (\d+|null)$`)},
	{name: "W19 types of errors are codes", lines: line(`\.error\.type: `)},
	{name: "W6 build failures have diagnostics", answers: func(_ request, a, b answer) bool {
		return a.status == 400 && b.status == 400
	}, lines: line(`^\.detail\.(error|diagnostics)`)},
	{name: "W18 positions in broken JSON are the parser's own", lines: line(`^\.detail\[0\]\.loc\[1\]: \d+, ours \d+$`)},
	{name: "metadata of a stored run does not repeat its trace, which /trace has", lines: line(`metadata\.trace\.(events|run_id)\S*: .*, ours absent$`)},
	{name: "a diff shows durations and the repeated trace", answers: func(r request, a, b answer) bool {
		return strings.Contains(r.Path, "/checkpoints/diff") && a.status == 200 && b.status == 200
	}, lines: line(`^\.(added|removed|changed|change_count|truncated)`)},
	{name: "X2 participants are concurrent, so their order is the order in which they end", answers: func(r request, a, b answer) bool {
		return strings.Contains(r.spec, `"type":"concurrent"`) && a.status == b.status
	}, lines: line(`events\[\d+\]|iterations?\b|execution_context|step_id: |completed_steps\[|last_|resume_input|checkpoints\[\d+\]\.(state|metadata|type|node_id)|timeline\[`)},
	{name: "the position of a run follows its steps (the reference keeps null in sequential workflows)", lines: line(`current_step_index: null, ours \d+$`)},
	{name: "the context of a run follows its steps (the reference leaves it behind after a pause)", lines: line(`execution_context|step_iteration_counts`)},
	{name: "a checkpoint has the events since the one before, and its state all so far (the reference saves them late)", lines: line(`checkpoints\[\d+\]\.(state\.)?trace_events`)},
	{name: "X14 what a pause said is cleared when the run has ended", lines: line(`\.metadata\.(continuation_id|human_intervention_required|request|pending_\w+)\S*: .*, ours absent$`)},
	{name: "metadata of a run that was resumed has the result of its last leg", lines: line(`^\.metadata\.(duration_ms|iterations|sdk|variables|workflow_\w+|resumed_from_continuation_id)\S*: absent, ours `)},
	{name: "a text or a map is no list of steps", answers: func(r request, a, b answer) bool {
		return listLike.MatchString(r.spec) && (strings.Contains(string(b.raw), "E_SCHEMA") && !strings.Contains(string(a.raw), "E_SCHEMA") || strings.Contains(string(a.raw), "E_GUARDRAIL_FIELDS"))
	}},
	{name: "W6 a reference that leads nowhere is an invalid spec", answers: statuses(404, 400), lines: line(`^(status: 404, ours 400|\.detail\.)`)},
	{name: "W6 what cannot be built is refused before it runs", answers: func(_ request, a, b answer) bool {
		return a.status != 400 && b.status == 400 && strings.Contains(detail(b), "E_BUILD_")
	}},
	{name: "W4 an error of the run's own settings is in the run", answers: func(_ request, a, b answer) bool {
		return a.status == 400 && b.status == 200 && strings.Contains(string(b.raw), "RunConfig.")
	}},
	{name: "the answer of a person has a row of its own, also when a nested step has the same id", answers: func(r request, _, _ answer) bool {
		return r.resumed && repeatedIDs(r.spec)
	}, lines: line(`^\.(checkpoint_count|count|checkpoints\[)`)},
	{name: "rows of a resumed leg are written as it goes (the reference writes them at its end)", answers: func(r request, _, _ answer) bool {
		return r.resumed
	}, lines: line(`checkpoints\[\d+\]\.(state|metadata)\.|replay_context\.|timeline\[|^\.current_(node|step)_id|^\.visited_(steps|nodes)`)},
	{name: "repeated turns and nested steps of a resumed leg have rows too", answers: func(r request, _, _ answer) bool {
		return r.resumed && (strings.Contains(r.spec, `"rounds"`) || strings.Contains(r.spec, `"selector"`) || strings.Contains(r.spec, `"kind":"workflow"`))
	}, lines: line(`^\.(checkpoints\[|checkpoint_count|count: )`)},
	{name: "W6 an append mode that does not exist is refused", answers: func(_ request, a, b answer) bool {
		return a.status < 300 && b.status == 400 && strings.Contains(detail(b), "E_BUILD_APPEND_MODE")
	}},
	{name: "W4 an answer with an error of the run is kept under its key", answers: func(r request, a, b answer) bool {
		return r.Header["Idempotency-Key"] != "" && a.status != 409 && code(b) == "idempotency_key_conflict"
	}},
	{name: "X4 a provider that does not exist is refused", answers: func(_ request, _, b answer) bool {
		return b.status == 400 && strings.Contains(detail(b), "E_BUILD_RUNTIME")
	}},
	{name: "execution.md 2.2: agents begin with an empty history after a pause", answers: func(r request, _, _ answer) bool {
		return r.resumed || strings.Contains(r.Path, "/resume")
	}, lines: line(`metadata\.message_count|\.input_preview: |\.messages`)},
	{name: "the row of a resumed leg is written when it begins, before it can know of its next pause", answers: func(r request, _, _ answer) bool {
		return r.resumed
	}, lines: line(`checkpoints\[\d+\]\.step_id: "[^"]*", ours null$`)},
	{name: "the rows of a repeated turn show it", answers: func(r request, _, _ answer) bool {
		return strings.Contains(r.spec, `"rounds"`) || strings.Contains(r.spec, `"selector"`)
	}, lines: line(`checkpoints\[\d+\]\.state\.visited_steps\[`)},
	{name: "execution.md 4: a request is made by its step", lines: line(`request.*requested_by: "h", ours "`)},
	{name: "metadata of a resumed leg is the same for every kind of workflow", answers: func(r request, a, b answer) bool {
		return strings.Contains(r.Path, "/resume") && a.status == 200 && b.status == 200
	}, lines: line(`^\.metadata\.(duration_ms|iterations|sdk|node_kind|workflow\S*|runtime_\S*|agent_name)`)},
	{name: "W13 a human step at the end completes the run", answers: func(r request, a, b answer) bool {
		return strings.Contains(r.Path, "/resume") && a.status >= 400 && b.status == 200
	}},
	{name: "W4 a guardrail, a budget and a missing secret name their run", lines: line(`^\.detail\.run_id: absent, ours "<id>"$`)},
	{name: "W6 guardrails that cannot be built are refused", answers: func(_ request, a, b answer) bool {
		return a.status < 300 && b.status == 400 && strings.Contains(detail(b), "E_BUILD_GUARDRAIL")
	}},
	{name: "ADR 0039 a body that is no JSON is refused for that, whatever its bytes are", answers: func(r request, a, b answer) bool {
		return r.Header["Content-Type"] != "" && a.status == 400 && b.status == 422 && strings.Contains(string(a.raw), "codec can't decode") && strings.Contains(string(b.raw), "model_attributes_type")
	}},
	{name: "W22 a blank key is refused", answers: func(r request, _, b answer) bool {
		key, ok := r.Header["Idempotency-Key"]
		return ok && strings.TrimSpace(key) == "" && b.status == 400
	}},
}

// explain names the rules that explain differences, and returns the differences that none explains.
func explain(r request, theirs, ours answer, differences []string) (names string, rest []string) {
	var found []string
	for _, d := range differences {
		i := slices.IndexFunc(rules, func(rule rule) bool {
			return (rule.answers == nil || rule.answers(r, theirs, ours)) && (rule.lines == nil || rule.lines.MatchString(d))
		})
		switch {
		case i < 0:
			rest = append(rest, d)
		case !slices.Contains(found, rules[i].name):
			found = append(found, rules[i].name)
		}
	}
	return strings.Join(found, "; "), rest
}

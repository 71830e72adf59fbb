package main

import (
	"regexp"
	"slices"
	"strings"
)

// exchange is one request with both answers.
type exchange struct {
	request
	theirs, ours answer
}

// rule is a difference that is wanted.
type rule struct {
	// source is where it is written down: a row of the decisions, an ADR, or a paragraph of the reference's description.
	source string
	says   string
	// when tells whether the rule speaks of this exchange at all; nil means any.
	when func(exchange) bool
	// lines are the differences that it explains; nil means all.
	lines *regexp.Regexp
}

func (r rule) name() string { return r.source + " " + r.says }

func line(expr string) *regexp.Regexp { return regexp.MustCompile(expr) }

// all joins conditions.
func all(conditions ...func(exchange) bool) func(exchange) bool {
	return func(x exchange) bool {
		return !slices.ContainsFunc(conditions, func(c func(exchange) bool) bool { return !c(x) })
	}
}

func statuses(theirs, ours int) func(exchange) bool {
	return func(x exchange) bool { return x.theirs.status == theirs && x.ours.status == ours }
}

// refused: they accept what ours refuses as an invalid spec with one of these diagnostics.
func refused(codes ...string) func(exchange) bool {
	return func(x exchange) bool {
		return x.theirs.status < 300 && x.ours.status == 400 && slices.ContainsFunc(codes, func(c string) bool { return strings.Contains(detail(x.ours), c) })
	}
}

// internalError: they fail inside.
func internalError(x exchange) bool {
	return x.theirs.status == 500 && code(x.theirs) == "internal_error"
}

func both(status int) func(exchange) bool { return statuses(status, status) }

func says(status int, codes ...string) func(exchange) bool {
	return func(x exchange) bool { return x.ours.status == status && slices.Contains(codes, code(x.ours)) }
}

func below(part string) func(exchange) bool {
	return func(x exchange) bool { return strings.Contains(x.Path, part) }
}

func resumed(x exchange) bool { return x.request.resumed }

// specHas: the spec that began the chain has one of these texts.
func specHas(texts ...string) func(exchange) bool {
	return func(x exchange) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(x.spec, t) })
	}
}

// runStatus is the status of the run that an answer shows.
func runStatus(a answer) string {
	o, _ := a.body.(map[string]any)
	s, _ := o["status"].(string)
	return s
}

// sameRows: both lists hold the same rows, in whatever order.
func sameRows(x exchange) bool {
	a, b := rows(x.theirs), rows(x.ours)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// moreRows: ours has every row of theirs, and others.
func moreRows(x exchange) bool {
	ours := rows(x.ours)
	for _, row := range rows(x.theirs) {
		i := slices.Index(ours, row)
		if i < 0 {
			return false
		}
		ours = slices.Delete(ours, i, i+1)
	}
	return true
}

// rows names the checkpoints or events of an answer by their kind and place.
func rows(a answer) []string {
	o, _ := a.body.(map[string]any)
	var out []string
	for _, list := range []string{"checkpoints", "events"} {
		items, _ := o[list].([]any)
		for _, e := range items {
			m, _ := e.(map[string]any)
			var parts []string
			for _, k := range []string{"type", "step_id", "node_id"} {
				s, _ := m[k].(string)
				if k == "step_id" && (m["type"] == "human_resume" || m["type"] == "run_completed") {
					continue // where the next pause is, which such a row cannot know when it is written
				}
				parts = append(parts, s)
			}
			out = append(out, strings.Join(parts, "|"))
		}
	}
	return out
}

// whole tells whether an answer shows the whole list, so that rows can be compared.
func whole(x exchange) bool { return !strings.Contains(x.Path, "?") }

// explain names the rules that explain differences, and returns the differences that none explains.
func explain(x exchange, differences []string) (names, rest []string) {
	for _, d := range differences {
		i := slices.IndexFunc(rules, func(r rule) bool {
			return (r.when == nil || r.when(x)) && (r.lines == nil || r.lines.MatchString(d))
		})
		switch {
		case i < 0:
			rest = append(rest, d)
		case !slices.Contains(names, rules[i].name()):
			names = append(names, rules[i].name())
		}
	}
	return names, rest
}

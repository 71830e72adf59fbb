package engine

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/kneo-go/kneo/internal/plan"
)

func itoa(i int) string { return strconv.Itoa(i) }

// route returns the successor of a finished node: the first edge in declared order whose condition holds.
func route(wf *plan.Workflow, a *Active) (string, bool) {
	for i := range wf.Edges {
		e := &wf.Edges[i]
		if e.From == a.Step && holds(e.Condition, a.Out) {
			return e.To, true
		}
	}
	return "", false
}

// holds evaluates a condition on a node's outcome. Variables are always empty.
func holds(c *plan.Condition, o *Outcome) bool {
	if c == nil {
		return true
	}
	switch c.Type {
	case "", "always":
		return true
	case "output_contains", "output_equals":
		text, value := o.Output, text(c.Value)
		if !c.CaseSensitive {
			text, value = strings.ToLower(text), strings.ToLower(value)
		}
		if c.Type == "output_equals" {
			return text == value
		}
		return strings.Contains(text, value)
	case "status_is":
		return o.Status == text(c.Value)
	case "metadata_equals":
		return sameJSON(o.Meta[c.Key], c.Value)
	case "variable_equals":
		return isNull(c.Value)
	case "all_of":
		for i := range c.Conditions {
			if !holds(&c.Conditions[i], o) {
				return false
			}
		}
		return true
	case "any_of":
		for i := range c.Conditions {
			if holds(&c.Conditions[i], o) {
				return true
			}
		}
		return false
	case "not":
		return !holds(c.Condition, o)
	}
	return false
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func isNull(raw json.RawMessage) bool {
	t := bytes.TrimSpace(raw)
	return len(t) == 0 || string(t) == "null"
}

func sameJSON(a, b json.RawMessage) bool {
	if isNull(a) || isNull(b) {
		return isNull(a) && isNull(b)
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, err1 := json.Marshal(x)
	q, err2 := json.Marshal(y)
	return err1 == nil && err2 == nil && bytes.Equal(p, q)
}

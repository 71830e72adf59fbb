package engine

import (
	"testing"

	"github.com/kneo-go/kneo/internal/plan"
)

func TestModelTurns(t *testing.T) {
	for name, c := range map[string]struct {
		active Active
		want   int64
	}{
		"agent":          {Active{Out: &Outcome{AgentResult: &AgentResult{Iterations: 3}}}, 3},
		"agent unknown":  {Active{Out: &Outcome{AgentResult: &AgentResult{}}}, 1},
		"function":       {Active{Out: &Outcome{Function: true}}, 1},
		"nested":         {Active{Out: &Outcome{}, Child: &Frame{LegTurns: 5}}, 5},
		"agent as a run": {Active{Out: &Outcome{AgentResult: &AgentResult{Iterations: 2}}, Child: &Frame{LegTurns: 2}}, 2},
	} {
		if got := modelTurns(&c.active); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestHumanEnd(t *testing.T) {
	said := "fine"
	for name, c := range map[string]struct {
		frame        Frame
		output, want string
	}{
		"no person":            {Frame{Kind: plan.Sequential}, "agent", "agent"},
		"person last":          {Frame{Kind: plan.Sequential, HumanOutput: &said}, "agent", "fine"},
		"person beside agents": {Frame{Kind: plan.Concurrent, HumanOutput: &said}, "agent", "agent"},
		"only persons":         {Frame{Kind: plan.Concurrent, HumanOutput: &said}, "", "fine"},
	} {
		if got := (machine{}).humanEnd(&c.frame, c.output); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

package run

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

func stateOf(steps, nodes, priorSteps, priorNodes []string) json.RawMessage {
	out := AppendString([]byte(`{"input_text":`), `a text with ,"visited_steps":{"keep":1} in it`)
	out = AppendVisited(append(out, `,"visited_steps":`...), steps, priorSteps)
	out = AppendVisited(append(out, `,"visited_nodes":`...), nodes, priorNodes)
	return append(out, `,"messages":[]}`...)
}

// TestVisitedListsAreRestored stores growing, changing and interrupted lists and expects every one of them back.
func TestVisitedListsAreRestored(t *testing.T) {
	var lists [][]string
	var grown []string
	for i := range 200 {
		grown = append(grown, fmt.Sprintf("step %d \"}", i))
		lists = append(lists, grown[:len(grown):len(grown)])
	}
	other := slices.Clone(grown)
	other[100] = "other"
	lists = append(lists, other, []string{}, []string{"x"}, grown)
	var all []Checkpoint
	var prior []string
	for i, list := range lists {
		if i == 150 {
			prior = nil // a new leg
		}
		all = append(all, Checkpoint{Type: CheckpointStepCompleted, State: stateOf(list, []string{"n"}, prior, nil)})
		prior = list
	}
	size := 0
	for _, c := range all {
		size += len(c.State)
	}
	if size > 100_000 {
		t.Errorf("%d bytes are stored", size)
	}
	UnfoldVisited(all)
	for i, want := range lists {
		steps, nodes := VisitedOf(all[:i+1])
		if !slices.Equal(steps, want) || !slices.Equal(nodes, []string{"n"}) {
			t.Fatalf("checkpoint %d: %v, %v", i, steps, nodes)
		}
		if !json.Valid(all[i].State) {
			t.Fatalf("checkpoint %d: %s", i, all[i].State)
		}
	}
}

// TestVisitedListOfALimitedState goes on over a state that was too large to keep its lists.
func TestVisitedListOfALimitedState(t *testing.T) {
	var grown []string
	for i := range 40 {
		grown = append(grown, fmt.Sprint(i))
	}
	next, after := append(slices.Clone(grown), "a"), append(slices.Clone(grown), "a", "b")
	a := "a"
	all := []Checkpoint{
		{Type: CheckpointStepCompleted, State: stateOf(grown, nil, nil, nil)},
		{Type: CheckpointStepCompleted, StepID: &a, State: json.RawMessage(`{"_limited":true}`)},
		{Type: CheckpointStepCompleted, State: stateOf(after, nil, next, nil)},
	}
	UnfoldVisited(all)
	if got, _ := VisitedOf(all); !slices.Equal(got, after) {
		t.Errorf("got %v", got)
	}
}

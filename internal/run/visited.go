package run

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// VisitedFold is the length from which visited lists are stored as changes, so that a step of a long run costs what one of a short run does.
const VisitedFold = 32

// AppendVisited appends a visited list as the state of a checkpoint stores it: in full, or, when it is long and shares its beginning with prior,
// the list of the checkpoint before, as {"keep":<length of that beginning>,"add":[…]}. UnfoldVisited restores it.
func AppendVisited(dst []byte, list, prior []string) []byte {
	keep := sharedStart(prior, list)
	if keep < VisitedFold {
		return AppendStrings(dst, list)
	}
	dst = strconv.AppendInt(append(dst, `{"keep":`...), int64(keep), 10)
	return append(AppendStrings(append(dst, `,"add":`...), list[keep:]), '}')
}

// sharedStart is how many elements two lists begin with in common. Visited lists only grow, so two in the same memory begin alike.
func sharedStart(a, b []string) int {
	n := min(len(a), len(b))
	if n == 0 || &a[0] == &b[0] {
		return n
	}
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// UnfoldVisited restores the visited lists in the states of all checkpoints of a run, which are in the order of their sequence.
func UnfoldVisited(list []Checkpoint) {
	steps, nodes := unfolder{key: []byte(`,"visited_steps":`)}, unfolder{key: []byte(`,"visited_nodes":`)}
	for i := range list {
		c := &list[i]
		state, known := steps.next(c.State)
		state, also := nodes.next(state)
		c.State = state
		if known || also {
			continue
		}
		switch c.Type { // a state that was too large lost its lists
		case CheckpointStepCompleted:
			steps.grow(c.StepID)
		case CheckpointNodeCompleted:
			nodes.grow(c.NodeID)
		}
	}
}

// VisitedOf returns the visited lists of the newest of all checkpoints of a run, whose lists have been unfolded.
func VisitedOf(list []Checkpoint) (steps, nodes []string) {
	steps, nodes = []string{}, []string{}
	for i := len(list) - 1; i >= 0; i-- {
		var state struct {
			Steps []string `json:"visited_steps"`
			Nodes []string `json:"visited_nodes"`
		}
		if json.Unmarshal(list[i].State, &state) == nil && state.Steps != nil && state.Nodes != nil {
			return state.Steps, state.Nodes
		}
	}
	return steps, nodes
}

// unfolder restores one of the two lists.
type unfolder struct {
	key []byte
	// list is the newest list; full, when not nil, begins with the newer one that has not been read yet.
	list []string
	full []byte
}

// next returns the state with its list in full, and whether it has one. The key is looked for as bytes: inside a text its quotes would be escaped,
// and the members before it have no members of their own.
func (u *unfolder) next(state json.RawMessage) (json.RawMessage, bool) {
	at := bytes.Index(state, u.key)
	if at < 0 {
		return state, false
	}
	at += len(u.key)
	if at < len(state) && state[at] != '{' {
		u.full = state[at:]
		return state, true
	}
	var change struct {
		Keep int      `json:"keep"`
		Add  []string `json:"add"`
	}
	dec := json.NewDecoder(bytes.NewReader(state[at:]))
	if err := dec.Decode(&change); err != nil {
		return state, true
	}
	u.read()
	u.list = append(u.list[:min(max(change.Keep, 0), len(u.list))], change.Add...)
	rest := state[at+int(dec.InputOffset()):]
	out := AppendStrings(append(make([]byte, 0, len(state)+16*len(u.list)), state[:at]...), u.list)
	return append(out, rest...), true
}

// read takes over the list that was met last.
func (u *unfolder) read() {
	if u.full == nil {
		return
	}
	var list []string
	if json.NewDecoder(bytes.NewReader(u.full)).Decode(&list) == nil {
		u.list = list
	}
	u.full = nil
}

func (u *unfolder) grow(id *string) {
	if id != nil {
		u.read()
		u.list = append(u.list, *id)
	}
}

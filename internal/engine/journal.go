package engine

import (
	"encoding/json"
	"fmt"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/run"
)

// Operations of leg entries.
const (
	OpContinue = "continue"
	OpReopen   = "reopen"
	OpPause    = "pause"
)

// StepEntry journals the result of an action. Flushed tells that all events up to this result were stored with it.
func StepEntry(r Result, flushed bool) (run.Entry, error) {
	key := r.Key
	if r.Ask != nil {
		key += "/ask/" + r.Ask.CallKey
	}
	data, err := json.Marshal(stepData{r, flushed})
	return run.Entry{Kind: run.EntryStep, Key: key, Data: data}, err
}

type stepData struct {
	Result
	Flushed bool `json:"flushed,omitempty"`
}

type humanData struct {
	Gate     string    `json:"gate"`
	Decision *Decision `json:"decision"`
}

type legData struct {
	Op string `json:"op"`
	// Entry is the key of the human entry that a reopen undoes.
	Entry string `json:"entry,omitempty"`
	// Gates are the tasks that a pause opened, by gate key.
	Gates map[string]string `json:"gates,omitempty"`
}

// HumanEntry journals the answer to a gate. Unique makes the entry's key differ from those of other answers to the same gate.
func HumanEntry(gate, unique string, d *Decision) (run.Entry, error) {
	data, err := json.Marshal(humanData{gate, d})
	return run.Entry{Kind: run.EntryHuman, Key: gate + "~" + unique, Data: data}, err
}

// ContinueEntry journals that a failed run goes on.
func ContinueEntry(unique string) run.Entry {
	return legEntry("continue~"+unique, legData{Op: OpContinue})
}

// ReopenEntry journals that an answer was refused: everything since its human entry is undone (decision X19).
func ReopenEntry(humanKey string) run.Entry {
	return legEntry("reopen~"+humanKey, legData{Op: OpReopen, Entry: humanKey})
}

// PauseEntry journals the tasks that a pause opened.
func PauseEntry(unique string, gates map[string]string) run.Entry {
	return legEntry("pause~"+unique, legData{Op: OpPause, Gates: gates})
}

func legEntry(key string, d legData) run.Entry {
	data, err := json.Marshal(d)
	if err != nil { // strings always marshal
		data = []byte(`{}`)
	}
	return run.Entry{Kind: run.EntryLeg, Key: key, Data: data}
}

// Rebuilt is a state recovered from a journal.
type Rebuilt struct {
	State *State
	// Events are those that were not stored yet.
	Events []Event
	// Calls are the call entries that still count.
	Calls []run.Entry
	// HumanKey is the key of the last answer, when no step has ended since; a refused answer can be undone with it.
	HumanKey string
	// Unattended tells that the leg follows an approval which the platform gave because nobody answered in time.
	Unattended bool
	// Answers are what people said about cut-off calls.
	Answers []Answer
}

// Answer tells what a person said about a cut-off call (decision X18).
type Answer struct {
	CallKey string
	// Answer is AskHappened, AskRepeat or AskStop; Result is the text of a call that happened.
	Answer, Result string
}

// Rebuild applies a journal to a new run.
func Rebuild(p *plan.Plan, target, input string, entries []run.Entry) (Rebuilt, error) {
	s := New(target, input)
	out := Rebuilt{State: s}
	Next(p, s)
	undone := undoneEntries(entries)
	for i, e := range entries {
		if undone[i] {
			if e.Kind == run.EntryHuman {
				s.Leg++
			}
			continue
		}
		flushed, err := replay(p, s, e, &out)
		if err != nil {
			return out, fmt.Errorf("journal entry %d (%s %s): %w", e.Sequence, e.Kind, e.Key, err)
		}
		out.Events = append(out.Events, s.Events()...)
		if flushed {
			out.Events = unstored(out.Events, e.Kind)
		}
	}
	out.Events = append(out.Events, s.Events()...)
	return out, nil
}

// unstored returns the events that a commit left for the next one: those after the last row that carries events. A pause or an end carries all.
func unstored(events []Event, kind run.EntryKind) []Event {
	if kind != run.EntryStep {
		return nil
	}
	for i := len(events) - 1; i >= 0; i-- {
		if k := events[i].Kind; k == StepCompleted || k == StepFailed {
			return events[i+1:]
		}
	}
	return events
}

// undoneEntries marks what a reopened task takes back.
func undoneEntries(entries []run.Entry) map[int]bool {
	var undone map[int]bool
	for i, e := range entries {
		if e.Kind != run.EntryLeg {
			continue
		}
		var d legData
		if json.Unmarshal(e.Data, &d) != nil || d.Op != OpReopen {
			continue
		}
		if undone == nil {
			undone = map[int]bool{}
		}
		for j := i; j >= 0; j-- {
			undone[j] = true
			if entries[j].Kind == run.EntryHuman && entries[j].Key == d.Entry {
				break
			}
		}
	}
	return undone
}

// unattended reads the mark that the expiry of a task leaves in its decision.
func unattended(d *Decision) bool {
	var mark struct {
		AutoContinued bool `json:"auto_continued"`
	}
	return d != nil && d.RequestID != "" && json.Unmarshal(d.Metadata, &mark) == nil && mark.AutoContinued
}

func replay(p *plan.Plan, s *State, e run.Entry, out *Rebuilt) (flushed bool, err error) {
	switch e.Kind {
	case run.EntryStep:
		var d stepData
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return false, err
		}
		if err := Apply(p, s, d.Result); err != nil {
			return false, nil //nolint:nilerr // a late result of an abandoned attempt changes nothing
		}
		if d.Flushed {
			out.HumanKey = ""
		}
		return d.Flushed, nil
	case run.EntryHuman:
		var d humanData
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return false, err
		}
		out.HumanKey, out.Unattended = e.Key, unattended(d.Decision)
		if chain := find(s.Root, nil, d.Gate); chain != nil {
			if a := chain[len(chain)-1].a; a.Phase == PhaseAsk && d.Decision != nil {
				answer, result := askAnswer(d.Decision)
				out.Answers = append(out.Answers, Answer{a.Ask.CallKey, answer, result})
			}
		}
		return false, Apply(p, s, Result{Key: d.Gate, Decision: d.Decision})
	case run.EntryLeg:
		var d legData
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return false, err
		}
		out.HumanKey = ""
		if d.Op == OpContinue {
			Continue(p, s)
			return false, nil
		}
		for gate, task := range d.Gates {
			Opened(s, gate, task)
		}
		return d.Op == OpPause, nil
	case run.EntryCallStarted, run.EntryCallDone:
		out.Calls = append(out.Calls, e)
	}
	return false, nil
}

// Unclosed lists visited steps of the root workflow that never had a completed event, in order (execution.md §6.3).
func (s *State) Unclosed() []string {
	if s.Root == nil || s.Root.NoSteps {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, id := range s.Root.Visited {
		if !s.Closed[counterKey(id, s.Root.Kind == plan.Graph)] && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// cutOffError stops a step whose call was started by an executor that died, when repeating it needs a person's word (decision X18).
type cutOffError struct{ call agent.Call }

func (e *cutOffError) Error() string { return "call of '" + e.call.Name + "' was cut off" }

// callDone is the data of a call_done entry.
type callDone struct {
	Data  json.RawMessage `json:"data,omitempty"`
	Usage *run.Usage      `json:"usage,omitempty"`
}

// journal holds a leg's recorded calls and the entries that are not stored yet. Writes of a leg are serialised so that entries are stored in
// the order in which they were made.
type journal struct {
	store Store
	fence run.Fence
	lost  context.CancelCauseFunc
	// doubtful tells that another process may own the run by now.
	doubtful func() bool

	write sync.Mutex // held around store writes

	mu      sync.Mutex
	done    map[string]callDone
	started map[string]bool
	repeat  map[string]bool
	pending []run.Entry
	events  []run.Event
}

func newJournal(s Store, f run.Fence, lost context.CancelCauseFunc, doubtful func() bool) *journal {
	return &journal{store: s, fence: f, lost: lost, doubtful: doubtful, done: map[string]callDone{}, started: map[string]bool{}, repeat: map[string]bool{}}
}

// load takes the recorded calls of earlier executors.
func (j *journal) load(entries []run.Entry, answers []engine.Answer) error {
	for _, e := range entries {
		if e.Kind == run.EntryCallStarted {
			j.started[e.Key] = true
			continue
		}
		var d callDone
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return fmt.Errorf("call %s: %w", e.Key, err)
		}
		j.done[e.Key] = d
	}
	for _, a := range answers {
		switch a.Answer {
		case engine.AskHappened:
			data, err := json.Marshal(a.Result)
			if err != nil {
				return err
			}
			j.done[a.CallKey] = callDone{Data: data}
		case engine.AskRepeat:
			j.repeat[a.CallKey] = true
		}
	}
	return nil
}

func (j *journal) add(e ...run.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = append(j.pending, e...)
}

// take removes and returns the pending entries and live events.
func (j *journal) take() ([]run.Entry, []run.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, e := j.pending, j.events
	j.pending, j.events = nil, nil
	return p, e
}

// tell adds a live event to the next write.
func (j *journal) tell(kind string, data json.RawMessage, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, run.Event{Kind: kind, Data: data, CreatedAt: at})
}

// forget drops pending call entries of a step whose own result says it all.
func (j *journal) forget(stepKey string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	prefix, kept := stepKey+"/", j.pending[:0]
	for _, e := range j.pending {
		if e.Kind != run.EntryCallDone || !strings.HasPrefix(e.Key, prefix) {
			kept = append(kept, e)
		}
	}
	j.pending = kept
}

// flush stores what is pending before something outside happens. A process that was stopped for a while asks even when nothing is pending: it must
// not repeat what another one has done meanwhile.
func (j *journal) flush(ctx context.Context) error {
	j.write.Lock()
	defer j.write.Unlock()
	entries, events := j.take()
	if len(entries)+len(events) == 0 && !j.doubtful() {
		return nil
	}
	return j.failed(j.store.RecordCall(ctx, j.fence, store.Progress{Entries: entries, Events: events}))
}

// commit stores a progress together with what is pending.
func (j *journal) commit(ctx context.Context, write func(ctx context.Context, entries []run.Entry, events []run.Event) error) error {
	j.write.Lock()
	defer j.write.Unlock()
	entries, events := j.take()
	return j.failed(write(ctx, entries, events))
}

// failed stops the leg when its fence is not the row's any more.
func (j *journal) failed(err error) error {
	if errors.Is(err, store.ErrLeaseLost) {
		j.lost(ErrLost)
	}
	return err
}

// stepCalls is the journal of one step, as agents see it.
type stepCalls struct {
	*journal
	runID string
	// step is the id that live events show; now is their clock.
	step string
	now  func() time.Time
	// usage sums the tokens of the step's calls.
	usage *run.Usage
}

// Do implements agent.Journal.
func (s *stepCalls) Do(ctx context.Context, c agent.Call, fn func(context.Context, string) (agent.Outcome, error)) (agent.Outcome, error) {
	s.mu.Lock()
	known, done := s.done[c.Key]
	cut := s.started[c.Key] && !done
	ask := cut && c.SideEffect && !c.Idempotent && !s.repeat[c.Key]
	if done {
		s.usage = s.usage.Add(known.Usage)
	} else if c.SideEffect && !cut {
		s.started[c.Key] = true
		s.pending = append(s.pending, run.Entry{Kind: run.EntryCallStarted, Key: c.Key, Data: startedData(c)})
	}
	s.mu.Unlock()
	switch {
	case done:
		return agent.Outcome{Data: known.Data, Usage: known.Usage}, nil
	case ask:
		return agent.Outcome{}, &cutOffError{c}
	}
	if err := s.flush(ctx); err != nil {
		return agent.Outcome{}, err
	}
	out, err := fn(ctx, id.Derived(s.runID, c.Key))
	if err != nil {
		return out, err
	}
	return out, s.record(c, out)
}

func (s *stepCalls) record(c agent.Call, out agent.Outcome) error {
	d := callDone{Data: out.Data, Usage: out.Usage}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[c.Key] = d
	s.usage = s.usage.Add(out.Usage)
	s.pending = append(s.pending, run.Entry{Kind: run.EntryCallDone, Key: c.Key, Data: data})
	s.events = append(s.events, run.Event{
		Kind: "call", Data: object("call", c.Kind, "name", c.Name, "step_id", s.step, "key", c.Key), CreatedAt: s.now(),
	})
	return nil
}

func (s *stepCalls) spent() *run.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

func startedData(c agent.Call) json.RawMessage {
	data, err := json.Marshal(struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments,omitempty"`
	}{c.Name, c.Arguments})
	if err != nil { // arguments that are no JSON are left out
		return json.RawMessage(`{}`)
	}
	return data
}

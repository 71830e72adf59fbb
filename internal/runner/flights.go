package runner

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/run"
)

// flights are the actions of one workflow that run at the same time, each in its own goroutine under its time limits.
type flights struct {
	*Runner
	// perform does an action. Failures of the action are results; an error ends the workflow through broken.
	perform func(context.Context, engine.Action) (engine.Result, error)
	broken  func(error)

	active  map[string]context.CancelFunc
	results chan engine.Result
	// scopes are the deadlines of enclosing steps by key.
	scopes map[string]time.Time
}

// alone tells that these actions need no goroutine: one without a time limit, and nothing beside it.
func (f *flights) alone(actions []engine.Action) bool {
	return len(actions) == 1 && len(f.active) == 0 && actions[0].TimeoutSeconds == nil && len(actions[0].Scopes) == 0
}

// launch starts what is not running yet, up to the limit of branches, and stops what is no longer wanted.
func (f *flights) launch(ctx context.Context, actions []engine.Action) {
	if f.results == nil {
		f.results, f.active = make(chan engine.Result), map[string]context.CancelFunc{}
	}
	wanted := make(map[string]bool, len(actions))
	for _, a := range actions {
		wanted[a.Key] = true
	}
	for key, cancel := range f.active {
		if !wanted[key] {
			cancel()
			delete(f.active, key)
		}
	}
	for _, a := range actions {
		if a.Kind == engine.OpenGate || a.Kind == engine.AskPerson || f.active[a.Key] != nil {
			continue
		}
		if len(f.active) >= f.Branches {
			return
		}
		f.fly(ctx, a)
	}
}

// fly performs an action under its time limits. An action that does not end with its context is left behind.
func (f *flights) fly(ctx context.Context, a engine.Action) {
	limit, failure := f.limit(a)
	actx, cancel := context.WithCancel(ctx)
	f.active[a.Key] = cancel
	deliver := func(res engine.Result) {
		select {
		case f.results <- res:
		case <-actx.Done():
		}
	}
	if failure != nil {
		stop := f.Clock.AfterFunc(limit, func() {
			go deliver(engine.Result{Key: a.Key, Err: failure})
		})
		go func() {
			<-actx.Done()
			stop()
		}()
	}
	go func() {
		res, err := f.perform(actx, a)
		if err != nil {
			if actx.Err() == nil {
				f.broken(err)
			}
			return
		}
		deliver(res)
	}()
}

// landed ends the flight of a result; false means that nobody waits for it any more.
func (f *flights) landed(res engine.Result) bool {
	cancel, ok := f.active[res.Key]
	if ok {
		cancel()
		delete(f.active, res.Key)
	}
	return ok
}

// stop ends all flights.
func (f *flights) stop() {
	for _, cancel := range f.active {
		cancel()
	}
}

// limit is the time an action has left and the failure that passing it means: its own limit, or the tightest of the steps around it.
func (f *flights) limit(a engine.Action) (time.Duration, *engine.Failure) {
	now := f.Clock.Now()
	var best time.Duration
	var failure *engine.Failure
	for _, s := range a.Scopes {
		until, ok := f.scopes[s.Key]
		if !ok {
			if f.scopes == nil {
				f.scopes = map[string]time.Time{}
			}
			until = now.Add(time.Duration(s.TimeoutSeconds) * time.Second)
			f.scopes[s.Key] = until
		}
		if left := until.Sub(now); failure == nil || left < best {
			best, failure = left, timedOut(s.TimeoutSeconds, s.Key, f.RetryOnTimeout)
		}
	}
	if a.TimeoutSeconds != nil {
		if own := time.Duration(*a.TimeoutSeconds) * time.Second; failure == nil || own < best {
			best, failure = own, timedOut(*a.TimeoutSeconds, "", f.RetryOnTimeout)
		}
	}
	return best, failure
}

// shielded does an action; a panic of user code is a failure of the step.
func (r *Runner) shielded(ctx context.Context, runID, step string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.ErrorContext(ctx, "step panicked", "run_id", runID, "step", step, "panic", p, "stack", string(debug.Stack()))
			err = &run.StepError{Type: run.FailStep, Message: "The step failed unexpectedly."}
		}
	}()
	return do()
}

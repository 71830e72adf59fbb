package exchange_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/run"
)

// failing fails with its errors in order and then answers.
type failing struct {
	errs  []error
	calls int
	// say is streamed before each failure.
	say string
	// hang waits for the end of the attempt's context.
	hang bool
}

func (f *failing) Name() string { return "p" }

func (f *failing) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	f.calls++
	if f.hang {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if f.calls > len(f.errs) {
		return &llm.Response{Text: "ok"}, nil
	}
	if f.say != "" && r.OnDelta != nil {
		r.OnDelta(f.say)
	}
	return nil, f.errs[f.calls-1]
}

// echoing answers with its texts in order.
type echoing struct {
	texts []string
	calls []run.ToolCall
	asked int
}

func (e *echoing) Name() string { return "p" }

func (e *echoing) Complete(context.Context, *llm.Request) (*llm.Response, error) {
	e.asked++
	return &llm.Response{Text: e.texts[min(e.asked, len(e.texts))-1], ToolCalls: e.calls, RequestID: "r"}, nil
}

func TestAnswersThatAreNotAccepted(t *testing.T) {
	t.Parallel()
	errBad := errors.New("not good")
	accept := func(text string) error {
		if text != "good" {
			return errBad
		}
		return nil
	}
	for name, test := range map[string]struct {
		provider *echoing
		retries  int
		asked    int
		ok       bool
	}{
		"accepted":             {&echoing{texts: []string{"good"}}, 0, 1, true},
		"refused":              {&echoing{texts: []string{"bad"}}, 0, 1, false},
		"better the next time": {&echoing{texts: []string{"bad", "good"}}, 1, 2, true},
		"never":                {&echoing{texts: []string{"bad"}}, 2, 3, false},
		"a call of a tool":     {&echoing{texts: []string{"bad"}, calls: []run.ToolCall{{ID: "1"}}}, 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := exchange.Retry(test.provider, exchange.Policy{Retries: test.retries, Sleep: func(context.Context, time.Duration) error { return nil }})
			_, err := p.Complete(t.Context(), &llm.Request{Accept: accept})
			if (err == nil) != test.ok || test.provider.asked != test.asked {
				t.Fatalf("%v after %d calls", err, test.provider.asked)
			}
			if e := llm.AsError(err); err != nil && (e == nil || e.Class != llm.ClassMalformed || !errors.Is(err, errBad)) {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	class := func(c llm.Class, after time.Duration) error {
		return &llm.Error{Class: c, Provider: "p", RetryAfter: after}
	}
	many := func(e error) []error { return []error{e, e, e, e, e, e} }
	tests := map[string]struct {
		policy exchange.Policy
		errs   []error
		say    string
		calls  int
		waited time.Duration
		ok     bool
	}{
		"transient twice":       {exchange.Policy{}, many(class(llm.ClassServer, 0)), "", 3, 750 * time.Millisecond, false},
		"then well":             {exchange.Policy{}, []error{class(llm.ClassOverloaded, 0)}, "", 2, 250 * time.Millisecond, true},
		"configured":            {exchange.Policy{Retries: 4, Backoff: time.Second}, many(class(llm.ClassNetwork, 0)), "", 5, 10 * time.Second, false},
		"never":                 {exchange.Policy{Transient: -1}, many(class(llm.ClassServer, 0)), "", 1, 0, false},
		"auth is final":         {exchange.Policy{Retries: 3}, many(class(llm.ClassAuth, 0)), "", 1, 0, false},
		"context is final":      {exchange.Policy{Retries: 3}, many(class(llm.ClassContextLength, 0)), "", 1, 0, false},
		"retry after":           {exchange.Policy{}, []error{class(llm.ClassRateLimit, 7*time.Second)}, "", 2, 7 * time.Second, true},
		"retry after too long":  {exchange.Policy{}, many(class(llm.ClassRateLimit, time.Hour)), "", 1, 0, false},
		"streamed already":      {exchange.Policy{}, many(class(llm.ClassNetwork, 0)), "text", 1, 0, false},
		"timeout is final":      {exchange.Policy{Retries: 2}, many(class(llm.ClassTimeout, 0)), "", 1, 0, false},
		"retry on timeout":      {exchange.Policy{Retries: 2, RetryOnTimeout: true}, many(class(llm.ClassTimeout, 0)), "", 3, 750 * time.Millisecond, false},
		"malformed when asked":  {exchange.Policy{Retries: 1}, many(class(llm.ClassMalformed, 0)), "", 2, 250 * time.Millisecond, false},
		"foreign errors at all": {exchange.Policy{Retries: 3}, many(errors.New("x")), "", 1, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var waited time.Duration
			tt.policy.Sleep = func(_ context.Context, d time.Duration) error {
				waited += d
				return nil
			}
			f := &failing{errs: tt.errs, say: tt.say}
			_, err := exchange.Retry(f, tt.policy).Complete(t.Context(), &llm.Request{OnDelta: func(string) {}})
			if f.calls != tt.calls || (err == nil) != tt.ok {
				t.Errorf("%d calls, %v", f.calls, err)
			}
			if waited < tt.waited || waited > tt.waited*5/4 {
				t.Errorf("waited %s", waited)
			}
		})
	}
}

func TestTimeoutOfAnAttempt(t *testing.T) {
	t.Parallel()
	f := &failing{hang: true}
	_, err := exchange.Retry(f, exchange.Policy{Timeout: time.Hour}).Complete(t.Context(), &llm.Request{Timeout: 20 * time.Millisecond})
	e := llm.AsError(err)
	if e == nil || e.Class != llm.ClassTimeout || e.Error() != "Operation timed out after 0.02 seconds." || e.Failure().Type != "timeout" {
		t.Errorf("got %v", err)
	}
}

package exchange

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/kneo-go/kneo/internal/llm"
)

// Policy is the deployment's rule for model calls (KNEO_SERV_PROVIDER_*).
type Policy struct {
	// Retries are further attempts after any failure that may pass. The failures that a service itself calls transient (rate limit, overload, 5xx,
	// connection) are tried Transient times again even when Retries is 0; negative means never.
	Retries   int
	Transient int
	// Backoff is multiplied by the number of the attempt that failed; 0 means exponential from 250 ms. Jitter is added to both.
	Backoff time.Duration
	// Timeout bounds one attempt when the request does not; 0 means none.
	Timeout time.Duration
	// RetryOnTimeout also repeats attempts that took too long.
	RetryOnTimeout bool

	// Sleep waits; nil means a timer. It returns the context's cause when ctx ended first.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Limits of waiting.
const (
	defaultTransient = 2
	firstBackoff     = 250 * time.Millisecond
	maxBackoff       = 8 * time.Second
	maxRetryAfter    = time.Minute
)

// Retry wraps a provider with a policy. An attempt that already streamed text is not repeated.
func Retry(p llm.Provider, policy Policy) llm.Provider {
	if policy.Transient == 0 {
		policy.Transient = defaultTransient
	}
	if policy.Sleep == nil {
		policy.Sleep = sleep
	}
	return &retrying{p, policy}
}

type retrying struct {
	llm.Provider
	policy Policy
}

// Complete implements llm.Provider.
func (r *retrying) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, streamed, err := r.once(ctx, req)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := llm.AsError(err)
		if e == nil || streamed || !r.again(e, attempt) {
			return nil, err
		}
		wait, ok := r.wait(e, attempt)
		if !ok {
			return nil, err
		}
		if err := r.policy.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// once makes one attempt within its time limit.
func (r *retrying) once(ctx context.Context, req *llm.Request) (*llm.Response, bool, error) {
	limit := req.Timeout
	if limit <= 0 {
		limit = r.policy.Timeout
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, Timeout(r.Name(), limit))
		defer cancel()
	}
	streamed := false
	call := *req
	if req.OnDelta != nil {
		call.OnDelta = func(text string) {
			streamed = true
			req.OnDelta(text)
		}
	}
	resp, err := r.Provider.Complete(ctx, &call)
	if err == nil && req.Accept != nil && len(resp.ToolCalls) == 0 {
		if bad := req.Accept(resp.Text); bad != nil {
			return nil, streamed, &llm.Error{Class: llm.ClassMalformed, Provider: r.Name(), Message: bad.Error(), RequestID: resp.RequestID, Cause: bad}
		}
	}
	return resp, streamed, err
}

// Timeout is the error of an attempt that took longer than limit.
func Timeout(provider string, limit time.Duration) *llm.Error {
	return &llm.Error{
		Class: llm.ClassTimeout, Provider: provider,
		Message: "Operation timed out after " + strconv.FormatFloat(limit.Seconds(), 'g', 6, 64) + " seconds.",
	}
}

func (r *retrying) again(e *llm.Error, attempt int) bool {
	if e.Class == llm.ClassTimeout {
		return r.policy.RetryOnTimeout && attempt <= r.policy.Retries
	}
	if e.Class == llm.ClassMalformed {
		return attempt <= r.policy.Retries
	}
	return e.Retryable() && attempt <= max(r.policy.Retries, r.policy.Transient)
}

// wait is the pause before the next attempt; false means that the provider wants a longer one than a run can spend.
func (r *retrying) wait(e *llm.Error, attempt int) (time.Duration, bool) {
	d := r.policy.Backoff * time.Duration(attempt)
	if r.policy.Backoff <= 0 {
		d = min(firstBackoff<<min(attempt-1, 10), maxBackoff)
	}
	d += time.Duration(rand.Int64N(int64(d)/4 + 1)) //nolint:gosec // jitter needs no secrecy
	if e.RetryAfter > maxRetryAfter {
		return 0, false
	}
	return max(d, e.RetryAfter), true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Op is one request of a caller; n counts the requests of that caller.
type Op func(ctx context.Context, n int) error

// Open makes a caller with a connection of its own.
type Open func(caller int) (Op, func(), error)

// Result is what a loop measured.
type Result struct {
	Requests, Failed int64
	// FirstError is the first failure, nil when there was none.
	FirstError error
	Elapsed    time.Duration
	// Latency is in microseconds.
	Latency *hdrhistogram.Histogram
}

// PerSecond is the throughput of requests that succeeded.
func (r Result) PerSecond() float64 { return float64(r.Requests-r.Failed) / r.Elapsed.Seconds() }

// Quantile is a latency in milliseconds.
func (r Result) Quantile(q float64) float64 { return float64(r.Latency.ValueAtQuantile(q)) / 1000 }

// String is the result in one line.
func (r Result) String() string {
	text := fmt.Sprintf("%.0f/s, p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms, %d requests, %d failed",
		r.PerSecond(), r.Quantile(50), r.Quantile(90), r.Quantile(99), r.Quantile(99.9), float64(r.Latency.Max())/1000, r.Requests, r.Failed)
	if r.FirstError != nil {
		text += ": " + r.FirstError.Error()
	}
	return text
}

// longest is the longest latency that histograms hold, in microseconds.
const longest = 600 * 1000 * 1000

func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, 3) }

type counts struct {
	latency *hdrhistogram.Histogram
	failed  int64
	err     error
}

func (c *counts) add(d time.Duration, err error) {
	// The histogram takes everything up to its longest latency, which is longer than any loop.
	_ = c.latency.RecordValue(min(max(d.Microseconds(), 1), longest))
	if err != nil {
		c.failed++
		if c.err == nil {
			c.err = err
		}
	}
}

// ClosedLoop has callers that send their next request when they have the answer to the last one.
func ClosedLoop(ctx context.Context, open Open, callers int, d time.Duration) (Result, error) {
	until := time.Now().Add(d)
	return callersLoop(ctx, open, callers, func(int) (time.Time, bool) {
		now := time.Now()
		return now, now.Before(until)
	})
}

// Times has callers that send n requests altogether.
func Times(ctx context.Context, open Open, callers, n int) (Result, error) {
	var sent atomic.Int64
	return callersLoop(ctx, open, callers, func(int) (time.Time, bool) { return time.Now(), sent.Add(1) <= int64(n) })
}

// OpenLoop sends requests at a constant rate whatever the server does. A request that no caller is free for waits, and that wait is part of its
// latency, as it would be for a client.
func OpenLoop(ctx context.Context, open Open, callers int, rate float64, d time.Duration) (Result, error) {
	begin := time.Now()
	total := int64(rate * d.Seconds())
	var next atomic.Int64
	return callersLoop(ctx, open, callers, func(int) (time.Time, bool) {
		n := next.Add(1) - 1
		due := begin.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if n >= total {
			return due, false
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		return due, true
	})
}

// callersLoop runs callers until next says that there are no more requests; next also says since when the latency of a request counts.
func callersLoop(ctx context.Context, open Open, callers int, next func(caller int) (time.Time, bool)) (Result, error) {
	ops := make([]Op, callers)
	for i := range ops {
		op, closeOp, err := open(i)
		if err != nil {
			return Result{}, err
		}
		defer closeOp()
		ops[i] = op
	}
	got := make([]counts, callers)
	var wg sync.WaitGroup
	begin := time.Now()
	for i, op := range ops {
		got[i].latency = histogram()
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				since, more := next(i)
				if !more {
					return
				}
				err := op(ctx, n)
				got[i].add(time.Since(since), err)
			}
		})
	}
	wg.Wait()
	r := Result{Elapsed: time.Since(begin), Latency: histogram()}
	for _, g := range got {
		r.Latency.Merge(g.latency)
		r.Requests += g.latency.TotalCount()
		r.Failed += g.failed
		if r.FirstError == nil {
			r.FirstError = g.err
		}
	}
	return r, ctx.Err()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// figure is one number of a scenario.
type figure struct {
	name string
	unit string
	// lower tells that less is better.
	lower bool
	// gate is the goal on two cores, as text; empty when there is none.
	gate string
}

// scenario measures figures on servers that it starts itself.
type scenario struct {
	row     string
	figures []figure
	run     func(context.Context, *bench) ([]float64, error)
}

// bench is one server kind in one round.
type bench struct {
	kind     serverKind
	duration time.Duration
	listRuns int
}

// with starts a server for the time of f.
func (b *bench) with(ctx context.Context, f func(*server) error) (err error) {
	s, err := newServer(ctx, b.kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return f(s)
}

// loop measures a closed loop after a short warm-up, and the processor time of the server per request in milliseconds.
func (b *bench) loop(ctx context.Context, s *server, open Open, callers int) (Result, float64, error) {
	if _, err := ClosedLoop(ctx, open, callers, b.duration/5); err != nil {
		return Result{}, 0, err
	}
	before, err := s.cpu()
	if err != nil {
		return Result{}, 0, err
	}
	r, err := ClosedLoop(ctx, open, callers, b.duration)
	if err != nil {
		return r, 0, err
	}
	if r.Failed > 0 {
		return r, 0, fmt.Errorf("%d of %d requests failed: %w", r.Failed, r.Requests, r.FirstError)
	}
	after, err := s.cpu()
	return r, (after - before).Seconds() * 1000 / float64(max(r.Requests, 1)), err
}

const (
	ms        = "ms"
	perSecond = "/s"
	megabytes = "MB"
)

// scenarios are the rows of the comparison in their order.
var scenarios = []scenario{
	{row: "a", figures: []figure{{"cold start, empty folder or database", ms, true, "≤ 80; PostgreSQL ≤ 150"}}, run: coldStart},
	{row: "b", figures: []figure{
		{"resident memory, idle", megabytes, true, "≤ 35"}, {"resident memory, peak of 16 callers", megabytes, true, "≤ 64"},
	}, run: memory},
	{row: "c", figures: []figure{
		{"one-agent run, 1 caller, p50", ms, true, "≤ 2.0"},
		{"one-agent runs, 16 callers", perSecond, false, "≥ 1,000; PostgreSQL ≥ 800"},
		{"one-agent runs, 16 callers, p99", ms, true, "≤ 45"},
		{"one-agent run, server CPU", ms, true, ""},
		{"one-agent runs arriving at 20/s, p99", ms, true, ""},
	}, run: syncRuns},
	{row: "d", figures: []figure{
		{"queued runs accepted, 16 callers, worker busy", perSecond, false, "≥ 1,200"},
		{"queued run accepted, p99", ms, true, "≤ 50"},
		{"runs drained by the default worker", perSecond, false, "≥ 1,600"},
		{"queued run, server CPU in all", ms, true, "≤ 0.9"},
		{"stored per one-agent run (SQLite)", "kB", true, "≤ 9"},
	}, run: queuedRuns},
	{row: "d", figures: []figure{{"submitted to completed, idle, p50", ms, true, "≤ 10"}, {"submitted to completed, idle, p99", ms, true, "≤ 25"}}, run: lowLoad},
	workflowScenario("3-step sequential", sequenceSpec, "≤ 4", "≥ 500"),
	workflowScenario("5-node graph", graphSpec, "≤ 6", "≥ 300"),
	workflowScenario("8-branch concurrent", concurrentSpec, "≤ 6", "≥ 300"),
	{row: "f", figures: []figure{
		{"get run, 16 callers", perSecond, false, "≥ 6,000"},
		{"get run, 16 callers, p99", ms, true, "≤ 20"},
		{"checkpoints of a run, 16 callers", perSecond, false, "≥ 4,000"},
	}, run: reads},
	{row: "g", figures: []figure{{"list 100 of many runs, p50", ms, true, "≤ 8"}, {"list 100 by status, p50", ms, true, ""}}, run: lists},
	{row: "h", figures: []figure{{"idempotent replay, 16 callers", perSecond, false, "≥ 5,000"}, {"idempotent replay, 1 caller, p50", ms, true, "≤ 0.5"}}, run: replays},
	{row: "i", figures: []figure{
		{"validate a new spec of 200 kB, 16 callers", perSecond, false, "≥ 200"},
		{"validate a new spec of 200 kB, 1 caller, p50", ms, true, "≤ 6"},
		{"validate a known spec of 200 kB, 16 callers", perSecond, false, "≥ 2,100"},
		{"compile a new spec of 200 kB, 16 callers", perSecond, false, ""},
		{"compile a new spec of 200 kB, 1 caller, p50", ms, true, ""},
		{"compile a known spec of 200 kB, 16 callers", perSecond, false, ""},
		{"validate small spec, 16 callers", perSecond, false, "≥ 5,000"},
	}, run: validation},
	{row: "j", figures: []figure{
		{"SIGKILL in mid-drain, start to all ended", ms, true, "≤ 1,000 + left ÷ drain rate"},
		{"runs left at the kill", "", true, ""},
		{"runs lost", "", true, "0"},
		{"runs completed twice", "", true, "0"},
	}, run: crash},
}

func workflowScenario(name string, spec func() object, alone, many string) scenario {
	return scenario{
		row: "e", figures: []figure{{name + ", 1 caller, p50", ms, true, alone}, {name + ", 16 callers", perSecond, false, many}},
		run: func(ctx context.Context, b *bench) (out []float64, err error) {
			err = b.with(ctx, func(s *server) error {
				open := s.target().post("/v1/runs", runBody(spec(), false), 200)
				one, _, err := b.loop(ctx, s, open, 1)
				if err != nil {
					return err
				}
				many, _, err := b.loop(ctx, s, open, 16)
				out = []float64{one.Quantile(50), many.PerSecond()}
				return err
			})
			return out, err
		},
	}
}

func coldStart(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		out = []float64{s.started.Seconds() * 1000}
		return nil
	})
	return out, err
}

// settleTime is how long a server that has just started is left alone before its memory is read.
const settleTime = time.Second

func memory(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
			return ctx.Err()
		}
		idle, err := s.status("VmRSS")
		if err != nil {
			return err
		}
		if _, _, err := b.loop(ctx, s, s.target().post("/v1/runs", runBody(soloSpec(), false), 200), 16); err != nil {
			return err
		}
		peak, err := s.status("VmHWM")
		out = []float64{idle, peak}
		return err
	})
	return out, err
}

func syncRuns(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		open := s.target().post("/v1/runs", runBody(soloSpec(), false), 200)
		one, _, err := b.loop(ctx, s, open, 1)
		if err != nil {
			return err
		}
		many, cpu, err := b.loop(ctx, s, open, 16)
		if err != nil {
			return err
		}
		arriving, err := OpenLoop(ctx, open, 64, 20, b.duration)
		out = []float64{one.Quantile(50), many.PerSecond(), many.Quantile(99), cpu, arriving.Quantile(99)}
		return err
	})
	return out, err
}

// submissions is how many runs are queued in the time of a measurement.
func (b *bench) submissions() int {
	if b.kind.reference {
		return int(40 * b.duration.Seconds())
	}
	return int(1500 * b.duration.Seconds())
}

// drainLimit is the longest wait for queued runs to end.
const drainLimit = 2 * time.Minute

func queuedRuns(ctx context.Context, b *bench) (out []float64, err error) {
	err = b.with(ctx, func(s *server) error {
		t := s.target()
		if _, _, err := t.submit(ctx, 4, 20); err != nil {
			return err
		}
		if _, err := t.settled(ctx, 20*time.Millisecond, drainLimit); err != nil {
			return err
		}
		cpu, err := s.cpu()
		if err != nil {
			return err
		}
		size, err := s.stored(ctx)
		if err != nil {
			return err
		}
		n := b.submissions()
		begin := time.Now()
		_, accepted, err := t.submit(ctx, 16, n)
		if err != nil || accepted.Failed > 0 {
			return errors.Join(err, accepted.FirstError)
		}
		end, err := t.settled(ctx, 20*time.Millisecond, drainLimit)
		if err != nil {
			return err
		}
		drained := float64(n) / end.Sub(begin).Seconds()
		used, err := s.cpu()
		if err != nil {
			return err
		}
		grown, err := s.stored(ctx)
		if err != nil {
			return err
		}
		if !b.kind.reference {
			if drained, err = backlog(ctx, t, n); err != nil {
				return err
			}
		}
		out = []float64{accepted.PerSecond(), accepted.Quantile(99), drained, (used - cpu).Seconds() * 1000 / float64(n), perRun(grown-size, n)}
		return nil
	})
	return out, err
}

// perRun is a number of bytes per run in kB, NaN when nothing was counted.
func perRun(bytes int64, n int) float64 {
	if bytes == 0 {
		return math.NaN()
	}
	return float64(bytes) / 1000 / float64(n)
}

// backlog keeps the worker busy until n runs are queued and returns how many per second it then ends.
func backlog(ctx context.Context, t target, n int) (rate float64, err error) {
	p, err := newPlug(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := t.call(ctx, "POST", "/v1/runs", p.body(), nil); err != nil {
		return 0, err
	}
	select {
	case <-p.called:
	case <-time.After(startTimeout):
		return 0, errors.New("the worker did not call the tool that keeps it busy")
	}
	if _, _, err := t.submit(ctx, 32, n); err != nil {
		return 0, err
	}
	begin := time.Now()
	p.pull()
	end, err := t.settled(ctx, 10*time.Millisecond, drainLimit)
	return float64(n) / end.Sub(begin).Seconds(), err
}

// lowLoadRuns is how many runs are sent one after another.
const lowLoadRuns = 30

func lowLoad(ctx context.Context, b *bench) (out []float64, err error) {
	n := lowLoadRuns
	if b.kind.reference {
		n = 6
	}
	err = b.with(ctx, func(s *server) error {
		t := s.target()
		c, err := connect(t.url, "")
		if err != nil {
			return err
		}
		defer c.close()
		body := runBody(soloSpec(), true)
		took := histogram()
		for i := range n + 2 {
			begin := time.Now()
			status, answer, err := c.do(ctx, "POST", "/v1/runs", "", body)
			if err := expect(202)(status, answer, err); err != nil {
				return err
			}
			id, err := runID(answer)
			if err != nil {
				return err
			}
			if err := completed(ctx, c, id); err != nil {
				return err
			}
			if i >= 2 {
				_ = took.RecordValue(time.Since(begin).Microseconds())
			}
			select {
			case <-time.After(30 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		out = []float64{float64(took.ValueAtQuantile(50)) / 1000, float64(took.ValueAtQuantile(99)) / 1000}
		return nil
	})
	return out, err
}

// completed reads a run until it has ended.
func completed(ctx context.Context, c *connection, id string) error {
	until := time.Now().Add(drainLimit)
	for time.Now().Before(until) {
		status, answer, err := c.do(ctx, "GET", "/v1/runs/"+id, "", nil)
		if err := expect(200)(status, answer, err); err != nil {
			return err
		}
		if state := member(answer, "status"); state == "completed" {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("run %s did not complete", id)
}

package telemetry

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// QueueNumbers are the gauges that are read from the store at a scrape.
type QueueNumbers struct {
	Queued, Running int64
	// OldestQueued is the age of the oldest waiting run.
	OldestQueued time.Duration
}

// Metrics holds the instruments of one process. The first eleven keep the names, types and meaning of the compatible service and have no labels.
// All methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	started, completed, failed, deadLettered, rejected prometheus.Counter
	tokensInput, tokensOutput, tokensTotal             prometheus.Counter
	queued, running, workers, oldest                   prometheus.Gauge

	legs        *prometheus.HistogramVec
	requests    *prometheus.CounterVec
	latency     *prometheus.HistogramVec
	calls       *prometheus.CounterVec
	idempotency *prometheus.CounterVec

	waits, callTimes *prometheus.HistogramVec
	leaseLosses      prometheus.Counter
}

// NewMetrics returns instruments in a registry of their own, with the process and runtime collectors.
func NewMetrics(version string) *Metrics {
	r := prometheus.NewRegistry()
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	m := &Metrics{
		registry:     r,
		started:      counter("kneo_runs_started_total", "Runs that began execution."),
		completed:    counter("kneo_runs_completed_total", "Runs that completed successfully."),
		failed:       counter("kneo_runs_failed_total", "Runs that ended in failure / timeout / max-iterations."),
		deadLettered: counter("kneo_runs_dead_lettered_total", "Runs dead-lettered after exceeding the retry cap."),
		rejected:     counter("kneo_runs_rejected_total", "Runs rejected by queue-depth backpressure (queue at capacity)."),
		tokensInput:  counter("kneo_tokens_input_total", "Input/prompt tokens consumed across runs."),
		tokensOutput: counter("kneo_tokens_output_total", "Output/completion tokens produced across runs."),
		tokensTotal:  counter("kneo_tokens_total", "Total tokens (input + output) across runs."),
		queued:       gauge("kneo_runs_queued", "Runs currently queued and awaiting a worker."),
		running:      gauge("kneo_runs_running", "Runs currently leased by a worker."),
		workers:      gauge("kneo_worker_count", "Live worker threads in this process."),
		oldest:       gauge("kneo_queue_oldest_seconds", "Age of the oldest waiting run."),
		legs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kneo_leg_duration_seconds", Help: "Time from claim to end of a leg.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"mode", "status"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kneo_requests_total", Help: "Requests by method and result code."}, []string{"method", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kneo_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method"}),
		calls:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kneo_calls_total", Help: "Model and tool calls by kind and outcome."}, []string{"kind", "name", "outcome"}),
		idempotency: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kneo_idempotent_requests_total", Help: "Keyed requests by what the key meant."}, []string{"outcome"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kneo_build_info", Help: "Version of this process.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.leaseLosses = counter("kneo_lease_losses_total", "Legs that this process had to give up because another one owns the run or it has ended.")
	m.waits = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kneo_queue_wait_seconds", Help: "Time from creation of a queued run to its first claim.",
		Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
	}, nil)
	m.callTimes = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kneo_call_duration_seconds", Help: "Time of a model or tool call by kind and name of provider or tool.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
	}, []string{"kind", "name"})
	r.MustRegister(m.waits, m.callTimes)
	r.MustRegister(m.legs, m.requests, m.latency, m.calls, m.idempotency, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// RunStarted counts a first execution of a run, or a reclaimed one.
func (m *Metrics) RunStarted() { m.started.Inc() }

// RunCompleted counts a completed leg.
func (m *Metrics) RunCompleted() { m.completed.Inc() }

// RunFailed counts a failed leg.
func (m *Metrics) RunFailed() { m.failed.Inc() }

// RunDeadLettered counts a run that was claimed too often.
func (m *Metrics) RunDeadLettered() { m.deadLettered.Inc() }

// RunRejected counts a run refused because the queue was full.
func (m *Metrics) RunRejected() { m.rejected.Inc() }

// Tokens counts the tokens of a leg.
func (m *Metrics) Tokens(input, output, total int64) {
	m.tokensInput.Add(float64(max(input, 0)))
	m.tokensOutput.Add(float64(max(output, 0)))
	m.tokensTotal.Add(float64(max(total, 0)))
}

// Workers sets the number of live worker slots.
func (m *Metrics) Workers(n int) { m.workers.Set(float64(n)) }

// Leg records the duration of a leg by mode (inline or queued) and status.
func (m *Metrics) Leg(mode, status string, d time.Duration) {
	m.legs.WithLabelValues(mode, status).Observe(d.Seconds())
}

// Request records one answered request. Method is the full RPC name, code the name of the status code.
func (m *Metrics) Request(method, code string, d time.Duration) {
	m.requests.WithLabelValues(method, code).Inc()
	m.latency.WithLabelValues(method).Observe(d.Seconds())
}

// Call counts a model or tool call.
func (m *Metrics) Call(kind, name, outcome string) {
	m.calls.WithLabelValues(kind, name, outcome).Inc()
}

// Idempotency counts a keyed request by outcome: first, replay, conflict or in_progress.
func (m *Metrics) Idempotency(outcome string) { m.idempotency.WithLabelValues(outcome).Inc() }

// CallTime records how long a model or tool call took.
func (m *Metrics) CallTime(kind, name string, d time.Duration) {
	m.callTimes.WithLabelValues(kind, name).Observe(d.Seconds())
}

// QueueWait records how long a queued run waited for its first claim.
func (m *Metrics) QueueWait(d time.Duration) { m.waits.WithLabelValues().Observe(max(d, 0).Seconds()) }

// LeaseLost counts legs that were given up because another process owns the run or it has ended.
func (m *Metrics) LeaseLost(n int) { m.leaseLosses.Add(float64(n)) }

// PoolNumbers describe the connections to the database.
type PoolNumbers struct {
	Total, Idle, InUse, Most int64
	// Waits is how often somebody had to wait for a connection, WaitTime how long in all.
	Waits    int64
	WaitTime time.Duration
}

// WatchPool adds the gauges of a connection pool, which are read at every scrape.
func (m *Metrics) WatchPool(read func() PoolNumbers) {
	gauge := func(state string, value func(PoolNumbers) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kneo_db_pool_connections", Help: "Connections to the database by state.", ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return float64(value(read())) })
	}
	m.registry.MustRegister(
		gauge("total", func(p PoolNumbers) int64 { return p.Total }), gauge("idle", func(p PoolNumbers) int64 { return p.Idle }),
		gauge("in_use", func(p PoolNumbers) int64 { return p.InUse }), gauge("max", func(p PoolNumbers) int64 { return p.Most }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "kneo_db_pool_waits_total", Help: "How often a connection had to be waited for."},
			func() float64 { return float64(read().Waits) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "kneo_db_pool_wait_seconds_total", Help: "Time spent waiting for a connection."},
			func() float64 { return read().WaitTime.Seconds() }))
}

// queueNumbers sets the gauges that are read from the store.
func (m *Metrics) queueNumbers(n QueueNumbers) {
	m.queued.Set(float64(n.Queued))
	m.running.Set(float64(n.Running))
	m.oldest.Set(n.OldestQueued.Seconds())
}

// ContentType of the exposition.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler serves the exposition. read gets the store's numbers; when it fails, fail writes the answer.
func (m *Metrics) Handler(read func(ctx context.Context) (QueueNumbers, error), fail func(w http.ResponseWriter, r *http.Request, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := read(r.Context())
		if err == nil {
			m.queueNumbers(n)
		}
		var text []byte
		if err == nil {
			text, err = m.exposition()
		}
		if err != nil {
			fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", ContentType)
		_, _ = w.Write(text)
	})
}

// exposition writes all families in the text format.
func (m *Metrics) exposition() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	var errs error
	enc := expfmt.NewEncoder(&buf, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		errs = errors.Join(errs, enc.Encode(f))
	}
	return buf.Bytes(), errs
}

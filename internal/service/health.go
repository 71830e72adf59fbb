package service

import (
	"context"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/store"
)

// Names by which compatible clients know the service.
const (
	ServiceName    = "kneo-serv-platform"
	ServiceVersion = "1.2.0"
)

// HealthOptions say what readiness looks at.
type HealthOptions struct {
	Store store.Store
	// Durable is false for a store that forgets everything at exit.
	Durable bool
	// Runtimes and Tools list the registered names; they are asked at every check.
	Runtimes, Tools func() []string
	// Providers and MCPSecrets must have their variables set.
	Providers, MCPSecrets []string
	Env                   Lookup
	// Draining reports that the process is about to stop.
	Draining func() bool
}

// Health answers the probes.
type Health struct{ o HealthOptions }

// NewHealth returns the use case.
func NewHealth(o HealthOptions) *Health { return &Health{o: o} }

// storeKinds are the names under which compatible clients know the stores.
var storeKinds = map[string]string{"sqlite": "SQLiteRunStateStore", "postgres": "PostgresRunStateStore"}

// checks collects named checks.
type checks struct {
	all object
	bad bool
}

func (c *checks) add(name string, ok bool, rest func(*object)) {
	var o object
	o.text("name", name)
	o.boolean("ok", ok)
	if rest != nil {
		rest(&o)
	}
	c.all.raw(name, o.bytes())
	c.bad = c.bad || !ok
}

// Ready checks the stores, the queue, the registries and the secrets. It returns the metadata object; a failed check is the error not_ready, which
// carries the same object.
func (h *Health) Ready(ctx context.Context) ([]byte, error) {
	var c checks
	c.add("api", !h.o.Draining(), func(o *object) {
		if h.o.Draining() {
			o.text("status", "draining")
			o.text("error", "draining")
			o.text("message", "The server is shutting down.")
			return
		}
		o.text("status", "ready")
	})
	_, runs := h.o.Store.ListRuns(ctx, store.RunFilter{SortBy: "updated_at", Desc: true, Limit: 1})
	c.add("run_state_store", runs == nil, failure(runs, "The run store cannot be read."))
	_, tasks := h.o.Store.HumanTasks(ctx, store.TaskFilter{Limit: 1})
	c.add("continuation_store", tasks == nil, failure(tasks, "The human task store cannot be read."))
	stats, queue := h.o.Store.QueueStats(ctx)
	c.add("queue", queue == nil, func(o *object) {
		if queue != nil {
			failure(queue, "The queue cannot be read.")(o)
			return
		}
		o.text("kind", storeKinds[h.o.Store.Kind()])
		o.boolean("durable", h.o.Durable)
		o.number("queued", stats.Queued)
		o.number("running", stats.Running)
		o.number("failed", stats.Failed)
	})
	registry(&c, "runtime_registry", h.o.Runtimes())
	registry(&c, "tool_registry", h.o.Tools())
	h.secrets(&c, "providers", h.o.Providers, secret.ProviderVariable)
	h.secrets(&c, "mcp", h.o.MCPSecrets, func(name string) string { return name })
	var metadata object
	metadata.boolean("ready", !c.bad)
	metadata.text("manager", "PlatformManager")
	metadata.raw("checks", c.all.bytes())
	if c.bad {
		return nil, problem.New(problem.NotReady, "One or more readiness checks failed.").With("metadata", rawJSON(metadata.bytes()))
	}
	return metadata.bytes(), nil
}

func failure(err error, message string) func(*object) {
	if err == nil {
		return nil
	}
	return func(o *object) {
		o.text("error", "check_failed")
		o.text("message", message)
	}
}

func registry(c *checks, name string, names []string) {
	slices.Sort(names)
	c.add(name, true, func(o *object) {
		o.number("count", int64(len(names)))
		o.list("names", names)
	})
}

func (h *Health) secrets(c *checks, name string, wanted []string, variable func(string) string) {
	if len(wanted) == 0 {
		c.add(name, true, func(o *object) { o.boolean("configured", false) })
		return
	}
	var items object
	var missing []string
	for _, w := range wanted {
		v := variable(w)
		present := h.o.Env.present(v)
		var item object
		item.text("name", w)
		item.text("env_var", v)
		item.boolean("present", present)
		if present {
			item.text("value", "[REDACTED]")
		} else {
			item.raw("value", nil)
			missing = append(missing, v)
		}
		items.raw(w, item.bytes())
	}
	c.add(name, len(missing) == 0, func(o *object) {
		o.raw("items", items.bytes())
		if len(missing) > 0 {
			o.text("error", "missing_secret")
			o.text("message", "Not set: "+strings.Join(missing, ", ")+".")
		}
	})
}

// Queue reads the numbers of the queue, for metrics.
func (h *Health) Queue(ctx context.Context) (store.QueueStats, error) {
	stats, err := h.o.Store.QueueStats(ctx)
	return stats, storeError(err)
}

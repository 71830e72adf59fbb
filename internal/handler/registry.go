package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// Func is a handler in this process.
type Func func(ctx context.Context, input json.RawMessage, m Meta) (json.RawMessage, error)

// TextFunc adapts a function of text; it serves functions, summarizers and guardrails that look at text.
func TextFunc(fn func(ctx context.Context, text string) (string, error)) Func {
	return func(ctx context.Context, input json.RawMessage, _ Meta) (json.RawMessage, error) {
		var text string
		if err := json.Unmarshal(input, &text); err != nil {
			return nil, NewError(CodeInvalidInput, "The handler takes text.")
		}
		out, err := fn(ctx, text)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

type key struct {
	kind Kind
	name string
}

type entry struct {
	def Definition
	fn  Func
}

// Registry holds the handlers of this process and asks further sources for those it lacks. It is safe for concurrent use.
type Registry struct {
	mu      sync.RWMutex
	entries map[key]entry
	sources []Source
}

// NewRegistry returns a registry that falls back to the sources in order.
func NewRegistry(sources ...Source) *Registry {
	return &Registry{entries: map[key]entry{}, sources: sources}
}

// Register adds a handler. The name is made canonical; an empty name, an unknown kind and a second registration are errors.
func (r *Registry) Register(def Definition, fn Func) error {
	def.Name = Canonical(def.Name)
	switch {
	case def.Name == "":
		return fmt.Errorf("handler: name is empty")
	case !def.Kind.Valid():
		return fmt.Errorf("handler %s: unknown kind %q", def.Name, def.Kind)
	case fn == nil:
		return fmt.Errorf("handler %s: function is nil", def.Name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{def.Kind, def.Name}
	if _, taken := r.entries[k]; taken {
		return fmt.Errorf("handler %s: registered twice as %s", def.Name, def.Kind)
	}
	r.entries[k] = entry{def, fn}
	return nil
}

// AddSource appends a source that is asked after all earlier ones.
func (r *Registry) AddSource(s Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = append(r.sources, s)
}

func (r *Registry) find(kind Kind, name string) (entry, bool, []Source) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.entries[key{kind, Canonical(name)}]
	return e, ok, r.sources
}

// Has implements Catalog.
func (r *Registry) Has(kind Kind, name string) bool {
	_, ok, sources := r.find(kind, name)
	if ok {
		return true
	}
	return slices.ContainsFunc(sources, func(s Source) bool { return s.Has(kind, name) })
}

// Definition returns the description of a handler.
func (r *Registry) Definition(kind Kind, name string) (Definition, bool) {
	e, ok, sources := r.find(kind, name)
	if ok {
		return e.def, true
	}
	for _, s := range sources {
		for _, d := range s.Definitions() {
			if d.Kind == kind && d.Name == Canonical(name) {
				return d, true
			}
		}
	}
	return Definition{}, false
}

// Definitions implements Source; where several sources serve a handler, the first one's definition is listed.
func (r *Registry) Definitions() []Definition {
	r.mu.RLock()
	sources := r.sources
	seen := make(map[key]bool, len(r.entries))
	out := make([]Definition, 0, len(r.entries))
	for k, e := range r.entries {
		seen[k] = true
		out = append(out, e.def)
	}
	r.mu.RUnlock()
	for _, s := range sources {
		for _, d := range s.Definitions() {
			if k := (key{d.Kind, d.Name}); !seen[k] {
				seen[k] = true
				out = append(out, d)
			}
		}
	}
	SortDefinitions(out)
	return out
}

// SortDefinitions sorts by name and then by kind.
func SortDefinitions(ds []Definition) {
	slices.SortFunc(ds, func(a, b Definition) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(string(a.Kind), string(b.Kind)))
	})
}

// Names implements Catalog.
func (r *Registry) Names() []string {
	ds := r.Definitions()
	out := make([]string, 0, len(ds))
	for _, d := range ds {
		out = append(out, d.Name)
	}
	return slices.Compact(out)
}

// Call implements Caller. A handler of this process that panics fails its call, not the process.
func (r *Registry) Call(ctx context.Context, kind Kind, name string, input json.RawMessage, m Meta) (json.RawMessage, error) {
	m.Attempt = max(m.Attempt, 1)
	e, ok, sources := r.find(kind, name)
	if ok {
		return invoke(ctx, e, input, m)
	}
	for _, s := range sources {
		if s.Has(kind, name) {
			return s.Call(ctx, kind, name, input, m)
		}
	}
	// A remote worker may be away for a moment: the last source decides how long to wait for it.
	if len(sources) > 0 {
		return sources[len(sources)-1].Call(ctx, kind, name, input, m)
	}
	return nil, Unknown(kind, name, r.Names())
}

func invoke(ctx context.Context, e entry, input json.RawMessage, m Meta) (out json.RawMessage, err error) {
	if !m.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, m.Deadline)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			failure := NewError(CodeFailed, "The handler %s panicked.", e.def.Name)
			failure.cause = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			out, err = nil, failure
		}
	}()
	out, err = e.fn(ctx, input, m)
	if err == nil || AsError(err) != nil || ctx.Err() != nil {
		return out, err
	}
	// Nothing is known about an ordinary error, so another try may succeed.
	failure := NewError(CodeFailed, "%s", err.Error())
	failure.Retryable, failure.cause = true, err
	return nil, failure
}

// Unknown is the error for a handler that nobody serves; it names the most similar names.
func Unknown(kind Kind, name string, names []string) *Error {
	return NewError(CodeUnavailable, "No %s handler named %q is registered.%s", kind, Canonical(name), Hint(Nearest(name, names, 3)))
}

// Hint renders nearest names as a sentence with a leading space, or "".
func Hint(nearest []string) string {
	if len(nearest) == 0 {
		return ""
	}
	return " Nearest names: " + strings.Join(nearest, ", ") + "."
}

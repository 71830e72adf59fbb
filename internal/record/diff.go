package record

import (
	"encoding/json"
	"sort"
	"strconv"
	"strings"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
)

// diffLimit bounds how many changes a diff lists over its three lists together.
const diffLimit = 200

// Change is one difference between two checkpoints. Added ones have no Before, removed ones no After.
type Change struct {
	Path          string
	Before, After json.RawMessage
}

// Diff is the difference between two checkpoints.
type Diff struct {
	Count                   int64
	Added, Removed, Changed []Change
	Truncated               bool
}

// DiffOf compares states and metadata of two checkpoints whose states are full (see FullState).
func DiffOf(fromState json.RawMessage, from *run.Checkpoint, toState json.RawMessage, to *run.Checkpoint) Diff {
	before, after := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	flatten(before, "state", orObject(fromState))
	flatten(before, "metadata", orObject(from.Metadata))
	flatten(after, "state", orObject(toState))
	flatten(after, "metadata", orObject(to.Metadata))
	paths := make([]string, 0, len(after))
	for p := range before {
		paths = append(paths, p)
	}
	for p := range after {
		if _, both := before[p]; !both {
			paths = append(paths, p)
		}
	}
	sort.Strings(paths)
	d := Diff{Added: []Change{}, Removed: []Change{}, Changed: []Change{}}
	for _, p := range paths {
		d.compare(p, before[p], after[p])
	}
	return d
}

func orObject(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("{}")
	}
	return v
}

func (d *Diff) compare(path string, b, a json.RawMessage) {
	if b != nil && a != nil && sameLeaf(b, a) {
		return
	}
	d.Count++
	if len(d.Added)+len(d.Removed)+len(d.Changed) >= diffLimit {
		d.Truncated = true
		return
	}
	c := Change{Path: path, Before: masked(path, b), After: masked(path, a)}
	switch {
	case b == nil:
		d.Added = append(d.Added, c)
	case a == nil:
		d.Removed = append(d.Removed, c)
	default:
		d.Changed = append(d.Changed, c)
	}
}

func sameLeaf(a, b json.RawMessage) bool {
	if string(a) == string(b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a[0] != '"' || b[0] != '"' {
		return false
	}
	return textOf(a) == textOf(b)
}

// masked redacts a leaf by the last key of its path; the session id of the run itself is shown (decision W9).
func masked(path string, v json.RawMessage) json.RawMessage {
	if v == nil {
		return nil
	}
	last := path
	if i := strings.LastIndexByte(last, '.'); i >= 0 {
		last = last[i+1:]
	}
	if i := strings.IndexByte(last, '['); i >= 0 {
		last = last[:i]
	}
	if path != "state.session_id" && redact.Key(last) {
		return json.RawMessage(`"` + redact.Mask + `"`)
	}
	return redact.JSON(v)
}

// flatten collects the leaves of a value; empty containers are leaves.
func flatten(out map[string]json.RawMessage, path string, v json.RawMessage) {
	v = trim(v)
	if len(v) == 0 {
		return
	}
	empty := true
	switch v[0] {
	case '{':
		scan(v, func(m member) bool {
			empty = false
			flatten(out, path+"."+m.key, m.value)
			return true
		})
	case '[':
		i := 0
		elements(v, func(e []byte) {
			empty = false
			flatten(out, path+"["+strconv.Itoa(i)+"]", e)
			i++
		})
	}
	if !empty {
		return
	}
	switch v[0] {
	case '{':
		v = json.RawMessage("{}")
	case '[':
		v = json.RawMessage("[]")
	}
	out[path] = v
}

package spec

import (
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/problem"
)

// SkillsOverlay changes which declared skills the root agent of one run uses.
type SkillsOverlay struct {
	Add     []string
	Disable []string
}

// IsZero reports whether the overlay changes nothing.
func (o SkillsOverlay) IsZero() bool { return len(o.Add) == 0 && len(o.Disable) == 0 }

// Inputs are everything a document is made of, as given.
type Inputs struct {
	Base          *Node
	Overlays      []*Node
	Overrides     *Node
	Environment   string
	SkillsOverlay SkillsOverlay
	// Found are the warnings of reading the texts; they lead the diagnostics.
	Found Diagnostics
}

// Layered reports whether overlays, overrides or the skills overlay may change the base.
func (in Inputs) Layered() bool {
	return len(in.Overlays) > 0 || in.Overrides != nil && len(in.Overrides.Entries) > 0 || !in.SkillsOverlay.IsZero()
}

// Layer merges the overlays in order and then the overrides onto the base,
// migrates and normalises the result, stamps the environment and applies the
// skills overlay. The inputs are not changed.
func (in Inputs) Layer() (*Node, error) {
	tree, err := in.merged()
	if err != nil {
		return nil, err
	}
	if tree, _, err = Migrate(tree); err != nil {
		return nil, err
	}
	tree = stampEnvironment(Normalise(tree), in.Environment)
	return in.SkillsOverlay.apply(tree)
}

// Merged returns the base with overlays and overrides, not migrated and not
// normalised: the file a person would have written.
func (in Inputs) Merged() (*Node, error) { return in.merged() }

func (in Inputs) merged() (*Node, error) {
	if err := requireMapping(in.Base); err != nil {
		return nil, err
	}
	tree := in.Base
	for _, o := range in.Overlays {
		if err := requireMapping(o); err != nil {
			return nil, err
		}
		tree = Merge(tree, o)
	}
	if in.Overrides.Len() > 0 {
		tree = Merge(tree, in.Overrides)
	}
	return tree, nil
}

// Document layers the inputs and decodes the result. The error is a problem
// with the request (version, skills overlay, no mapping); everything wrong with
// the content is in the diagnostics, and the document is nil when its schema
// does not hold.
func (in Inputs) Document() (*Document, Diagnostics, error) {
	tree, err := in.Layer()
	if err != nil {
		return nil, nil, err
	}
	doc, found := Decode(tree)
	return doc, append(slices.Clone(in.Found), found...), nil
}

func requireMapping(n *Node) error {
	if n == nil {
		return problem.New(problem.SpecInvalid, "Spec file is empty.").With("diagnostics", Diagnostics{{
			Code: CodeSyntax, Severity: SeverityError, Message: "Spec file is empty.",
			Suggestion: "Write a mapping with at least version and agent.",
		}})
	}
	if n.Kind != Mapping {
		return problem.New(problem.SpecInvalid, "Spec root must be an object").With("diagnostics", Diagnostics{{
			Code: CodeSyntax, Severity: SeverityError, Message: "Spec root must be an object, not a " + n.Kind.String() + ".",
			Suggestion: "Write a mapping with at least version and agent.", File: n.File, Line: n.Line, Column: n.Column,
		}})
	}
	return nil
}

const deleteMarker = "__delete__"

// Merge lays over onto base: null or a mapping with `__delete__: true` deletes
// the key, a mapping onto a mapping merges, anything else replaces. New keys
// follow the existing ones. Neither argument is changed.
func Merge(base, over *Node) *Node {
	if !over.IsMapping() {
		return base
	}
	out := base.shallow()
	set := keySet{inherited: true}
	for _, e := range over.Entries {
		at := set.find(out, e)
		switch {
		case e.Value.IsNull() || isDeletion(e.Value):
			if at >= 0 {
				out.Entries = slices.Delete(out.Entries, at, at+1)
				set = keySet{inherited: true}
			}
		case at >= 0 && out.Entries[at].Value.IsMapping() && e.Value.IsMapping():
			out.Entries[at].Value = Merge(out.Entries[at].Value, e.Value)
		default:
			set.add(out, e)
		}
	}
	return out
}

func isDeletion(n *Node) bool {
	marker := n.Get(deleteMarker)
	return marker != nil && marker.Kind == Bool && marker.Value == "true"
}

func stampEnvironment(tree *Node, environment string) *Node {
	if environment == "" {
		return tree
	}
	metadata := tree.Get("metadata")
	switch {
	case metadata.IsNull():
		metadata = NewMapping()
	case metadata.Kind != Mapping || metadata.Has("environment"):
		return tree
	}
	return tree.With("metadata", metadata.With("environment", NewString(environment)))
}

func (o SkillsOverlay) apply(tree *Node) (*Node, error) {
	if o.IsZero() {
		return tree, nil
	}
	declared := tree.Get("skills")
	var unknown []string
	for _, name := range o.Add {
		if !declared.Has(name) && !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, problem.New(problem.InvalidRequest,
			"skills overlay 'add' references undeclared skill(s): %s", strings.Join(unknown, ", "))
	}
	agent := tree.Get("agent")
	selected := agent.Get("skills")
	if !agent.IsMapping() || selected != nil && selected.Kind != Sequence {
		return tree, nil
	}
	var items []*Node
	var names []string
	if selected != nil {
		for _, item := range selected.Items {
			if item.Kind != String || !slices.Contains(o.Disable, item.Value) {
				items = append(items, item)
			}
			names = append(names, item.Text())
		}
	}
	for _, name := range o.Add {
		if !slices.Contains(names, name) && !slices.Contains(o.Disable, name) {
			items = append(items, NewString(name))
			names = append(names, name)
		}
	}
	return tree.With("agent", agent.With("skills", &Node{Kind: Sequence, Items: items, Pos: posOf(selected)})), nil
}

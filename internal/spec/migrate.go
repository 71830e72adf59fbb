package spec

import (
	"github.com/kneo-go/kneo/internal/problem"
)

// CurrentVersion is the version of the language.
const CurrentVersion = "v1"

// Migration says what Migrate did.
type Migration struct {
	TargetVersion string
	Changed       bool
	// Applied lists the steps in order.
	Applied []string
}

// Migrate brings a document of an older version to the current one. The input
// is not changed. An unknown version is an invalid_request problem.
func Migrate(tree *Node) (*Node, Migration, error) {
	version := tree.Get("version")
	if version != nil && version.Kind == String && version.Value == CurrentVersion {
		return tree, Migration{TargetVersion: CurrentVersion}, nil
	}
	if !version.IsNull() && (version.Kind != String || version.Value != "v0") {
		return nil, Migration{}, problem.New(problem.InvalidRequest, "Unsupported spec version: %s", versionText(version))
	}
	m := Migration{TargetVersion: CurrentVersion, Changed: true}
	tree = tree.With("version", &Node{Kind: String, Value: CurrentVersion, Pos: posOf(version)})
	m.note("set version=v1")
	tree = m.rename(tree, "root_agent", "agent")
	tree = m.rename(tree, "root_workflow", "workflow")
	tree = m.moveComponents(tree)
	if w := tree.Get("workflow"); w != nil {
		tree = tree.With("workflow", m.workflow(w, "workflow"))
	}
	if workflows := tree.At("components", "workflows"); workflows.IsMapping() {
		out := workflows.shallow()
		for i := range out.Entries {
			e := &out.Entries[i]
			e.Value = m.workflow(e.Value, "components.workflows."+e.Key)
		}
		tree = tree.With("components", tree.Get("components").With("workflows", out))
	}
	return tree, m, nil
}

func versionText(n *Node) string {
	switch {
	case n.Kind == Bool && n.Value == "true":
		return "True"
	case n.Kind == Bool:
		return "False"
	case n.Kind == Sequence || n.Kind == Mapping:
		return "a " + n.Kind.String()
	default:
		return n.Value
	}
}

func (m *Migration) note(step string) { m.Applied = append(m.Applied, step) }

func (m *Migration) rename(tree *Node, old, name string) *Node {
	i := tree.index(old)
	if i < 0 || tree.Has(name) {
		return tree
	}
	m.note("renamed " + old + " to " + name)
	moved := tree.Entries[i]
	moved.Key = name
	out := tree.Without(old)
	out.Entries = append(out.Entries, moved)
	return out
}

func (m *Migration) moveComponents(tree *Node) *Node {
	components := tree.Get("components")
	if components == nil {
		components = NewMapping()
		tree = tree.With("components", components)
	}
	if !components.IsMapping() {
		return tree
	}
	for _, move := range [...][2]string{
		{"component_agents", "agents"}, {"component_workflows", "workflows"}, {"functions", "functions"}, {"humans", "humans"},
	} {
		old := tree.Get(move[0])
		if old == nil {
			continue
		}
		if old.Truthy() && !old.IsMapping() {
			continue
		}
		tree = tree.Without(move[0])
		if !old.Truthy() {
			continue
		}
		target := components.Get(move[1])
		if !target.IsMapping() {
			target = NewMapping()
		}
		for _, e := range old.Entries {
			target = target.With(e.Key, e.Value)
		}
		components = components.With(move[1], target)
		m.note("moved " + move[0] + " to components." + move[1])
	}
	return tree.With("components", components)
}

func (m *Migration) workflow(w *Node, path string) *Node {
	switch {
	case w != nil && w.Kind == Sequence:
		m.note("converted " + path + " list to sequential workflow")
		out := &Node{Kind: Mapping, Pos: w.Pos}
		return out.With("type", NewString(WorkflowSequential)).With("steps", w)
	case w.IsMapping() && w.Has("steps") && !w.Has("type"):
		m.note("set " + path + ".type=sequential")
		return w.With("type", NewString(WorkflowSequential))
	default:
		return w
	}
}

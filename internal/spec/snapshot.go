package spec

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/kneo-go/kneo/internal/problem"
)

// Snapshot is everything a run is compiled from, independent of files that may
// change later.
type Snapshot struct {
	Inputs
	// Skills are all declared skills by declared name.
	Skills OrderedMap[*LoadedSkill]
}

// Frozen is a snapshot in its stored form.
type Frozen struct {
	Snapshot Snapshot
	// Data opens the snapshot again.
	Data []byte
	// Digest is the lower-case hex SHA-256 of Data.
	Digest string
}

// Freeze stores inputs and skills. Equal inputs give equal digests; the order
// of mappings is part of them because it has meaning.
func Freeze(in Inputs, skills OrderedMap[*LoadedSkill]) *Frozen {
	in.Found = nil
	s := Snapshot{Inputs: in, Skills: skills}
	data := s.node().JSON()
	sum := sha256.Sum256(data)
	return &Frozen{Snapshot: s, Data: data, Digest: hex.EncodeToString(sum[:])}
}

// Public renders the frozen_spec object that run metadata shows: base,
// overlays, and skills when the spec declares any.
func (s *Snapshot) Public() []byte {
	out := NewMapping().With("base", s.Base).With("overlays", NewSequence(s.Overlays...))
	if s.Skills.Len() > 0 {
		out = out.With("skills", s.skillsNode())
	}
	return out.JSON()
}

func (s *Snapshot) node() *Node {
	out := NewMapping().With("base", s.Base).With("overlays", NewSequence(s.Overlays...))
	if s.Overrides.Len() > 0 {
		out = out.With("overrides", s.Overrides)
	}
	if s.Environment != "" {
		out = out.With("environment", NewString(s.Environment))
	}
	if !s.SkillsOverlay.IsZero() {
		out = out.With("skills_overlay", NewMapping().
			With("add", textList(s.SkillsOverlay.Add)).With("disable", textList(s.SkillsOverlay.Disable)))
	}
	if s.Skills.Len() > 0 {
		out = out.With("skills", s.skillsNode())
	}
	return out
}

func textList(list []string) *Node {
	out := NewSequence()
	for _, s := range list {
		out.Items = append(out.Items, NewString(s))
	}
	return out
}

func (s *Snapshot) skillsNode() *Node {
	out := NewMapping()
	for name, skill := range s.Skills.All() {
		out.Entries = append(out.Entries, Entry{Key: name, KeyKind: String, Value: skill.node()})
	}
	return out
}

func (s *LoadedSkill) node() *Node {
	out := NewMapping().With("name", NewString(s.Name)).With("source", NewString(s.Source)).
		With("instructions", NewString(s.Instructions)).With("metadata", s.Metadata).With("tools", s.Tools).
		With("resources", textList(s.Resources)).With("system_fragment", NewString(s.SystemFragment))
	if s.Strict {
		out = out.With("sdk_fields", s.Details)
	}
	return out
}

// openLimits are generous: a snapshot was within the limits when it was made.
var openLimits = Limits{Bytes: 1 << 30, Depth: 1000, Nodes: 1 << 30}

// Open reads what Freeze stored. Freezing the result again gives the same
// digest.
func Open(data []byte) (*Snapshot, error) {
	root, err := FromJSON(data, openLimits)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "The stored spec of the run cannot be read.")
	}
	if !root.Get("base").IsMapping() {
		return nil, problem.New(problem.Internal, "The stored spec of the run cannot be read.")
	}
	s := &Snapshot{Inputs: Inputs{
		Base: root.Get("base"), Overrides: root.Get("overrides"), Environment: root.Get("environment").Text(),
	}}
	if list := root.Get("overlays"); list != nil {
		s.Overlays = list.Items
	}
	if o := root.Get("skills_overlay"); o.IsMapping() {
		s.SkillsOverlay = SkillsOverlay{Add: nodeTexts(o.Get("add")), Disable: nodeTexts(o.Get("disable"))}
	}
	if skills := root.Get("skills"); skills.IsMapping() {
		for _, e := range skills.Entries {
			s.Skills.Set(e.Key, skillFromNode(e.Value))
		}
	}
	return s, nil
}

func nodeTexts(n *Node) []string {
	if n == nil || len(n.Items) == 0 {
		return nil
	}
	return texts(n)
}

func skillFromNode(n *Node) *LoadedSkill {
	s := &LoadedSkill{
		Name: n.Get("name").Text(), Source: n.Get("source").Text(), Instructions: n.Get("instructions").Text(),
		Metadata: n.Get("metadata"), Tools: n.Get("tools"), Resources: nodeTexts(n.Get("resources")),
		SystemFragment: n.Get("system_fragment").Text(), Details: n.Get("sdk_fields"),
	}
	s.Strict = s.Details != nil
	if s.Strict {
		return s
	}
	loose := LoadedSkill{Name: s.Name, Metadata: s.Metadata, Tools: s.Tools, Details: NewMapping()}
	loose.useMetadata()
	s.Details = loose.Details
	return s
}

package wirejson

import (
	"bytes"
	"hash/maphash"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"
)

// The bounds of what is remembered: below seenMin checking a text again costs little, and seenEntries texts of seenMax bytes fit any machine.
const (
	seenMin     = 16 << 10
	seenMax     = 1 << 20
	seenEntries = 8
)

// seenTexts remembers the last large documents that were found to be good and where their members are, because clients send the same spec again and
// again. It is safe for concurrent use.
type seenTexts struct {
	seed  maphash.Seed
	texts *lru.Cache[uint64, seenText]
}

type seenText struct {
	text    []byte
	members []member
}

func newSeenTexts() *seenTexts {
	texts, err := lru.New[uint64, seenText](seenEntries)
	if err != nil {
		texts = nil // not reached: the size is positive
	}
	return &seenTexts{seed: maphash.MakeSeed(), texts: texts}
}

// members splits a text as checkedMembers does. The members may be parts of an equal text that came before.
func (s *seenTexts) members(text []byte) ([]member, bool) {
	if len(text) < seenMin || len(text) > seenMax || s.texts == nil {
		return checkedMembers(text)
	}
	hash := maphash.Bytes(s.seed, text)
	if known, ok := s.texts.Get(hash); ok && bytes.Equal(known.text, text) {
		return slices.Clone(known.members), true
	}
	found, ok := checkedMembers(text)
	if ok {
		s.texts.Add(hash, seenText{text: text, members: slices.Clone(found)})
	}
	return found, ok
}

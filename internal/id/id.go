// Package id makes identifiers: random ones, and ones derived from a run's facts, which are equal when the same fact is told again after a
// crash. It imports the standard library and the uuid library only.
package id

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/google/uuid"
)

// New returns a random UUID (version 4).
func New() string {
	u, err := uuid.NewRandom()
	if err != nil { // the system has no randomness: a time-based id is unique as well
		u = uuid.Must(uuid.NewUUID())
	}
	return u.String()
}

// Sequence makes identifiers that sort by the time at which they were made, so that what belongs to runs of the same time lies together in every
// index of the store. They look like version 4, which is what clients expect of an id; 62 bits of each are random. The zero value is ready, and
// safe for use by several goroutines.
type Sequence struct {
	mu   sync.Mutex
	last int64
}

// New returns the next identifier for a time. Identifiers of one sequence grow even when the clock stands or goes back a little.
func (s *Sequence) New(now time.Time) string {
	u, err := uuid.NewRandom()
	if err != nil { // the system has no randomness: a time-based id is unique as well
		return New()
	}
	s.mu.Lock()
	s.last = max(s.last+1, now.UnixMicro()*perMicrosecond)
	n := uint64(s.last) //nolint:gosec // times before 1970 only lose their order
	s.mu.Unlock()
	// 48 bits of the number stand before the version and 12 after it.
	binary.BigEndian.PutUint64(u[:8], n>>12<<16|0x4000|n&0xfff)
	return u.String()
}

// perMicrosecond is how many identifiers a microsecond has room for; 60 bits of such numbers last until the year 2112.
const perMicrosecond = 256

// Derived returns a UUID computed from the parts.
func Derived(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	var u uuid.UUID
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x80 // version 8: custom
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}

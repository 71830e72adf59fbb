// Package id makes identifiers: random ones, and ones derived from a run's facts, which are equal when the same fact is told again after a
// crash. It imports the standard library and the uuid library only.
package id

import (
	"crypto/sha256"

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

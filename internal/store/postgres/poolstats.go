package postgres

import "github.com/kneo-go/kneo/internal/store"

// PoolStats counts the connections of this process.
func (s *Store) PoolStats() store.PoolStats {
	p := s.pool.Stat()
	return store.PoolStats{
		Total: int64(p.TotalConns()), Idle: int64(p.IdleConns()), InUse: int64(p.AcquiredConns()), Most: int64(p.MaxConns()),
		Waits: p.EmptyAcquireCount(), WaitTime: p.AcquireDuration(),
	}
}

package store

import "time"

// PoolStats describe the connections of an adapter that has a pool.
type PoolStats struct {
	Total, Idle, InUse, Most int64
	// Waits is how often somebody had to wait for a connection, WaitTime how long in all.
	Waits    int64
	WaitTime time.Duration
}

package sqlite

import (
	"context"
	"database/sql"
	"sync"
)

// maxStatements bounds the cache; queries whose text varies beyond it are prepared for each use.
const maxStatements = 256

type preparer interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// statements prepares each query text once, at its first use.
type statements struct {
	db    preparer
	mu    sync.RWMutex
	cache map[string]*sql.Stmt
}

func newStatements(db preparer) *statements {
	return &statements{db: db, cache: map[string]*sql.Stmt{}}
}

func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.RLock()
	st, full := s.cache[query], len(s.cache) >= maxStatements
	s.mu.RUnlock()
	if st != nil || full {
		return st, nil
	}
	// A cancelled first caller must not leave the cache without the statement for good, so only its own call fails.
	st, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.cache[query]; have != nil {
		_ = st.Close()
		return have, nil
	}
	s.cache[query] = st
	return st, nil
}

// ExecContext implements litedb.DBTX.
func (s *statements) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	st, err := s.get(ctx, query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return s.db.ExecContext(ctx, query, args...)
	}
	return st.ExecContext(ctx, args...)
}

// PrepareContext implements litedb.DBTX.
func (s *statements) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return s.db.PrepareContext(ctx, query)
}

// QueryContext implements litedb.DBTX.
func (s *statements) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := s.get(ctx, query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return s.db.QueryContext(ctx, query, args...)
	}
	return st.QueryContext(ctx, args...)
}

// QueryRowContext implements litedb.DBTX.
func (s *statements) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	st, err := s.get(ctx, query)
	if err != nil || st == nil {
		// A row carries the error of its query, so the query is asked again without the cache.
		return s.db.QueryRowContext(ctx, query, args...)
	}
	return st.QueryRowContext(ctx, args...)
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.cache {
		_ = st.Close()
	}
	s.cache = map[string]*sql.Stmt{}
}

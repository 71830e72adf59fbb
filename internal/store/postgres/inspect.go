package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kneo-go/kneo/internal/store"
)

// KnownVersion is the schema version of this release.
func KnownVersion() int64 { return schemaVersion }

// Inspect connects once, migrates nothing and changes nothing. Close what it returns.
func Inspect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	cfg, err := pgxpool.ParseConfig(dsn) // the DSN of a pool has settings that a single connection does not know
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	configurePool(cfg, Options{})
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, unreachable(failure(err))
	}
	return conn, nil
}

// Version is the schema version of a database; 0 means that it has none.
func Version(ctx context.Context, conn *pgx.Conn) (int64, error) {
	var version int64
	err := conn.QueryRow(ctx, "SELECT version_id FROM goose_db_version WHERE is_applied ORDER BY id DESC LIMIT 1").Scan(&version)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == codeUndefinedTable || errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return version, failure(err)
}

// VersionError tells whether this release can work with a schema version: nil for its own and older ones, which it migrates.
func VersionError(what string, version int64) error {
	if version > schemaVersion {
		return fmt.Errorf("%w: %s has version %d, this release knows %d", store.ErrSchemaTooNew, what, version, schemaVersion)
	}
	return nil
}

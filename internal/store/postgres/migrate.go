package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/kneo-go/kneo/internal/store"
	migrations "github.com/kneo-go/kneo/sql"
)

const (
	// schemaVersion is the number of the last migration in sql/postgres/migrations; a test compares them.
	schemaVersion = 1
	// migrationLock and depthLock are keys of advisory locks; only Kneo uses them in its database.
	migrationLock = 0x6b6e656f01
	depthLock     = 0x6b6e656f02
)

// migrate brings the schema up to this release. Replicas that start together take turns; a database that is up to date costs one query.
func migrate(ctx context.Context, pool *pgxpool.Pool) (err error) {
	if done, err := upToDate(ctx, pool); done || err != nil {
		return err
	}
	// The lock belongs to a transaction, not to a session, so that it also works through a pooler.
	lock, err := pool.Begin(ctx)
	if err != nil {
		return unreachable(failure(err))
	}
	defer func() {
		if rollback := lock.Rollback(context.WithoutCancel(ctx)); rollback != nil && !errors.Is(rollback, pgx.ErrTxClosed) {
			err = errors.Join(err, failure(rollback))
		}
	}()
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		return failure(err)
	}
	if done, err := upToDate(ctx, pool); done || err != nil {
		return err
	}
	if err := ownDatabase(ctx, pool); err != nil {
		return err
	}
	files, err := fs.Sub(migrations.Migrations, "postgres/migrations")
	if err != nil {
		return fmt.Errorf("postgres: migrations: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("postgres: migrations: %w", failure(err))
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("postgres: migrate: %w", failure(err))
	}
	return nil
}

// ownDatabase refuses a database with tables of kneo-serv, before anything is written to it.
func ownDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	var foreign bool
	err := pool.QueryRow(ctx, "SELECT to_regclass('runs') IS NOT NULL AND to_regclass('goose_db_version') IS NULL").Scan(&foreign)
	if err != nil {
		return unreachable(failure(err))
	}
	if foreign {
		return fmt.Errorf("%w: the database has tables of another program (those of kneo-serv are not taken over); name another database in KNEO_SERV_DATABASE_URL", store.ErrForeign)
	}
	return nil
}

func upToDate(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var known bool
	// Asked first, so that a new database does not log an error.
	err := pool.QueryRow(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL").Scan(&known)
	if err != nil || !known {
		return false, unreachable(failure(err))
	}
	var version int64
	err = pool.QueryRow(ctx, "SELECT version_id FROM goose_db_version WHERE is_applied ORDER BY id DESC LIMIT 1").Scan(&version)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, unreachable(failure(err))
	case version > schemaVersion:
		return false, fmt.Errorf("%w: the database has version %d, this release knows %d", store.ErrSchemaTooNew, version, schemaVersion)
	}
	return version == schemaVersion, nil
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/kneo-go/kneo/internal/store"
	migrations "github.com/kneo-go/kneo/sql"
)

// schemaVersion is the number of the last migration in sql/sqlite/migrations; a test compares them.
const schemaVersion = 1

// migrate brings the schema up to this release. A database that is up to date costs one query.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	version, err := currentVersion(ctx, db)
	if err != nil {
		return failure(err)
	}
	switch {
	case version == schemaVersion:
		return nil
	case version > schemaVersion:
		return tooNew(path, version)
	case version == 0:
		if err := ownFile(ctx, db, path); err != nil {
			return err
		}
	}
	files, err := fs.Sub(migrations.Migrations, "sqlite/migrations")
	if err != nil {
		return fmt.Errorf("sqlite: migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("sqlite: migrations: %w", failure(err))
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("sqlite: migrate %s: %w", path, failure(err))
	}
	return nil
}

// ownFile refuses a file with tables of another program, before anything is written to it.
func ownFile(ctx context.Context, db *sql.DB, path string) error {
	var tables int64
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'").Scan(&tables); err != nil {
		return failure(err)
	}
	if tables > 0 {
		return fmt.Errorf("%w: %s belongs to another program (kneo-serv keeps a file of this name, which is not taken over); move it away or name another file in KNEO_SERV_SQLITE_PATH",
			store.ErrForeign, path)
	}
	return nil
}

// checkVersion refuses a schema that this release cannot read.
func checkVersion(ctx context.Context, db *sql.DB, path string) error {
	version, err := currentVersion(ctx, db)
	if err != nil {
		return failure(err)
	}
	if version > schemaVersion {
		return tooNew(path, version)
	}
	if version < schemaVersion {
		return fmt.Errorf("%w: %s has schema version %d, this release needs %d; start the service once to migrate it", store.ErrUnavailable, path, version, schemaVersion)
	}
	return nil
}

func tooNew(path string, version int64) error {
	return fmt.Errorf("%w: %s has version %d, this release knows %d", store.ErrSchemaTooNew, path, version, schemaVersion)
}

func currentVersion(ctx context.Context, db *sql.DB) (int64, error) {
	var name string
	err := db.QueryRowContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'goose_db_version'").Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var version int64
	err = db.QueryRowContext(ctx, "SELECT version_id FROM goose_db_version WHERE is_applied ORDER BY id DESC LIMIT 1").Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

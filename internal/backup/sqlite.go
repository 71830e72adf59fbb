package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

// SQLite copies a database file to a new file, also while a service writes to it. The copy is one consistent moment, checked, and has its name
// only when it is complete.
func SQLite(ctx context.Context, source, destination string, overwrite bool) (r Report, err error) {
	r = Report{Kind: "sqlite", Source: source, Destination: destination}
	if source == sqlite.Memory {
		return r, errors.New("a database in memory cannot be backed up")
	}
	if _, err := os.Stat(source); errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("Backup source does not exist: %s", source) //nolint:staticcheck // the documented text
	}
	if _, err := os.Stat(destination); err == nil && !overwrite {
		return r, existsError(destination)
	}
	if err := os.MkdirAll(filepath.Dir(destination), 0o750); err != nil {
		return r, err
	}
	temporary := destination + ".partial"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	if err := vacuumInto(ctx, source, temporary); err != nil {
		return r, err
	}
	if err := os.Chmod(temporary, 0o600); err != nil {
		return r, err
	}
	if r.SchemaVersion, err = checkSQLite(ctx, temporary); err != nil {
		return r, err
	}
	r.BytesCopied = size(temporary)
	return r, settle(temporary, destination)
}

func vacuumInto(ctx context.Context, source, destination string) (err error) {
	db, err := sqlite.Inspect(ctx, source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", destination); err != nil {
		return fmt.Errorf("copy %s: %w", source, err)
	}
	return nil
}

// checkSQLite refuses a damaged file, one without our schema and one of a newer release. It returns the schema version.
func checkSQLite(ctx context.Context, path string) (version int64, err error) {
	start, err := head(path, len(sqliteHeader))
	if err != nil {
		return 0, err
	}
	if start != sqliteHeader {
		return 0, fmt.Errorf("%w: %s", errNotSQLite, path)
	}
	db, err := sqlite.Inspect(ctx, path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return 0, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if verdict != "ok" {
		return 0, fmt.Errorf("%s is damaged: %s", path, verdict)
	}
	if version, err = sqlite.Version(ctx, db); err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, fmt.Errorf("%w? (%s)", errForeign, path)
	}
	return version, sqlite.VersionError(path, version)
}

// RestoreSQLite puts a backup in the place of a database file whose service is stopped. A database that is there already is only replaced with
// overwrite, and then kept beside the new one.
func RestoreSQLite(ctx context.Context, backup, destination string, overwrite bool) (r Report, err error) {
	r = Report{Kind: "sqlite", Source: backup, Destination: destination}
	if _, err := os.Stat(backup); errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("Backup source does not exist: %s", backup) //nolint:staticcheck // the documented text
	}
	start, err := head(backup, len(sqliteHeader))
	if err != nil {
		return r, err
	}
	if start != sqliteHeader {
		return r, fmt.Errorf("%w: %s", errNotSQLite, backup)
	}
	release, err := sqlite.Own(destination)
	if err != nil {
		var used *store.InUseError
		if errors.As(err, &used) {
			return r, fmt.Errorf("stop the service first: %w", err)
		}
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	// The copy is checked, not the backup: looking into a database may leave files beside it.
	temporary := destination + ".restoring"
	defer func() { _ = removeSQLite(temporary) }()
	if r.BytesCopied, err = copyFile(backup, temporary); err != nil {
		return r, err
	}
	if r.SchemaVersion, err = checkSQLite(ctx, temporary); err != nil {
		return r, err
	}
	if _, err := os.Stat(destination); err == nil {
		if !overwrite {
			return r, existsError(destination)
		}
		if r.Kept, err = setAside(ctx, destination); err != nil {
			return r, err
		}
	}
	if err := removeSQLite(destination); err != nil {
		return r, err
	}
	return r, settle(temporary, destination)
}

// setAside keeps what a restore replaces, with everything that is still in its log.
func setAside(ctx context.Context, path string) (string, error) {
	kept := path + ".before-restore"
	if err := removeSQLite(kept); err != nil {
		return "", err
	}
	if err := vacuumInto(ctx, path, kept); err == nil {
		return kept, os.Chmod(kept, 0o600)
	}
	// A damaged database is kept as it is.
	if err := os.Remove(kept); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	_, err := copyFile(path, kept)
	return kept, err
}

// removeSQLite removes a database file and what SQLite keeps beside it.
func removeSQLite(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

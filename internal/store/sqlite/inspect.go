package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/kneo-go/kneo/internal/store"
)

// KnownVersion is the schema version of this release.
func KnownVersion() int64 { return schemaVersion }

// Own takes the lock of a database file's single writer, for tools that replace or check the file. It answers store.InUseError while a
// service writes to it.
func Own(path string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	lock, err := acquireOwnerLock(path)
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}

// Inspect opens an existing file beside a possible writer and changes nothing in it. Close what it returns.
func Inspect(ctx context.Context, path string) (*sql.DB, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%w: %s is a folder", store.ErrUnavailable, path)
	}
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(5000)")
	q.Set("mode", "rw") // readers of a log share an index file; nothing is written to the database
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(failure(err), db.Close())
	}
	return db, nil
}

// Version is the schema version of a database; 0 means that it has none.
func Version(ctx context.Context, db *sql.DB) (int64, error) {
	v, err := currentVersion(ctx, db)
	return v, failure(err)
}

// VersionError tells whether this release can work with a schema version: nil for its own and older ones, which it migrates.
func VersionError(path string, version int64) error {
	if version > schemaVersion {
		return tooNew(path, version)
	}
	return nil
}

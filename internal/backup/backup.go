// Package backup copies the platform's database to a file and brings such a copy back. SQLite is copied while the service runs; PostgreSQL is left
// to pg_dump and pg_restore, which are started with the right connection and checks around them. It may import the store's adapters.
package backup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Report tells what was copied.
type Report struct {
	// Kind is sqlite or postgres.
	Kind string `json:"kind"`
	// Source and Destination never show a password.
	Source      string `json:"source"`
	Destination string `json:"destination"`
	BytesCopied int64  `json:"bytes_copied"`
	// SchemaVersion is that of the copied data. An older one than this release's is migrated by the next start.
	SchemaVersion int64 `json:"schema_version"`
	// Kept is where the database that a restore replaced is now, or empty.
	Kept string `json:"kept,omitempty"`
}

// Refusals of a restore.
var (
	errNotSQLite = errors.New("Not a SQLite database file") //nolint:staticcheck // the documented text
	errForeign   = errors.New("the backup has no schema of this service in it; was another database backed up")
)

const sqliteHeader = "SQLite format 3\x00"

// existsError refuses to write over something.
func existsError(path string) error {
	return fmt.Errorf("%s exists already; name another file or say --force", path)
}

// settle makes a finished file durable and gives it its name.
func settle(temporary, path string) error {
	if err := syncFile(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}

func syncFile(path string) error {
	f, err := os.Open(path) //nolint:gosec // a file of the operator
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// head reads the first bytes of a file.
func head(path string, n int) (text string, err error) {
	f, err := os.Open(path) //nolint:gosec // a file of the operator
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, n)
	read, err := io.ReadFull(f, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(buf[:read]), err
}

// copyFile copies content into a new private file.
func copyFile(from, to string) (n int64, err error) {
	in, err := os.Open(from) //nolint:gosec // a file of the operator
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // a file of the operator
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return io.Copy(out, in)
}

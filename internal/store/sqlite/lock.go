package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kneo-go/kneo/internal/store"
)

// errHeld is what lockFile answers when another process holds the lock.
var errHeld = errors.New("lock is held")

// ownerLock marks the one process that may write to a database file. The operating system drops it with the process, so a crashed owner never
// stands in the way. The file holds the owner's process id for people and stays behind.
type ownerLock struct{ file *os.File }

func acquireOwnerLock(path string) (*ownerLock, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	name := real + ".lock"
	f, err := openLock(name)
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", store.ErrUnavailable, err), f.Close())
		}
		return &ownerLock{f}, nil
	}
	if !errors.Is(err, errHeld) {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	holder := ""
	if raw, err := os.ReadFile(name); err == nil { //nolint:gosec // the name is the configured database path
		holder = strings.TrimSpace(string(raw))
	}
	return nil, &store.InUseError{Path: path, Holder: holder}
}

func (l *ownerLock) release() error { return l.file.Close() }

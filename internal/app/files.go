package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// fileSweep is the pause between passes over artifact and log files.
const fileSweep = time.Hour

// pruneFiles deletes, or with dry only counts, what retention says about files and returns how many per kind.
func (a *App) pruneFiles(ctx context.Context, dry bool) (map[string]int64, error) {
	r := &a.cfg.Retention
	counts := map[string]int64{}
	var errs []error
	for _, kind := range []struct {
		name, root string
		days       *int64
	}{{"artifacts", r.ArtifactPath, r.Artifacts}, {"logs", r.LogPath, r.Logs}} {
		if kind.days == nil || kind.root == "" {
			continue
		}
		n, err := removeOld(ctx, kind.root, dry, a.now().Add(-time.Duration(min(*kind.days, maxDays))*day))
		counts[kind.name] = n
		errs = append(errs, err)
	}
	return counts, errors.Join(errs...)
}

// keepFilesPruned prunes now and then until the context ends.
func (a *App) keepFilesPruned(ctx context.Context) error {
	tick := time.NewTicker(fileSweep)
	defer tick.Stop()
	for {
		if _, err := a.pruneFiles(ctx, false); err != nil {
			a.log.WarnContext(ctx, "old files could not be deleted", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// removeOld deletes regular files below root that were last changed before a moment, and folders that this leaves empty. Nothing outside the
// root is touched, whatever links are in it; a dry run only counts. A root that does not exist has nothing to delete.
func removeOld(ctx context.Context, root string, dry bool, before time.Time) (int64, error) {
	dir, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var folders []string
	var removed int64
	var errs []error
	errs = append(errs, fs.WalkDir(dir.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			errs = append(errs, err)
			return nil
		case d.IsDir():
			folders = append(folders, path)
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.ModTime().Before(before) {
			return nil //nolint:nilerr // a file that vanished needs no deletion
		}
		if dry {
			removed++
			return nil
		}
		if err := dir.Remove(filepath.FromSlash(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			return nil
		}
		removed++
		return nil
	}))
	// Children come after their parents, so the deepest go first. A folder that is not empty stays.
	for i := len(folders) - 1; i > 0 && removed > 0 && !dry; i-- {
		_ = dir.Remove(filepath.FromSlash(folders[i]))
	}
	errs = append(errs, dir.Close())
	return removed, errors.Join(errs...)
}

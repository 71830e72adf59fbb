package app

import (
	"context"
	"errors"
	"maps"

	"github.com/kneo-go/kneo/internal/maintenance"
)

// Sweep does once what the leader does periodically.
func (a *App) Sweep(ctx context.Context) (maintenance.Report, error) {
	report, err := a.sweeper().Sweep(ctx)
	files, fileErr := a.pruneFiles(ctx, false)
	report.Pruned = joined(report.Pruned, files)
	return report, errors.Join(err, fileErr)
}

// Due tells what Sweep would do and changes nothing; a store that is open for reading will do.
func (a *App) Due(ctx context.Context) (maintenance.Report, error) {
	report, err := a.sweeper().Due(ctx)
	files, fileErr := a.pruneFiles(ctx, true)
	report.Pruned = joined(report.Pruned, files)
	return report, errors.Join(err, fileErr)
}

// Prune deletes everything that retention lets go and returns how many rows per table and files per kind. A dry run only counts.
func (a *App) Prune(ctx context.Context, dry bool) (map[string]int64, error) {
	prune := a.sweeper().Prune
	if dry {
		prune = a.sweeper().Prunable
	}
	rows, err := prune(ctx)
	files, fileErr := a.pruneFiles(ctx, dry)
	return joined(rows, files), errors.Join(err, fileErr)
}

func joined(rows, files map[string]int64) map[string]int64 {
	all := map[string]int64{}
	maps.Copy(all, rows)
	maps.Copy(all, files)
	return all
}

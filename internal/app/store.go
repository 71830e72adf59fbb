package app

import (
	"context"
	"log/slog"

	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/codec"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

// OpenStore opens the configured database and migrates it.
func OpenStore(ctx context.Context, cfg *config.Config, log *slog.Logger) (store.Store, error) {
	if cfg.Storage.DatabaseURL != "" {
		s, err := postgres.New(ctx, postgres.Options{
			DSN: cfg.Storage.DatabaseURL, ListenDSN: cfg.Storage.ListenURL, MaxConns: int(cfg.Storage.MaxConns), OwnerTTL: deadOwner,
			Limits: checkpointLimits(cfg), Logger: log,
		})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	s, err := sqlite.New(ctx, sqlite.Options{
		Path: cfg.Storage.SQLitePath, Normal: cfg.Storage.Synchronous == "NORMAL", Limits: checkpointLimits(cfg), Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func checkpointLimits(cfg *config.Config) codec.Limits {
	c := cfg.Checkpoints
	return codec.Limits{
		CompressBytes: int(c.CompressBytes), MaxBytes: int(c.MaxBytes), PreviewChars: int(c.PreviewChars), MaxListItems: int(c.MaxListItems), MaxDictItems: int(c.MaxDictItems),
	}
}

package app

import (
	"context"
	"errors"
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

// SchemaVersion tells what schema version the configured database has (0 for none) and which one this release has, without changing anything.
func SchemaVersion(ctx context.Context, cfg *config.Config) (kind string, version, known int64, err error) {
	if cfg.Storage.DatabaseURL != "" {
		version, err = postgresVersion(ctx, cfg.Storage.DatabaseURL)
		return "postgres", version, postgres.KnownVersion(), err
	}
	version, err = sqliteVersion(ctx, cfg.Storage.SQLitePath)
	return "sqlite", version, sqlite.KnownVersion(), err
}

func postgresVersion(ctx context.Context, dsn string) (version int64, err error) {
	conn, err := postgres.Inspect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return postgres.Version(ctx, conn)
}

func sqliteVersion(ctx context.Context, path string) (version int64, err error) {
	db, err := sqlite.Inspect(ctx, path)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return sqlite.Version(ctx, db)
}

package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/store"
)

// openPostgres opens the PostgreSQL store.
func openPostgres(context.Context, *config.Config, *slog.Logger) (store.Store, error) {
	return nil, errors.New("app: this build has no PostgreSQL store")
}

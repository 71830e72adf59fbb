// Package sql embeds the migrations of both database dialects. It imports only the standard library.
package sql

import "embed"

// Migrations holds sqlite/migrations and postgres/migrations as goose files.
//
//go:embed sqlite/migrations/*.sql postgres/migrations/*.sql
var Migrations embed.FS

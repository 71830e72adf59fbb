package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
)

// postgres is a server with durable commits and stock settings.
type postgres struct {
	*pgtest.Server
	next atomic.Int64
}

func startPostgres(ctx context.Context) (*postgres, error) {
	s, err := pgtest.Start(ctx, "fsync=on", "full_page_writes=on", "synchronous_commit=on")
	if err != nil {
		return nil, err
	}
	return &postgres{Server: s}, nil
}

// database makes an empty database.
func (p *postgres) database(ctx context.Context) (string, func() error, error) {
	name := fmt.Sprintf("load%d", p.next.Add(1))
	if err := p.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	drop := func() error { return p.Exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)") }
	return p.DSN(name), drop, nil
}

// Command growth measures how the cost of the store's operations grows with the number of stored runs. It seeds a store directly, in steps, and
// after each step measures claiming, listing by every documented filter, reading, checkpointing, finishing and resuming.
//
//	growth [-store sqlite|postgres] [-sizes 1000,10000,100000,1000000] [-dir FOLDER]
//
// It imports the store's port, its adapters and the domain.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit/pgtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("growth", flag.ContinueOnError)
	kind := f.String("store", "sqlite", "sqlite or postgres")
	list := f.String("sizes", "1000,10000,100000", "numbers of stored runs, growing")
	dir := f.String("dir", os.TempDir(), "where the database is made")
	if err := f.Parse(args); err != nil {
		return err
	}
	var sizes []int
	for text := range strings.SplitSeq(*list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		sizes = append(sizes, n)
	}
	s, closeStore, err := open(ctx, *kind, *dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	table, err := Measure(ctx, s, sizes, os.Stderr)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s, microseconds per operation\n\n%s", s.Kind(), table)
	return err
}

func open(ctx context.Context, kind, dir string) (store.Store, func() error, error) {
	if kind == "postgres" {
		server, err := pgtest.Start(ctx, "fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=4GB")
		if err != nil {
			return nil, nil, err
		}
		s, err := postgres.New(ctx, postgres.Options{DSN: server.DSN("postgres")})
		if err != nil {
			return nil, nil, errors.Join(err, server.Close())
		}
		return s, func() error { return errors.Join(s.Close(), server.Close()) }, nil //nolint:contextcheck // closing is not part of a request
	}
	folder, err := os.MkdirTemp(dir, "kneo-growth-")
	if err != nil {
		return nil, nil, err
	}
	s, err := sqlite.New(ctx, sqlite.Options{Path: filepath.Join(folder, "runs.db")})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, func() error { return errors.Join(s.Close(), os.RemoveAll(folder)) }, nil
}

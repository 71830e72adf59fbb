// Command kneo is the platform's one binary: the service, its tools and the client commands.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/config"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	if len(args) < 2 || args[0] != "service" || args[1] != "serve" {
		return fmt.Errorf("usage: kneo service serve [--host HOST] [--port PORT]")
	}
	flags := flag.NewFlagSet("kneo service serve", flag.ContinueOnError)
	host := flags.String("host", "127.0.0.1", "address to listen on")
	port := flags.Int("port", 8000, "port to listen on")
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load(config.Process())
	if err != nil {
		return err
	}
	a, err := app.New(ctx, cfg, app.Options{Host: *host, Port: *port, Version: version, Log: os.Stderr, Env: config.Process()})
	if err != nil {
		return err
	}
	return a.Serve(ctx)
}

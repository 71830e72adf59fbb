// Command load measures servers of this API: any of them over REST, the platform also over gRPC. It has closed loops (a number of callers, each
// with one request in flight) and an open loop (a constant arrival rate whose latencies count from the moment a request was due, so a server that
// stalls cannot hide it). It compares builds by running them in turns on the same machine, and prints medians and ratios.
//
//	load compare -kneo BIN [-reference BIN] [-postgres] [-rounds 3] [-duration 3s] [-only c,d] [-out table.md]
//	load measure -url http://127.0.0.1:8000 [-grpc 127.0.0.1:8000] -scenario sync -callers 16 [-rate 200] [-duration 10s]
//
// It imports the generated API and nothing else of the platform.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "compare":
			return compareCommand(ctx, args[1:], out)
		case "measure":
			return measureCommand(ctx, args[1:], out)
		}
	}
	return errors.New("usage: load compare|measure [flags]")
}

func compareCommand(ctx context.Context, args []string, out io.Writer) error {
	var o CompareOptions
	var only, path string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.StringVar(&o.Kneo, "kneo", "", "binary of the platform")
	f.StringVar(&o.Before, "before", "", "another binary of the platform to compare with")
	f.StringVar(&o.Reference, "reference", "", "the reference's kneo program")
	f.BoolVar(&o.Postgres, "postgres", false, "measure on PostgreSQL too; needs server programs")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of every measurement")
	f.DurationVar(&o.Duration, "duration", 3*time.Second, "length of one measurement")
	f.IntVar(&o.ListRuns, "list-runs", 10_000, "stored runs when lists are measured")
	f.StringVar(&only, "only", "", "rows to measure, by letter, separated by commas; empty means all")
	f.StringVar(&path, "out", "", "file for the table, beside standard output")
	if err := f.Parse(args); err != nil {
		return err
	}
	if only != "" {
		o.Only = strings.Split(only, ",")
	}
	o.Progress = os.Stderr
	table, err := Compare(ctx, o)
	if err != nil {
		return err
	}
	text := table.Markdown()
	if path != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, text)
	return err
}

func measureCommand(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("measure", flag.ContinueOnError)
	url := f.String("url", "http://127.0.0.1:8000", "address of the server")
	rpc := f.String("grpc", "", "measure over gRPC at this address instead of REST")
	key := f.String("api-key", "", "API key")
	name := f.String("scenario", "sync", "what to send: "+strings.Join(workloadNames(), ", "))
	callers := f.Int("callers", 16, "callers; with -rate the most requests in flight")
	rate := f.Float64("rate", 0, "arrivals per second; 0 means a closed loop")
	duration := f.Duration("duration", 10*time.Second, "length")
	if err := f.Parse(args); err != nil {
		return err
	}
	open, err := workload(ctx, *name, target{url: *url, grpc: *rpc, key: *key})
	if err != nil {
		return err
	}
	var r Result
	if *rate > 0 {
		r, err = OpenLoop(ctx, open, *callers, *rate, *duration)
	} else {
		r, err = ClosedLoop(ctx, open, *callers, *duration)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, r)
	return err
}

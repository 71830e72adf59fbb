// Command client is a walk through the Go client: it queues a run, follows it, answers its question and reads its trace.
//
//	kneo service serve &
//	go run ./examples/client -url http://localhost:8000
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/kneo-go/kneo/client"
)

// spec is a workflow with a person in it, as JSON.
//
//go:embed approval.json
var spec string

func main() {
	url := flag.String("url", "http://localhost:8000", "address of the service")
	flag.Parse()
	if err := walk(context.Background(), os.Stdout, *url, os.Getenv("KNEO_API_KEY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func walk(ctx context.Context, out io.Writer, url, key string) error {
	c, err := client.Dial(url, client.Options{APIKey: key})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()

	// Queue a run. A worker of the service carries it out; this program could end here and come back later.
	id, err := c.Start(ctx, client.RunRequest{Spec: spec, Input: "A refund of 40 EUR", Metadata: map[string]any{"ticket": 7}})
	if err != nil {
		return err
	}

	// Wait until it has ended or waits for a person.
	r, err := c.Wait(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "status:", r.GetStatus())

	// Answer the question; the run goes on.
	answer, err := c.Answer(ctx, r.GetContinuationId(), client.Approve())
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "after the answer:", answer.GetStatus())

	// Follow its events; they are kept, so this works after the end as well.
	for event, err := range c.Watch(ctx, id, 0) {
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "event:", event.GetKind())
	}

	// Read the trace, page by page.
	for raw, err := range c.Trace(ctx, id) {
		if err != nil {
			return err
		}
		var event struct{ Type string }
		if err := json.Unmarshal(raw, &event); err != nil {
			return err
		}
		fmt.Fprintln(out, "trace:", event.Type)
	}

	// Errors have stable codes.
	_, err = c.Wait(ctx, "no-such-run")
	fmt.Fprintln(out, "unknown run:", client.Code(err))
	return nil
}

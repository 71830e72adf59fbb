package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/kneo-go/kneo/client"
)

// Run a spec of the service's folder and look at what came out.
func ExampleClient_Run() {
	ctx := context.Background()
	c, err := client.Dial("http://localhost:8000", client.Options{APIKey: "key"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	out, err := c.Run(ctx, client.RunRequest{SpecPath: "hello.yaml", Input: "Hi"})
	switch {
	case errors.Is(err, &client.Error{Code: "spec_invalid"}):
		log.Fatal("mend the spec: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(out.GetStatus(), out.GetOutputText())
}

// Follow a run while it works.
func ExampleClient_Watch() {
	ctx := context.Background()
	c, err := client.Dial("http://localhost:8000", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for event, err := range c.Watch(ctx, "run-id", 0) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.GetSequence(), event.GetKind())
	}
}

package embed_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/kneo-go/kneo/client"
	"github.com/kneo-go/kneo/embed"
	"github.com/kneo-go/kneo/worker"
)

// A workflow whose steps are Go functions of the program.
func Example() {
	ctx := context.Background()
	w := worker.New(worker.Options{})
	w.Function("shop.text.shout", func(_ context.Context, text string) (string, error) {
		return strings.ToUpper(text), nil
	})
	p, err := embed.Open(ctx, embed.Options{Handlers: w})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = p.Close() }()
	out, err := p.Client().Run(ctx, client.RunRequest{Input: "hello", Spec: map[string]any{
		"version":    "v1",
		"agent":      map[string]any{"name": "desk"},
		"components": map[string]any{"functions": map[string]any{"shout": map[string]any{"implementation": "shop.text.shout"}}},
		"workflow": map[string]any{
			"type": "sequential", "name": "greet",
			"steps": []any{map[string]any{"id": "shout", "kind": "function", "ref": "shout"}},
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out.GetStatus(), out.GetOutputText())
	// Output: completed HELLO
}

// A platform that also answers others over the network.
func Example_serve() {
	ctx := context.Background()
	p, err := embed.Open(ctx, embed.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = p.Close() }()
	c, err := client.Dial("http://"+p.Addr().String(), client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()
	fmt.Println(c.Ready(ctx))
	// Output: <nil>
}

// Command schemagen writes the JSON Schema of the spec language to the file
// named by its argument. It imports internal/spec only.
package main

import (
	"fmt"
	"os"

	"github.com/kneo-go/kneo/internal/spec"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schemagen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], spec.JSONSchema(), 0o644); err != nil { //nolint:gosec // a published file
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

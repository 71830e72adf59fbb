// Package schema embeds the generated JSON Schema of the spec language. It
// imports the standard library only.
package schema

import _ "embed" // the directive below

//go:generate go run ../../internal/spec/schemagen kneo-spec.schema.json

//go:embed kneo-spec.schema.json
var document []byte

// Document returns the JSON Schema; the caller must not change it.
func Document() []byte { return document }

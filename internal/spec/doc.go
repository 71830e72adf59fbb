// Package spec is the spec language: it reads YAML or JSON into a positioned
// node tree, layers overlays and overrides, migrates old versions, checks the
// schema and the semantics, and freezes, explains and signs the result.
//
// Everything but Resolver is a pure function of its arguments; Resolver reads
// files below one root. The package imports internal/problem and libraries only.
package spec

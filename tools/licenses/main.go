// Command licenses lists the modules that are linked into the binary with their licences, as text or as a CycloneDX bill of materials, and fails on a licence that is
// not on its list. It reads the module cache and asks nobody.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is what `go list` says of one.
type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

type component struct {
	Path, Version, Licence string
}

// allowed licences ask for nothing but notices, or, as the MPL, only concern changed files.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "ISC", "MPL-2.0"}

func main() {
	sbom := flag.Bool("sbom", false, "write a CycloneDX bill of materials")
	version := flag.String("version", "dev", "version of the program")
	flag.Parse()
	if err := run(os.Stdout, *sbom, *version); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, sbom bool, version string) error {
	list, err := components()
	if err != nil {
		return err
	}
	if sbom {
		return bill(out, list, version)
	}
	var errs []error
	for _, c := range list {
		if _, err := fmt.Fprintf(out, "%-70s %-45s %s\n", c.Path, c.Version, c.Licence); err != nil {
			return err
		}
		if !slices.Contains(allowed, c.Licence) {
			errs = append(errs, fmt.Errorf("%s %s: licence %s is not allowed", c.Path, c.Version, c.Licence))
		}
	}
	return errors.Join(errs...)
}

// components are the modules of the packages that the command is built from.
func components() ([]component, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/kneo")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	seen := map[string]bool{}
	var list []component
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		var p struct{ Module *module }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		m := p.Module
		if m == nil || m.Main || seen[m.Path] {
			continue
		}
		seen[m.Path] = true
		if m.Replace != nil {
			m = m.Replace
		}
		licence, err := licenceOf(m.Dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		list = append(list, component{m.Path, m.Version, licence})
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// marks tell a licence by a piece of its text; the first that fits wins.
var marks = []struct{ text, name string }{
	{"Apache License", "Apache-2.0"}, {"apache.org/licenses/LICENSE-2.0", "Apache-2.0"}, {"Mozilla Public License", "MPL-2.0"}, {"GNU GENERAL PUBLIC LICENSE", "GPL"}, {"GNU LESSER", "LGPL"},
	{"Permission is hereby granted, free of charge", "MIT"}, {"Permission to use, copy, modify, and/or distribute", "ISC"}, {"Permission to use, copy, modify, and distribute", "ISC"},
	{"Neither the name", "BSD-3-Clause"}, {"nor the names of its contributors", "BSD-3-Clause"}, {"Redistribution and use in source and binary forms", "BSD-2-Clause"},
}

func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name())) //nolint:gosec // a file of the module cache
		if err != nil {
			return "", err
		}
		flat := strings.Join(strings.Fields(string(text)), " ")
		for _, m := range marks {
			if strings.Contains(flat, m.text) {
				return m.name, nil
			}
		}
	}
	return "unknown", nil
}

func bill(out io.Writer, list []component, version string) error {
	type object = map[string]any
	components := make([]object, 0, len(list))
	for _, c := range list {
		purl := "pkg:golang/" + c.Path + "@" + c.Version
		components = append(components, object{
			"type": "library", "bom-ref": purl, "name": c.Path, "version": c.Version, "purl": purl,
			"licenses": []object{{"license": object{"id": c.Licence}}},
		})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(object{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata":   object{"component": object{"type": "application", "name": "kneo", "version": version, "bom-ref": "kneo"}},
		"components": components,
	})
}

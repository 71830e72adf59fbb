package config

import (
	"fmt"
	"strings"
)

// markdownHead opens the page of settings.
const markdownHead = `# Settings

The service reads its settings from environment variables, once, when it starts. A bad value refuses the start with a message that names the
variable. Booleans are true for ` + "`1`, `true`, `yes` and `on`" + ` in any case. A blank variable counts as unset.

This page is written from the table in ` + "`internal/config`" + `; ` + "`go test ./internal/config -update`" + ` writes it again.
`

// Markdown renders the table of settings as the page of the operator's manual.
func Markdown() string {
	var b strings.Builder
	b.WriteString(markdownHead)
	var order []string
	groups := map[string][]Setting{}
	for _, s := range settings {
		if groups[s.Group] == nil {
			order = append(order, s.Group)
		}
		groups[s.Group] = append(groups[s.Group], s)
	}
	for _, g := range order {
		fmt.Fprintf(&b, "\n## %s\n\n| Variable | Type | Default | Meaning |\n| --- | --- | --- | --- |\n", g)
		for _, s := range groups[g] {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, s.kind(), code(s.Default), strings.ReplaceAll(s.Help, "|", "\\|"))
		}
	}
	return b.String()
}

// kind is the type with its bounds.
func (s *Setting) kind() string {
	kind := s.Type
	if s.Bounds != "" {
		kind += ", " + s.Bounds
	}
	if s.Secret {
		kind += ", secret"
	}
	return kind
}

func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + text + "`"
}

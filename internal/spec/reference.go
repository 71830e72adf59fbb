package spec

import (
	"fmt"
	"strings"
)

// referenceHead opens the page of the language.
const referenceHead = `# Spec reference

Every block and field of the language. The page is written from the table that the checker and the JSON Schema (` + "`kneo spec schema`" + `) use;
` + "`make docs`" + ` writes it again. ` + "`kneo spec init --template NAME`" + ` writes a spec to begin with, ` + "`kneo spec validate`" + ` says what is wrong with one.

A field without "required" may be left out. "or null" means that ` + "`null`" + ` counts as left out.
`

// Reference renders the language as a page of the user's manual.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## Blocks\n\n")
	for _, name := range language.order {
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", name, strings.ToLower(name), language.blocks[name].doc)
	}
	for _, name := range language.order {
		language.blocks[name].reference(&b)
	}
	return b.String()
}

func (b *block) reference(out *strings.Builder) {
	fmt.Fprintf(out, "\n## %s\n\n%s\n\n| Field | Value | Default | Meaning |\n| --- | --- | --- | --- |\n", b.name, b.doc)
	for i := range b.fields {
		f := &b.fields[i]
		name := "`" + f.name + "`"
		if f.alias != "" {
			name += " or `" + f.alias + "`"
		}
		value := f.words()
		if f.required {
			value += ", required"
		} else if f.nullable {
			value += ", or null"
		}
		initial := "–"
		if f.initial != "" {
			initial = "`" + f.initial + "`"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", name, strings.ReplaceAll(value, "|", "\\|"), initial, strings.ReplaceAll(f.doc, "|", "\\|"))
	}
}

// words says what a field holds.
func (f *field) words() string {
	text := f.shape.words(f.block)
	if len(f.enum) > 0 {
		choices := "`" + strings.Join(f.enum, "`, `") + "`"
		if f.shape == shapeTexts {
			text = "list of " + choices
		} else {
			text = choices
		}
	}
	if f.positive {
		text += " above 0"
	}
	if f.path != "" {
		text += " (a path)"
	}
	return text
}

func (s shape) words(name string) string {
	link := fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	switch s {
	case shapeText, shapeEnum:
		return "text"
	case shapeInt:
		return "whole number"
	case shapeFloat:
		return "number"
	case shapeBool:
		return "true or false"
	case shapeMap:
		return "mapping"
	case shapeTextMap:
		return "mapping of texts"
	case shapeTexts:
		return "list of texts"
	case shapeAny:
		return "anything"
	case shapeBlock:
		return link
	case shapeBlocks:
		return "list of " + link
	case shapeBlockMap:
		return "mapping of names to " + link
	case shapeWorkflow:
		return "a workflow: " + workflowLinks()
	case shapeWorkflowMap:
		return "mapping of names to workflows: " + workflowLinks()
	}
	return "anything"
}

func workflowLinks() string {
	var links []string
	seen := map[string]bool{}
	for _, t := range language.types {
		name := language.workflows[t].name
		if !seen[name] {
			seen[name] = true
			links = append(links, fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name)))
		}
	}
	return strings.Join(links, ", ")
}

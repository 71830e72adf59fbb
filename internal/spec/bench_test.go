package spec

import (
	"fmt"
	"strings"
	"testing"
)

// largeSpec is a valid spec of about 200 KB with everything in it.
func largeSpec() string {
	var b strings.Builder
	b.WriteString("version: v1\nagent: {name: root, model: m}\nworkflow:\n  type: graph\n  start: n0\n  nodes:\n")
	const n = 600
	for i := range n {
		fmt.Fprintf(&b, "    n%d: {id: n%d, kind: agent, ref: a%d, on_error: continue, max_retries: 2}\n", i, i, i)
	}
	b.WriteString("  edges:\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, "    - {from: n%d, to: n%d, condition: {type: output_contains, value: word%d}}\n", i, i+1, i)
	}
	b.WriteString("components:\n  agents:\n")
	for i := range n {
		fmt.Fprintf(&b, "    a%d:\n      name: a%d\n      system_prompt: >-\n        You are helper number %d and answer briefly.\n"+
			"      tools: {include: [t%d], permissions: {allow_network: false}}\n", i, i, i, i%50)
	}
	b.WriteString("tools:\n")
	for i := range 50 {
		fmt.Fprintf(&b, "  t%d: {description: Tool, implementation: app.tools.t%d, parameters: {type: object, properties: {q: {type: string}}}}\n", i, i)
	}
	return b.String()
}

func BenchmarkParseYAML(b *testing.B) {
	data := []byte(largeSpec())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Parse("f", data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchTree(b *testing.B) *Node {
	b.Helper()
	node, _, err := Parse("f", []byte(largeSpec()), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	return node
}

func BenchmarkParseJSON(b *testing.B) {
	data := benchTree(b).JSON()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromJSON(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	in := Inputs{Base: benchTree(b)}
	b.ReportAllocs()
	for b.Loop() {
		if _, found, err := in.Check(ValidateOptions{}); err != nil || found.HasErrors() {
			b.Fatal(err, found.Text())
		}
	}
}

// BenchmarkValidateInline is what one request of the service costs without its
// cache: JSON to diagnostics.
func BenchmarkValidateInline(b *testing.B) {
	data := benchTree(b).JSON()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		node, err := FromJSON(data, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if _, found, err := (Inputs{Base: node}).Check(ValidateOptions{}); err != nil || found.HasErrors() {
			b.Fatal(err, found.Text())
		}
	}
}

func BenchmarkFreeze(b *testing.B) {
	in := Inputs{Base: benchTree(b)}
	b.ReportAllocs()
	for b.Loop() {
		Freeze(in, OrderedMap[*LoadedSkill]{})
	}
}

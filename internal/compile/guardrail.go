package compile

import (
	"fmt"
	"slices"

	"github.com/kneo-go/kneo/internal/guardrail"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/spec"
)

const defaultAction = "block"

func (b *builder) guardrails(a *spec.Agent, path, stage string) []plan.Guardrail {
	list := a.Guardrails.Get(stage)
	if list == nil || list.Kind != spec.Sequence {
		return nil
	}
	var out []plan.Guardrail
	for i, item := range list.Items {
		if item.IsMapping() {
			out = append(out, b.guardrail(item, fmt.Sprintf("%s.guardrails.%s[%d]", path, stage, i)))
		}
	}
	return out
}

func (b *builder) guardrail(item *spec.Node, path string) plan.Guardrail {
	g := plan.Guardrail{ID: scalarText(item.Get("id")), Type: item.Get("type").Text(), Action: defaultAction}
	if action := item.Get("action"); !action.IsNull() {
		g.Action = action.Text()
	}
	config := item.Get("config")
	switch g.Type {
	case "keyword":
		g.Keywords = b.textList(config.Get("keywords"), path+".config.keywords")
	case "regex":
		g.Patterns = b.textList(config.Get("patterns"), path+".config.patterns")
		for i, p := range g.Patterns {
			if err := guardrail.ValidPattern(p); err != nil {
				b.report(CodeRegex, config.Get("patterns").Items[i], fmt.Sprintf("%s.config.patterns[%d]", path, i), "",
					"Guardrail '%s' has a pattern that cannot be used: %v", g.ID, err)
			}
		}
	case "function":
		g.Ref = b.reference(item, item.Get("ref"), path+".ref", handler.Guardrail, bucketFunctions)
	case "agent":
		g.Ref = b.reference(item, item.Get("ref"), path+".ref", "", bucketAgents)
	default:
		b.report(CodeGuardrailType, firstOf(item.Get("type"), item), path+".type", "Use keyword, regex, function or agent.",
			"Unsupported guardrail type: %s", scalarText(item.Get("type")))
	}
	return g
}

// textList reads a list of texts; numbers and booleans count as they are written.
func (b *builder) textList(n *spec.Node, path string) []string {
	if n.IsNull() {
		return nil
	}
	ok := n.Kind == spec.Sequence
	var out []string
	for _, item := range n.Items {
		switch item.Kind {
		case spec.Null, spec.Sequence, spec.Mapping:
			ok = false
		default:
			out = append(out, item.Value)
		}
	}
	if !ok {
		b.report(CodeGuardrail, n, path, "", "%s must be a list of texts.", path)
		return nil
	}
	return out
}

const (
	bucketAgents    = "agents"
	bucketFunctions = "functions"
)

// reference resolves a name across the buckets that can play the role; the order of the buckets decides between equal names.
func (b *builder) reference(owner, ref *spec.Node, path string, role handler.Kind, buckets ...string) *plan.Ref {
	name := ref.Text()
	for _, bucket := range buckets {
		switch {
		case bucket == bucketAgents && b.doc.Components.Agents.Has(name):
			return &plan.Ref{Bucket: bucket, Name: name}
		case bucket == bucketFunctions && b.doc.Components.Functions.Has(name):
			b.use(name, role)
			return &plan.Ref{Bucket: bucket, Name: name}
		}
	}
	at := firstOf(ref, owner)
	if name == "" {
		b.report(CodeRef, at, path, "", "A component reference is required here.")
		return nil
	}
	b.report(CodeRef, at, path, "Add it under components."+buckets[0]+".", "Unknown component reference: %s", name)
	return nil
}

func (b *builder) use(function string, role handler.Kind) {
	if !slices.Contains(b.uses[function], role) {
		b.uses[function] = append(b.uses[function], role)
	}
}

const (
	defaultMaxMessages = 20
	defaultTopK        = 5
)

func (b *builder) memory(a *spec.Agent, path string) *plan.Memory {
	n := a.Memory
	if n.Len() == 0 {
		return nil
	}
	path += ".memory"
	m := &plan.Memory{Policy: n.Get("policy").Text()}
	switch m.Policy {
	case "full":
	case "sliding_window":
		m.MaxMessages = b.memoryInt(n, "max_messages", defaultMaxMessages, path)
		m.PreserveSystemMessages = b.memoryBool(n, "preserve_system_messages", true, path)
	case "summary":
		m.Summarizer = b.reference(n, n.At("summarizer", "ref"), path+".summarizer.ref", handler.Summarizer, bucketFunctions, bucketAgents)
	case "retrieval":
		m.Retriever = b.reference(n, n.At("retriever", "ref"), path+".retriever.ref", handler.Retriever, bucketFunctions)
		m.TopK = b.memoryInt(n, "top_k", defaultTopK, path)
	default:
		b.report(CodeMemoryPolicy, firstOf(n.Get("policy"), n), path+".policy", "Use full, sliding_window, summary or retrieval.",
			"Unknown memory policy: %s", scalarText(n.Get("policy")))
	}
	return m
}

func (b *builder) memoryInt(n *spec.Node, key string, fallback int64, path string) int64 {
	v := n.Get(key)
	if v.IsNull() {
		return fallback
	}
	i, ok := v.AsInt()
	if !ok {
		b.report(CodeMemory, v, path+"."+key, "", "memory.%s must be an integer.", key)
	}
	return int64(i)
}

func (b *builder) memoryBool(n *spec.Node, key string, fallback bool, path string) bool {
	v := n.Get(key)
	if v.IsNull() {
		return fallback
	}
	value, ok := v.AsBool()
	if !ok {
		b.report(CodeMemory, v, path+"."+key, "", "memory.%s must be true or false.", key)
	}
	return value
}

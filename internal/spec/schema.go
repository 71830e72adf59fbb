package spec

// SchemaID names the JSON Schema of the language.
const SchemaID = "https://kneo-go.github.io/schema/kneo-spec.schema.json"

// JSONSchema renders the JSON Schema (draft 2020-12) of a spec file, made of
// the table that Decode checks against, with the shorthands that Normalise
// expands. It is stricter than Decode about scalars: an editor should point out
// a number in quotes even though it is accepted.
func JSONSchema() []byte {
	defs := NewMapping()
	for _, name := range language.order {
		b := language.blocks[name]
		defs = defs.With(b.name, b.schema())
	}
	defs = defs.With("Workflow", anyWorkflow("SequentialWorkflow"))
	defs = defs.With("RootWorkflow", anyWorkflow("RootSequentialWorkflow"))
	defs = defs.With("RootSequentialWorkflow", rootSequential())
	root := language.blocks["Spec"].schema()
	properties := root.Get("properties").With("workflow", nullable(ref("RootWorkflow")))
	root = root.With("properties", properties).With("$defs", defs.Without("Spec")).
		With("$id", NewString(SchemaID)).With("$schema", NewString("https://json-schema.org/draft/2020-12/schema")).
		With("title", NewString("Kneo spec"))
	return append(indented(nil, root, ""), '\n')
}

func (b *block) schema() *Node {
	properties, required := NewMapping(), NewSequence()
	for i := range b.fields {
		f := &b.fields[i]
		properties = properties.With(f.name, f.schema())
		if f.required && f.alias == "" {
			required.Items = append(required.Items, NewString(f.name))
		}
	}
	out := NewMapping().With("type", NewString("object")).With("description", NewString(b.doc)).
		With("additionalProperties", NewBool(false)).With("properties", properties)
	for i := range b.fields {
		if f := &b.fields[i]; f.alias != "" {
			out = out.With("properties", properties.With(f.alias, f.schema())).
				With("oneOf", NewSequence(requires(f.name), requires(f.alias)))
		}
	}
	if len(required.Items) > 0 {
		out = out.With("required", required)
	}
	return out
}

func requires(name string) *Node {
	return NewMapping().With("required", NewSequence(NewString(name)))
}

func ref(name string) *Node { return NewMapping().With("$ref", NewString("#/$defs/"+name)) }

func typed(name string) *Node { return NewMapping().With("type", NewString(name)) }

func listOf(items *Node) *Node { return typed("array").With("items", items) }

func mapOf(values *Node) *Node { return typed("object").With("additionalProperties", values) }

func nullable(n *Node) *Node { return anyOf(n, typed("null")) }

func anyOf(options ...*Node) *Node { return NewMapping().With("anyOf", NewSequence(options...)) }

func oneOfTexts(enum []string) *Node { return NewMapping().With("enum", textList(enum)) }

func (f *field) schema() *Node {
	out := f.valueSchema()
	switch {
	case f.block == "Strategy":
		types := language.blocks["Strategy"].field("type").enum
		out = anyOf(out, oneOfTexts(types))
	case f.short == shapeTexts:
		out = anyOf(out, listOf(typed("string")))
	case f.block == "Model":
		out = anyOf(out, typed("string"))
	}
	if f.nullable && f.shape != shapeAny {
		if options := out.Get("anyOf"); options != nil {
			out = anyOf(append(options.Items, typed("null"))...)
		} else {
			out = nullable(out)
		}
	}
	if f.initial != "" {
		if value, err := FromJSON([]byte(f.initial), Limits{}); err == nil {
			out = out.With("default", value)
		}
	}
	return out.With("description", NewString(f.doc))
}

func (f *field) valueSchema() *Node {
	switch f.shape {
	case shapeText:
		if f.path != "" {
			return typed("string").With("pattern", NewString(`^(?!~)(?!(.*[/\\])?\.\.([/\\]|$))`))
		}
		return typed("string")
	case shapeInt:
		if f.positive {
			return typed("integer").With("exclusiveMinimum", NewInt(0))
		}
		return typed("integer")
	case shapeFloat:
		return typed("number")
	case shapeBool:
		return typed("boolean")
	case shapeEnum:
		return oneOfTexts(f.enum)
	case shapeTextMap:
		return mapOf(typed("string"))
	case shapeTexts:
		if f.enum != nil {
			return listOf(oneOfTexts(f.enum))
		}
		return listOf(typed("string"))
	case shapeBlock:
		return ref(f.block)
	case shapeBlocks:
		return listOf(ref(f.block))
	case shapeBlockMap:
		return mapOf(ref(f.block))
	case shapeWorkflow:
		return ref("Workflow")
	case shapeWorkflowMap:
		return mapOf(ref("Workflow"))
	case shapeMap:
		return typed("object")
	default:
		return NewMapping()
	}
}

func anyWorkflow(sequential string) *Node {
	return NewMapping().With("oneOf", NewSequence(ref(sequential), ref("GraphWorkflow"), ref("ConcurrentWorkflow"),
		ref("HandoffWorkflow"), ref("GroupChatWorkflow")))
}

// rootSequential is the root workflow's form: steps may be missing, and a step
// may be just the name of an agent.
func rootSequential() *Node {
	out := language.blocks["SequentialWorkflow"].schema()
	steps := nullable(listOf(anyOf(ref("Step"), typed("string")))).With("description", NewString("The steps in order; a string names an agent."))
	return out.With("properties", out.Get("properties").With("steps", steps)).With("required", NewSequence(NewString("type")))
}

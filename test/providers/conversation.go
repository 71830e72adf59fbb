// Package providers plays the YAML scenarios of this folder on every provider: the same spec with the same model behind four wire formats must give
// the same run and show the model the same conversation.
package providers

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/kneo-go/kneo/internal/llm/llmtest"
)

type object = map[string]any

// conversation renders what a model was shown in lines that do not depend on the wire format.
func conversation(r llmtest.Request) []string {
	switch {
	case strings.HasSuffix(r.Path, "/chat/completions"):
		return openAILines(r.Body)
	case strings.HasSuffix(r.Path, "/messages"):
		return anthropicLines(r.Body)
	}
	return geminiLines(r.Body)
}

func objects(v any) []object {
	list, _ := v.([]any)
	out := make([]object, 0, len(list))
	for _, item := range list {
		if o, ok := item.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

func text(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case []any:
		parts := make([]string, 0, len(t))
		for _, o := range objects(v) {
			parts = append(parts, text(o["text"]))
		}
		return strings.Join(parts, "")
	}
	return ""
}

func canonical(v any) string {
	if s, ok := v.(string); ok {
		var parsed any
		if json.Unmarshal([]byte(s), &parsed) != nil {
			return s
		}
		v = parsed
	}
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// settings lists the parameters that all formats carry.
func settings(temperature, maxTokens any, tools []string) string {
	sort.Strings(tools)
	return fmt.Sprintf("temperature=%v max_tokens=%v tools=%v", temperature, maxTokens, tools)
}

func openAILines(body object) []string {
	var tools []string
	for _, t := range objects(body["tools"]) {
		f, _ := t["function"].(object)
		tools = append(tools, text(f["name"])+schema(f["parameters"]))
	}
	limit := body["max_tokens"]
	if limit == nil {
		limit = body["max_completion_tokens"]
	}
	lines := []string{settings(body["temperature"], limit, tools)}
	for _, m := range objects(body["messages"]) {
		role := text(m["role"])
		if role == "tool" {
			lines = append(lines, "result: "+text(m["content"]))
			continue
		}
		if role == "developer" {
			role = "system"
		}
		if t := text(m["content"]); t != "" {
			lines = append(lines, role+": "+t)
		}
		for _, c := range objects(m["tool_calls"]) {
			f, _ := c["function"].(object)
			lines = append(lines, "call: "+text(f["name"])+" "+canonical(f["arguments"]))
		}
	}
	return lines
}

// defaultLimit is what the Anthropic adapter sends when a spec names no limit, because that protocol wants one.
const defaultLimit = 4096.0

func anthropicLines(body object) []string {
	var tools []string
	for _, t := range objects(body["tools"]) {
		tools = append(tools, text(t["name"])+schema(t["input_schema"]))
	}
	limit := body["max_tokens"]
	if limit == defaultLimit {
		limit = nil
	}
	lines := []string{settings(body["temperature"], limit, tools)}
	if s := text(body["system"]); s != "" {
		lines = append(lines, "system: "+s)
	}
	for _, m := range objects(body["messages"]) {
		role := text(m["role"])
		if s, ok := m["content"].(string); ok {
			lines = append(lines, role+": "+s)
		}
		for _, part := range objects(m["content"]) {
			switch part["type"] {
			case "text":
				lines = append(lines, role+": "+text(part["text"]))
			case "tool_use":
				lines = append(lines, "call: "+text(part["name"])+" "+canonical(part["input"]))
			case "tool_result":
				lines = append(lines, "result: "+text(part["content"]))
			}
		}
	}
	return lines
}

func geminiLines(body object) []string {
	var tools []string
	for _, t := range objects(body["tools"]) {
		for _, f := range objects(t["functionDeclarations"]) {
			parameters := f["parametersJsonSchema"]
			if parameters == nil {
				parameters = f["parameters"]
			}
			tools = append(tools, text(f["name"])+schema(parameters))
		}
	}
	config, _ := body["generationConfig"].(object)
	lines := []string{settings(config["temperature"], config["maxOutputTokens"], tools)}
	if system, ok := body["systemInstruction"].(object); ok {
		lines = append(lines, "system: "+text(system["parts"]))
	}
	for _, m := range objects(body["contents"]) {
		role := text(m["role"])
		if role == "model" {
			role = "assistant"
		}
		for _, part := range objects(m["parts"]) {
			switch {
			case part["functionCall"] != nil:
				c, _ := part["functionCall"].(object)
				arguments := c["args"]
				if arguments == nil {
					arguments = object{}
				}
				lines = append(lines, "call: "+text(c["name"])+" "+canonical(arguments))
			case part["functionResponse"] != nil:
				c, _ := part["functionResponse"].(object)
				answer, _ := c["response"].(object)
				result := answer["output"]
				if result == nil {
					result = answer["result"]
				}
				lines = append(lines, "result: "+text(result))
			default:
				lines = append(lines, role+": "+text(part["text"]))
			}
		}
	}
	return lines
}

// schema renders the required members of a tool's parameters.
func schema(v any) string {
	o, _ := v.(object)
	if o == nil || o["required"] == nil {
		return ""
	}
	return canonical(o["required"])
}

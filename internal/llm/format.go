package llm

import "encoding/json"

// ResponseFormat is the member of model.extra that asks for structured output, in OpenAI's terms, for every provider.
const ResponseFormat = "response_format"

// Format asks for an answer in JSON.
type Format struct {
	// Raw is the request as the spec wrote it.
	Raw json.RawMessage
	// Schema is the JSON Schema of the answer; nil means any JSON object.
	Schema json.RawMessage
	// Strict makes an answer that does not match Schema a failure of the call.
	Strict bool
}

// ParseFormat reads a response_format: {"type": "json_object"} or {"type": "json_schema", "json_schema": {"schema": {…}, "strict": true}}. Anything
// else, as a server of OpenAI's protocol may have its own kinds, is nil.
func ParseFormat(raw json.RawMessage) *Format {
	var given struct {
		Type string `json:"type"`
		JSON struct {
			Schema json.RawMessage `json:"schema"`
			Strict bool            `json:"strict"`
		} `json:"json_schema"`
	}
	if json.Unmarshal(raw, &given) != nil {
		return nil
	}
	switch {
	case given.Type == "json_object":
		return &Format{Raw: raw}
	case given.Type == "json_schema" && len(given.JSON.Schema) > 0 && given.JSON.Schema[0] == '{':
		return &Format{Raw: raw, Schema: given.JSON.Schema, Strict: given.JSON.Strict}
	}
	return nil
}

// Instruction tells a model in words what a service has no parameter for.
func (f *Format) Instruction() string {
	if f.Schema == nil {
		return "Answer with one JSON object and nothing else."
	}
	return "Answer with JSON that matches this JSON Schema and nothing else: " + string(f.Schema)
}

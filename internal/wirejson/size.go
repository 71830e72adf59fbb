package wirejson

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Size returns the length in bytes that a valid JSON text has when it is written with ", " and ": " as separators and without escapes for
// text beyond ASCII: the measure of the configured size limits.
func Size(text []byte) int {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	size := 0
	var quoted []byte
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return size
		}
		depth := dec.StackDepth()
		switch token.Kind() {
		case '{', '[':
			size++
			_, n := dec.StackIndex(depth - 1)
			size += separator(depth-1, n)
			continue
		case '}', ']':
			size++
			continue
		case '"':
			quoted = appendString(quoted[:0], token.String())
			size += len(quoted)
		default:
			size += len(token.String())
		}
		_, n := dec.StackIndex(depth)
		size += separator(depth, n)
	}
}

// MaxSize returns a bound of Size that costs much less: every comma and colon may be a separator that gets a space, and nothing else grows.
func MaxSize(text []byte) int {
	return len(text) + bytes.Count(text, []byte{','}) + bytes.Count(text, []byte{':'})
}

// separator is the length of what stands before the n-th token of the container at a depth.
func separator(depth int, n int64) int {
	if depth == 0 || n <= 1 {
		return 0
	}
	return 2
}

// Canonical rewrites a valid JSON text with sorted keys, no spaces and one spelling of every text, so that equal values have equal bytes.
// Numbers keep their spelling.
func Canonical(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("wirejson: canonical form: %w", err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("wirejson: canonical form: %w", err)
	}
	return out, nil
}

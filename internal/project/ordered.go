package project

import (
	"bytes"
	"encoding/json"

	"github.com/kneo-go/kneo/internal/spec"
)

// Map keeps named values in the order of the file, also in JSON.
type Map[T any] struct{ spec.OrderedMap[T] }

// MarshalJSON writes an object in the order of the file.
func (m Map[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	first := true
	for name, value := range m.All() {
		if !first {
			b.WriteByte(',')
		}
		first = false
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Free is a free-form mapping; nil is an empty one.
type Free struct{ *spec.Node }

// MarshalJSON writes the mapping in the order of the file.
func (f Free) MarshalJSON() ([]byte, error) {
	if f.IsNull() {
		return []byte("{}"), nil
	}
	return f.JSON(), nil
}

package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrVersion marks a stored plan of another format; compile its snapshot again.
var ErrVersion = errors.New("plan: other format version")

// Encode serialises a plan. Equal plans give equal bytes.
func (p *Plan) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// Parse reads a serialised plan. It answers ErrVersion for another format.
func Parse(data []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if p.FormatVersion != Version {
		return nil, fmt.Errorf("%w: %d", ErrVersion, p.FormatVersion)
	}
	if p.Root == nil {
		return nil, errors.New("plan: root agent is missing")
	}
	return &p, nil
}

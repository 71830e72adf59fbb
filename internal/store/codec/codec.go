// Package codec bounds and compresses the payloads of checkpoints before they are stored: large ones are compressed, and what is still too
// large keeps its status and a clipped view of its trace and metadata. It imports run only.
package codec

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kneo-go/kneo/internal/run"
)

// Limits are the KNEO_SERV_CHECKPOINT_* settings.
type Limits struct {
	// CompressBytes is the size from which a payload is compressed; 0 means never.
	CompressBytes int
	// MaxBytes is the largest size that is stored in full.
	MaxBytes int
	// PreviewChars, MaxListItems and MaxDictItems bound what is kept of a payload that is too large.
	PreviewChars int
	MaxListItems int
	MaxDictItems int
}

// DefaultLimits are the limits when nothing is configured.
func DefaultLimits() Limits {
	return Limits{CompressBytes: 65536, MaxBytes: 1048576, PreviewChars: 1200, MaxListItems: 20, MaxDictItems: 50}
}

// overhead is about the size of the identifying fields, which count as part of a checkpoint's size.
const overhead = 300

type envelope struct {
	State       json.RawMessage `json:"state,omitempty"`
	TraceEvents json.RawMessage `json:"trace_events,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
}

// Pack replaces payloads that are too large by a limited form and returns the compressed form of all three, or nil when they are to be stored
// as they are.
func (l Limits) Pack(c *run.Checkpoint) ([]byte, error) {
	size := overhead + len(c.State) + len(c.TraceEvents) + len(c.Metadata)
	wantsPacking := l.CompressBytes > 0 && size >= l.CompressBytes
	if size <= l.MaxBytes && !wantsPacking {
		return nil, nil
	}
	packed, err := pack(c)
	if err != nil {
		return nil, err
	}
	if len(packed) <= l.MaxBytes {
		return packed, nil
	}
	if err := l.limit(c, size); err != nil {
		return nil, err
	}
	size = overhead + len(c.State) + len(c.TraceEvents) + len(c.Metadata)
	if l.CompressBytes <= 0 || size < l.CompressBytes {
		return nil, nil
	}
	packed, err = pack(c)
	if err != nil {
		return nil, err
	}
	if len(packed) > l.MaxBytes {
		return nil, nil
	}
	return packed, nil
}

// Unpack restores the payloads from what Pack returned.
func (l Limits) Unpack(packed []byte, c *run.Checkpoint) error {
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("checkpoint payload: %w", err)
	}
	raw, err := io.ReadAll(r)
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		return fmt.Errorf("checkpoint payload: %w", err)
	}
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("checkpoint payload: %w", err)
	}
	c.State, c.TraceEvents, c.Metadata = e.State, e.TraceEvents, e.Metadata
	return nil
}

func pack(c *run.Checkpoint) ([]byte, error) {
	raw, err := json.Marshal(envelope{c.State, c.TraceEvents, c.Metadata})
	if err != nil {
		return nil, fmt.Errorf("checkpoint payload: %w", err)
	}
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevel(&buf, zlib.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("checkpoint payload: %w", err)
	}
	if _, err = w.Write(raw); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint payload: %w", err)
	}
	return buf.Bytes(), nil
}

func (l Limits) limit(c *run.Checkpoint, size int) error {
	var state struct {
		Status *string `json:"status"`
	}
	if len(c.State) > 0 {
		if err := json.Unmarshal(c.State, &state); err != nil {
			return fmt.Errorf("checkpoint state: %w", err)
		}
	}
	limited, err := json.Marshal(struct {
		Limited bool    `json:"_limited"`
		Status  *string `json:"status"`
	}{true, state.Status})
	if err != nil {
		return fmt.Errorf("checkpoint state: %w", err)
	}
	note := fmt.Sprintf(`{"payload_limited":true,"original_bytes":%d,"max_bytes":%d}`, size, l.MaxBytes)
	trace, err := l.clip(c.TraceEvents)
	if err != nil {
		return err
	}
	meta, err := l.clip(c.Metadata)
	if err != nil {
		return err
	}
	c.State, c.TraceEvents, c.Metadata = limited, trace, withNote(meta, note)
	return nil
}

func withNote(meta json.RawMessage, note string) json.RawMessage {
	field := `"_checkpoint_storage":` + note + "}"
	body := bytes.TrimSpace(meta)
	if len(body) < 2 || body[0] != '{' {
		return json.RawMessage("{" + field)
	}
	body = bytes.TrimRight(body[:len(body)-1], " \n\t\r")
	out := append([]byte{}, body...)
	if len(out) > 1 {
		out = append(out, ',')
	}
	return append(out, field...)
}

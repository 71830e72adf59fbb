package codec_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store/codec"
)

func checkpoint(state, trace, meta string) run.Checkpoint {
	raw := func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	}
	return run.Checkpoint{State: raw(state), TraceEvents: raw(trace), Metadata: raw(meta)}
}

func TestPackKeepsSmallPayloads(t *testing.T) {
	c := checkpoint(`{"b":1,"a":1.0}`, `[]`, `{}`)
	want := c
	packed, err := codec.DefaultLimits().Pack(&c)
	if err != nil || packed != nil {
		t.Fatalf("packed %d bytes, %v", len(packed), err)
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestPackAndUnpack(t *testing.T) {
	for name, l := range map[string]codec.Limits{
		"over threshold":       {CompressBytes: 100, MaxBytes: 1 << 20},
		"over maximum, packed": {CompressBytes: 0, MaxBytes: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			c := checkpoint(`{"b":1,"a":"`+strings.Repeat("x", 5000)+`"}`, "", `{"z":1.0}`)
			want := c
			packed, err := l.Pack(&c)
			if err != nil || packed == nil || len(packed) > 1000 {
				t.Fatalf("packed %d bytes, %v", len(packed), err)
			}
			got := run.Checkpoint{}
			if err := l.Unpack(packed, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPackLimits(t *testing.T) {
	l := codec.Limits{MaxBytes: 10, PreviewChars: 3, MaxListItems: 2, MaxDictItems: 2}
	tests := map[string]struct{ state, trace, meta, wantState, wantTrace, wantMeta string }{
		"everything": {
			`{"x":1,"status":"running"}`, `["äöüß",1.0,{"a":[1,2,3],"b":12345678901234567890,"c":null},4]`, `{"z":"<&>","y":{"q":1},"x":2}`,
			`{"_limited":true,"status":"running"}`, `["äöü...[truncated 1 chars]",1.0,{"_truncated_items":2}]`,
			`{"z":"<&>","y":{"q":1},"_truncated_keys":1,"_checkpoint_storage":`,
		},
		"nested":     {`{"status":null}`, `[{"a":[1,2,3],"b":true,"c":1}]`, `{}`, `{"_limited":true,"status":null}`, `[{"a":[1,2,{"_truncated_items":1}],"b":true,"_truncated_keys":1}]`, `{"_checkpoint_storage":`},
		"no payload": {"", "", "", `{"_limited":true,"status":null}`, "", `{"_checkpoint_storage":`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := checkpoint(tt.state, tt.trace, tt.meta)
			packed, err := l.Pack(&c)
			if err != nil || packed != nil {
				t.Fatalf("packed %d bytes, %v", len(packed), err)
			}
			if string(c.State) != tt.wantState || string(c.TraceEvents) != tt.wantTrace || !strings.HasPrefix(string(c.Metadata), tt.wantMeta) {
				t.Errorf("state %s\ntrace %s\nmetadata %s", c.State, c.TraceEvents, c.Metadata)
			}
			var meta struct {
				Storage struct {
					Limited  bool `json:"payload_limited"`
					Original int  `json:"original_bytes"`
					Max      int  `json:"max_bytes"`
				} `json:"_checkpoint_storage"`
			}
			if err := json.Unmarshal(c.Metadata, &meta); err != nil || !meta.Storage.Limited || meta.Storage.Max != 10 || meta.Storage.Original < 300 {
				t.Errorf("metadata %s: %v", c.Metadata, err)
			}
		})
	}
}

func TestUnpackRefusesRubbish(t *testing.T) {
	if err := codec.DefaultLimits().Unpack([]byte("rubbish"), &run.Checkpoint{}); err == nil {
		t.Error("rubbish is accepted")
	}
}

func FuzzPack(f *testing.F) {
	f.Add(`{"status":"x","l":[1,2,3]}`, 5, 0)
	f.Add(`["a",{"b":null}]`, 1000, 1)
	f.Fuzz(func(t *testing.T, raw string, limit, threshold int) {
		if !json.Valid([]byte(raw)) {
			return
		}
		l := codec.Limits{MaxBytes: limit, CompressBytes: threshold, PreviewChars: 2, MaxListItems: 2, MaxDictItems: 2}
		c := checkpoint(`{}`, raw, raw)
		packed, err := l.Pack(&c)
		if err != nil {
			t.Fatal(err)
		}
		if packed != nil {
			if err := l.Unpack(packed, &c); err != nil {
				t.Fatal(err)
			}
		}
		for _, part := range []json.RawMessage{c.State, c.TraceEvents, c.Metadata} {
			if len(part) > 0 && !json.Valid(part) {
				t.Errorf("not JSON: %s", part)
			}
		}
	})
}

package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// clip shortens strings, lists and objects at every level and keeps the order of keys.
func (l Limits) clip(raw json.RawMessage) (json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return raw, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out bytes.Buffer
	if err := l.clipValue(dec, &out); err != nil {
		return nil, fmt.Errorf("checkpoint payload: %w", err)
	}
	return out.Bytes(), nil
}

func (l Limits) clipValue(dec *json.Decoder, out *bytes.Buffer) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch v := tok.(type) {
	case json.Delim:
		if v == '[' {
			return l.clipList(dec, out)
		}
		return l.clipObject(dec, out)
	case string:
		return writeJSON(out, l.preview(v))
	default:
		return writeJSON(out, v)
	}
}

func (l Limits) clipList(dec *json.Decoder, out *bytes.Buffer) error {
	out.WriteByte('[')
	n := 0
	for ; dec.More(); n++ {
		if n >= l.MaxListItems {
			if err := skip(dec); err != nil {
				return err
			}
			continue
		}
		comma(out, n)
		if err := l.clipValue(dec, out); err != nil {
			return err
		}
	}
	if extra := n - l.MaxListItems; extra > 0 {
		comma(out, l.MaxListItems)
		fmt.Fprintf(out, `{"_truncated_items":%d}`, extra)
	}
	out.WriteByte(']')
	_, err := dec.Token()
	return err
}

func (l Limits) clipObject(dec *json.Decoder, out *bytes.Buffer) error {
	out.WriteByte('{')
	n := 0
	for ; dec.More(); n++ {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		if n >= l.MaxDictItems {
			if err := skip(dec); err != nil {
				return err
			}
			continue
		}
		comma(out, n)
		if err := writeJSON(out, key); err != nil {
			return err
		}
		out.WriteByte(':')
		if err := l.clipValue(dec, out); err != nil {
			return err
		}
	}
	if extra := n - l.MaxDictItems; extra > 0 {
		comma(out, l.MaxDictItems)
		fmt.Fprintf(out, `"_truncated_keys":%d`, extra)
	}
	out.WriteByte('}')
	_, err := dec.Token()
	return err
}

func (l Limits) preview(s string) string {
	n := utf8.RuneCountInString(s)
	if n <= l.PreviewChars {
		return s
	}
	r := []rune(s)
	return fmt.Sprintf("%s...[truncated %d chars]", string(r[:l.PreviewChars]), n-l.PreviewChars)
}

func skip(dec *json.Decoder) error {
	var ignored json.RawMessage
	return dec.Decode(&ignored)
}

func comma(out *bytes.Buffer, n int) {
	if n > 0 {
		out.WriteByte(',')
	}
}

func writeJSON(out *bytes.Buffer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1)
	return nil
}

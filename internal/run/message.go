package run

import "encoding/json"

// Message is one turn of a conversation. A nil ToolCalls means that the message was built locally and never went through a model, which
// the wire shows as empty metadata; a message that did carries a list, possibly empty.
type Message struct {
	Role       string
	Content    string
	Name       *string
	ToolCallID *string
	ToolCalls  []ToolCall
}

// ToolCall is a model's request to call a tool. Arguments is a JSON object.
type ToolCall struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type wireMessage struct {
	Role       string  `json:"role"`
	Content    string  `json:"content"`
	Name       *string `json:"name"`
	ToolCallID *string `json:"tool_call_id"`
	Metadata   struct {
		ToolCalls *[]ToolCall `json:"tool_calls"`
	} `json:"metadata"`
}

// MarshalJSON writes the wire shape of a message.
func (m Message) MarshalJSON() ([]byte, error) {
	return m.AppendJSON(nil), nil
}

// AppendJSON appends the wire shape of the message.
func (m Message) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"role":`...)
	dst = AppendString(dst, m.Role)
	dst = append(dst, `,"content":`...)
	dst = AppendString(dst, m.Content)
	dst = append(dst, `,"name":`...)
	dst = AppendOptional(dst, m.Name)
	dst = append(dst, `,"tool_call_id":`...)
	dst = AppendOptional(dst, m.ToolCallID)
	if m.ToolCalls == nil {
		return append(dst, `,"metadata":{}}`...)
	}
	dst = append(dst, `,"metadata":{"tool_calls":[`...)
	for i, c := range m.ToolCalls {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":`...)
		dst = AppendString(dst, c.ID)
		dst = append(dst, `,"name":`...)
		dst = AppendString(dst, c.Name)
		dst = append(dst, `,"arguments":`...)
		if len(c.Arguments) == 0 {
			dst = append(dst, `{}`...)
		} else {
			dst = append(dst, c.Arguments...)
		}
		dst = append(dst, `,"metadata":{}}`...)
	}
	return append(dst, `]}}`...)
}

// UnmarshalJSON reads the wire shape.
func (m *Message) UnmarshalJSON(data []byte) error {
	var w wireMessage
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*m = Message{Role: w.Role, Content: w.Content, Name: w.Name, ToolCallID: w.ToolCallID}
	if w.Metadata.ToolCalls != nil {
		m.ToolCalls = *w.Metadata.ToolCalls
		if m.ToolCalls == nil {
			m.ToolCalls = []ToolCall{}
		}
	}
	return nil
}

// AppendMessages appends a JSON array of messages.
func AppendMessages(dst []byte, list []Message) []byte {
	dst = append(dst, '[')
	for i, m := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m.AppendJSON(dst)
	}
	return append(dst, ']')
}

// AppendThread appends a JSON array of messages that went through a runtime: every one lists its tool calls, also when there are none
// (execution.md §1).
func AppendThread(dst []byte, list []Message) []byte {
	dst = append(dst, '[')
	for i, m := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if m.ToolCalls == nil {
			m.ToolCalls = []ToolCall{}
		}
		dst = m.AppendJSON(dst)
	}
	return append(dst, ']')
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Invalid UTF-8 becomes the replacement character.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 {
			return appendSlow(dst, s, start, i)
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscaped(dst, c)
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func appendSlow(dst []byte, s string, start, from int) []byte {
	dst = append(dst, s[start:from]...)
	for _, r := range s[from:] {
		switch {
		case r < 0x80 && (r < 0x20 || r == '"' || r == '\\'):
			dst = appendEscaped(dst, byte(r))
		default:
			dst = append(dst, string(r)...)
		}
	}
	return append(dst, '"')
}

// AppendOptional appends a JSON string or null.
func AppendOptional(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return AppendString(dst, *s)
}

// AppendStrings appends a JSON array of strings.
func AppendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, s)
	}
	return append(dst, ']')
}

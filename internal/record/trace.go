package record

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
)

// previewChars is the length of a preview before it is cut.
const previewChars = 500

// TraceEvent is one event of a run's trace; nil parts are shown as null. Previews and errors are given exact and redacted when rendered.
type TraceEvent struct {
	Type         string
	RunID        string
	ID           string
	At           time.Time
	Parent       string
	AgentName    string
	WorkflowName string
	StepID       string
	Input        *string
	Output       *string
	// Metadata is an object that needs no redaction of its keys, or nil.
	Metadata json.RawMessage
	Error    *string
}

// AppendTrace appends the twenty members of a trace event.
func AppendTrace(dst []byte, e *TraceEvent) []byte {
	o := open(dst)
	o.str("type", e.Type)
	o.str("run_id", e.RunID)
	o.str("event_id", e.ID)
	o.key("timestamp")
	o.buf = run.AppendTime(o.buf, e.At)
	o.opt("parent_event_id", orNil(e.Parent))
	o.raw("span_id", nil, "null")
	o.raw("parent_span_id", nil, "null")
	o.opt("agent_name", orNil(e.AgentName))
	o.opt("workflow_name", orNil(e.WorkflowName))
	o.opt("step_id", orNil(e.StepID))
	for _, k := range [...]string{"runtime_mode", "model_provider", "model_name", "tool_name", "guardrail_id", "memory_policy"} {
		o.raw(k, nil, "null")
	}
	o.opt("input_preview", preview(e.Input))
	o.opt("output_preview", preview(e.Output))
	o.raw("metadata", redact.JSON(e.Metadata), "{}")
	if e.Error == nil {
		o.raw("error", nil, "null")
	} else {
		o.str("error", redact.Paths(redact.Text(*e.Error)))
	}
	return o.close()
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// preview redacts a text and cuts it.
func preview(s *string) *string {
	if s == nil {
		return nil
	}
	text := redact.Text(*s)
	if len(text) <= previewChars || utf8.RuneCountInString(text) <= previewChars {
		return &text
	}
	n := 0
	for i := range text {
		if n == previewChars {
			text = text[:i] + "...[truncated]"
			break
		}
		n++
	}
	return &text
}

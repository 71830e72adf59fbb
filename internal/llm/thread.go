package llm

import (
	"github.com/kneo-go/kneo/internal/run"
)

// Wellformed returns a thread that every provider takes: each tool result follows the turn that asked for it, and each tool call has its result.
// Results without their call (a memory policy may have cut it away) become user turns, calls without results are left out.
func Wellformed(thread []run.Message) []run.Message {
	asked := map[string]bool{}
	answered := map[string]bool{}
	for i := range thread {
		m := &thread[i]
		for _, c := range m.ToolCalls {
			if m.Role == RoleAssistant {
				asked[c.ID] = true
			}
		}
		if m.Role == RoleTool && m.ToolCallID != nil && asked[*m.ToolCallID] {
			answered[*m.ToolCallID] = true
		}
	}
	out := make([]run.Message, 0, len(thread))
	for _, m := range thread {
		switch {
		case m.Role == RoleTool && (m.ToolCallID == nil || !answered[*m.ToolCallID]):
			name := "tool"
			if m.Name != nil {
				name = *m.Name
			}
			m = run.Message{Role: RoleUser, Content: "Result of " + name + ": " + m.Content}
		case m.Role == RoleAssistant && len(m.ToolCalls) > 0:
			m.ToolCalls = withResults(m.ToolCalls, answered)
		}
		out = append(out, m)
	}
	return out
}

func withResults(calls []run.ToolCall, answered map[string]bool) []run.ToolCall {
	kept := make([]run.ToolCall, 0, len(calls))
	for _, c := range calls {
		if answered[c.ID] {
			kept = append(kept, c)
		}
	}
	return kept
}

// EndsWithAssistant reports whether the last turn is the model's own, which some services read as a text to be continued.
func EndsWithAssistant(thread []run.Message) bool {
	return len(thread) > 0 && thread[len(thread)-1].Role == RoleAssistant
}

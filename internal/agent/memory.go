package agent

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
)

// remember applies the agent's memory policy to the thread.
func (s *session) remember(ctx context.Context) error {
	m := s.agent.Memory
	if m == nil {
		return nil
	}
	before := len(s.thread)
	thread, err := s.applyMemory(ctx, m)
	if err != nil {
		return s.failure(ctx, err)
	}
	s.thread = thread
	s.res.Memory = &MemoryReport{Policy: m.Policy, BeforeMessageCount: before, AfterMessageCount: len(thread)}
	return nil
}

func (s *session) applyMemory(ctx context.Context, m *plan.Memory) ([]run.Message, error) {
	switch m.Policy {
	case "full":
		return s.thread, nil
	case "sliding_window":
		return window(s.thread, m.MaxMessages, m.PreserveSystemMessages), nil
	case "summary":
		return s.summarise(ctx, m)
	case "retrieval":
		return s.retrieve(ctx, m)
	}
	return nil, problem.New(problem.SpecInvalid, "Unknown memory policy: %s", m.Policy)
}

// window keeps the last limit messages; with preserve, system messages come first and count towards the limit.
func window(thread []run.Message, limit int64, preserve bool) []run.Message {
	if limit > 0 && int64(len(thread)) <= limit {
		return thread
	}
	var system, others []run.Message
	for _, m := range thread {
		if preserve && m.Role == llm.RoleSystem {
			system = append(system, m)
		} else {
			others = append(others, m)
		}
	}
	room := limit - int64(len(system))
	if limit <= 0 || room <= 0 {
		return append(make([]run.Message, 0, len(system)+4), system...)
	}
	if int64(len(others)) > room {
		others = others[int64(len(others))-room:]
	}
	out := make([]run.Message, 0, len(system)+len(others)+4)
	return append(append(out, system...), others...)
}

// summarise replaces everything before the last user message, except system messages, by a summary.
func (s *session) summarise(ctx context.Context, m *plan.Memory) ([]run.Message, error) {
	cut := lastUser(s.thread)
	if cut < 0 {
		cut = len(s.thread)
	}
	var system []run.Message
	var lines []string
	for _, msg := range s.thread[:cut] {
		if msg.Role == llm.RoleSystem {
			system = append(system, msg)
			continue
		}
		lines = append(lines, msg.Role+": "+msg.Content)
	}
	if lines == nil {
		return s.thread, nil
	}
	if m.Summarizer == nil {
		return nil, problem.New(problem.SpecInvalid, "Agent '%s' has no memory summarizer.", s.agent.Name)
	}
	text := strings.Join(lines, "\n")
	input, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	f := s.refs("memory")
	summary, err := f.text(ctx, m.Summarizer, handler.Summarizer, input, text)
	s.usage = s.usage.Add(f.usage)
	if err != nil {
		return nil, err
	}
	out := append(make([]run.Message, 0, len(system)+len(s.thread)-cut+5), system...)
	out = append(out, systemMessage("Conversation summary:\n"+summary))
	return append(out, s.thread[cut:]...), nil
}

// retrieve prepends what the retriever knows about the last user message.
func (s *session) retrieve(ctx context.Context, m *plan.Memory) ([]run.Message, error) {
	cut := lastUser(s.thread)
	if cut < 0 {
		return s.thread, nil
	}
	if m.Retriever == nil {
		return nil, problem.New(problem.SpecInvalid, "Agent '%s' has no memory retriever.", s.agent.Name)
	}
	query := s.thread[cut].Content
	input, err := json.Marshal(struct {
		Text string `json:"text"`
		TopK int64  `json:"top_k"`
	}{query, m.TopK})
	if err != nil {
		return nil, err
	}
	f := s.refs("memory")
	found, err := f.text(ctx, m.Retriever, handler.Retriever, input, query)
	s.usage = s.usage.Add(f.usage)
	if err != nil {
		return nil, err
	}
	out := append(make([]run.Message, 0, len(s.thread)+5), systemMessage("Relevant retrieved memory:\n"+found))
	return append(out, s.thread...), nil
}

func lastUser(thread []run.Message) int {
	for i := len(thread) - 1; i >= 0; i-- {
		if thread[i].Role == llm.RoleUser {
			return i
		}
	}
	return -1
}

func systemMessage(text string) run.Message {
	return run.Message{Role: llm.RoleSystem, Content: text, ToolCalls: []run.ToolCall{}}
}

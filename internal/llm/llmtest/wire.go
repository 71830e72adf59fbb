package llmtest

import "encoding/json"

type object = map[string]any

type openAI struct{}

func (openAI) calls(t Turn) []object {
	var out []object
	for i, c := range t.Calls {
		out = append(out, object{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}})
	}
	return out
}

func (openAI) finish(t Turn) string {
	switch {
	case t.Finish != "":
		return t.Finish
	case len(t.Calls) > 0:
		return "tool_calls"
	}
	return "stop"
}

func (openAI) usage(t Turn) any {
	if t.Input+t.Output == 0 {
		return nil
	}
	return object{
		"prompt_tokens": t.Input, "completion_tokens": t.Output, "total_tokens": t.Input + t.Output,
		"prompt_tokens_details": object{"cached_tokens": t.Cached}, "completion_tokens_details": object{"reasoning_tokens": t.Reasoning},
	}
}

func (p openAI) whole(t Turn) any {
	message := object{"role": "assistant", "content": t.Text}
	if len(t.Calls) > 0 {
		message["tool_calls"] = p.calls(t)
	}
	return object{
		"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "usage": p.usage(t),
		"choices": []object{{"index": 0, "message": message, "finish_reason": p.finish(t)}},
	}
}

func (p openAI) pieces(t Turn) []event {
	chunk := func(delta object, finish any) event {
		return event{"", object{"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": []object{{"index": 0, "delta": delta, "finish_reason": finish}}}}
	}
	events := []event{chunk(object{"role": "assistant"}, nil)}
	for _, text := range halves(t.Text) {
		events = append(events, chunk(object{"content": text}, nil))
	}
	for i, c := range t.Calls {
		events = append(events, chunk(object{"tool_calls": []object{{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": ""}}}}, nil))
		for _, part := range halves(c.Arguments) {
			events = append(events, chunk(object{"tool_calls": []object{{"index": i, "function": object{"arguments": part}}}}, nil))
		}
	}
	events = append(events, chunk(object{}, p.finish(t)))
	if u := p.usage(t); u != nil {
		events = append(events, event{"", object{"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": []object{}, "usage": u}})
	}
	return events
}

func (openAI) failure(t Turn) any {
	return object{"error": object{"message": t.Message, "type": t.Code, "code": t.Code, "param": nil}}
}

func (openAI) last() string { return "data: [DONE]\n\n" }

type anthropic struct{}

func (anthropic) finish(t Turn) string {
	switch {
	case t.Finish != "":
		return t.Finish
	case len(t.Calls) > 0:
		return "tool_use"
	}
	return "end_turn"
}

func (anthropic) usage(t Turn) object {
	return object{
		"input_tokens": t.Input - t.Cached, "output_tokens": t.Output, "cache_read_input_tokens": t.Cached, "cache_creation_input_tokens": 0,
		"output_tokens_details": object{"thinking_tokens": t.Reasoning},
	}
}

func (p anthropic) whole(t Turn) any {
	content := []object{{"type": "text", "text": t.Text}}
	for _, c := range t.Calls {
		content = append(content, object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": json.RawMessage(c.Arguments)})
	}
	return object{"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "content": content, "stop_reason": p.finish(t), "stop_sequence": nil, "usage": p.usage(t)}
}

func (p anthropic) pieces(t Turn) []event {
	start := p.usage(t)
	start["output_tokens"] = 0
	events := []event{{"message_start", object{"type": "message_start", "message": object{
		"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1",
		"content": []object{}, "stop_reason": nil, "stop_sequence": nil, "usage": start,
	}}}}
	index := 0
	block := func(content object, deltas ...object) {
		events = append(events, event{"content_block_start", object{"type": "content_block_start", "index": index, "content_block": content}})
		for _, d := range deltas {
			events = append(events, event{"content_block_delta", object{"type": "content_block_delta", "index": index, "delta": d}})
		}
		events = append(events, event{"content_block_stop", object{"type": "content_block_stop", "index": index}})
		index++
	}
	if t.Text != "" {
		var deltas []object
		for _, text := range halves(t.Text) {
			deltas = append(deltas, object{"type": "text_delta", "text": text})
		}
		block(object{"type": "text", "text": ""}, deltas...)
	}
	for _, c := range t.Calls {
		var deltas []object
		for _, part := range halves(c.Arguments) {
			deltas = append(deltas, object{"type": "input_json_delta", "partial_json": part})
		}
		block(object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": object{}}, deltas...)
	}
	return append(events,
		event{"message_delta", object{"type": "message_delta", "delta": object{"stop_reason": p.finish(t), "stop_sequence": nil}, "usage": p.usage(t)}},
		event{"message_stop", object{"type": "message_stop"}})
}

func (anthropic) failure(t Turn) any {
	return object{"type": "error", "error": object{"type": t.Code, "message": t.Message}}
}

func (anthropic) last() string { return "" }

type gemini struct{}

func (p gemini) body(t Turn, text string, calls []Call, final bool) object {
	var parts []object
	if text != "" {
		parts = append(parts, object{"text": text})
	}
	for _, c := range calls {
		call := object{"functionCall": object{"name": c.Name, "args": json.RawMessage(c.Arguments)}}
		if c.Signature != "" {
			call["thoughtSignature"] = c.Signature
		}
		parts = append(parts, call)
	}
	candidate := object{"content": object{"role": "model", "parts": parts}, "index": 0}
	body := object{"candidates": []object{candidate}, "modelVersion": "m-1", "responseId": "req-1"}
	if !final {
		return body
	}
	candidate["finishReason"] = "STOP"
	if t.Finish != "" {
		candidate["finishReason"] = t.Finish
	}
	if t.Input+t.Output > 0 {
		body["usageMetadata"] = object{
			"promptTokenCount": t.Input, "candidatesTokenCount": t.Output - t.Reasoning, "thoughtsTokenCount": t.Reasoning,
			"totalTokenCount": t.Input + t.Output, "cachedContentTokenCount": t.Cached,
		}
	}
	return body
}

func (p gemini) whole(t Turn) any { return p.body(t, t.Text, t.Calls, true) }

func (p gemini) pieces(t Turn) []event {
	var events []event
	for _, text := range halves(t.Text) {
		events = append(events, event{"", p.body(t, text, nil, false)})
	}
	return append(events, event{"", p.body(t, "", t.Calls, true)})
}

func (gemini) failure(t Turn) any {
	return object{"error": object{"code": t.Status, "message": t.Message, "status": t.Code}}
}

func (gemini) last() string { return "" }

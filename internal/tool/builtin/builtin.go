// Package builtin holds the few harmless tools that every server has (decision X15). They reach neither network nor files. A spec uses one by
// naming it as a tool's implementation, for example kneo.tools.calculator. It is an adapter of the port tool.
package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
)

// prefix begins the implementation names.
const prefix = "kneo.tools."

// builtin is one tool.
type builtin struct {
	name, description, parameters string
	call                          func(arguments json.RawMessage) (any, error)
}

func all(now func() time.Time) []builtin {
	return []builtin{
		{
			"calculator", "Evaluates an arithmetic expression with + - * / % ^ and parentheses.",
			`{"type":"object","properties":{"expression":{"type":"string","maxLength":1000}},"required":["expression"],"additionalProperties":false}`, calculator,
		},
		{
			"current_time", "Returns the current time in a time zone (UTC by default).",
			`{"type":"object","properties":{"timezone":{"type":"string","description":"IANA name, for example Europe/Vienna"}},"additionalProperties":false}`,
			func(a json.RawMessage) (any, error) { return currentTime(a, now()) },
		},
		{
			"text_statistics", "Counts the characters, words and lines of a text.",
			`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false}`, textStatistics,
		},
	}
}

// Register adds the tools to a registry of handlers.
func Register(r *handler.Registry, now func() time.Time) error {
	for _, b := range all(now) {
		def := handler.Definition{Name: prefix + b.name, Kind: handler.Tool, Description: b.description, InputSchema: json.RawMessage(b.parameters), Idempotent: true}
		err := r.Register(def, func(_ context.Context, input json.RawMessage, _ handler.Meta) (json.RawMessage, error) {
			out, err := b.call(input)
			if err != nil {
				return nil, handler.NewError(handler.CodeInvalidInput, "%s", err.Error())
			}
			return json.Marshal(out)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Tools are declarations as a spec would write them, by the tools' own names.
func Tools() map[string]*plan.Tool {
	tools := map[string]*plan.Tool{}
	for _, b := range all(time.Now) {
		tools[b.name] = &plan.Tool{Name: b.name, Description: b.description, Parameters: json.RawMessage(b.parameters), Implementation: prefix + b.name, Idempotent: true}
	}
	return tools
}

func currentTime(arguments json.RawMessage, now time.Time) (any, error) {
	var a struct {
		Timezone string `json:"timezone"`
	}
	if err := json.Unmarshal(arguments, &a); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(a.Timezone)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone %q", a.Timezone)
	}
	return now.In(zone).Format(time.RFC3339), nil
}

func textStatistics(arguments json.RawMessage) (any, error) {
	var a struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(arguments, &a); err != nil {
		return nil, err
	}
	lines := 0
	if a.Text != "" {
		lines = strings.Count(a.Text, "\n") + 1
	}
	return struct {
		Characters int `json:"characters"`
		Words      int `json:"words"`
		Lines      int `json:"lines"`
	}{utf8.RuneCountInString(a.Text), len(strings.Fields(a.Text)), lines}, nil
}

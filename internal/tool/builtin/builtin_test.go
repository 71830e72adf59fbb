package builtin_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/tool"
	"github.com/kneo-go/kneo/internal/tool/builtin"
)

func TestTools(t *testing.T) {
	t.Parallel()
	r := handler.NewRegistry()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	if err := builtin.Register(r, func() time.Time { return now }); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, arguments, want string }{
		{"calculator", `{"expression":"1 + 2*(3-4)^2 / -2"}`, `"0"`},
		{"calculator", `{"expression":"2^3^2 % 100"}`, `"12"`},
		{"calculator", `{"expression":"1/0"}`, "division by zero"},
		{"calculator", `{"expression":"(1"}`, "a parenthesis is not closed"},
		{"calculator", `{"expression":"1 2"}`, `unexpected "2"`},
		{"calculator", `{"expression":"` + strings.Repeat("(", 500) + `"}`, "the expression is nested too deeply"},
		{"calculator", `{"expression":"10^10^10"}`, "the result is not a finite number"},
		{"current_time", `{}`, `"2026-12-01T12:00:00Z"`},
		{"current_time", `{"timezone":"Asia/Tokyo"}`, `"2026-12-01T21:00:00+09:00"`},
		{"current_time", `{"timezone":"Nowhere"}`, `unknown time zone "Nowhere"`},
		{"text_statistics", `{"text":"a bü\nc"}`, `{"characters":6,"words":3,"lines":2}`},
	}
	for _, tt := range tests {
		out, err := r.Call(context.Background(), handler.Tool, "kneo.tools."+tt.name, json.RawMessage(tt.arguments), handler.Meta{})
		got := string(out)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %s: %s", tt.name, tt.arguments, got)
		}
	}
	schemas, err := tool.NewSchemas()
	if err != nil {
		t.Fatal(err)
	}
	for name, declared := range builtin.Tools() {
		if err := schemas.Check(name, declared.Parameters, json.RawMessage(`{"no such argument":1}`)); err == nil || strings.Contains(err.Error(), "cannot be used") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

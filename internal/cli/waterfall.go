package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/cli/term"
)

// span is one thing with a beginning and an end.
type span struct {
	name       string
	begin, end time.Time
	failed     bool
	open       bool
}

// spans pairs the events that begin something with those that end it.
func spans(events []traceEvent) []span {
	var out []span
	running := map[string][]int{}
	for i := range events {
		e := &events[i]
		at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
		if err != nil {
			continue
		}
		scope, phase := cutLast(e.Type)
		name := strings.TrimSpace(scope + " " + orWord(deref(e.ToolName), orWord(e.where(), orWord(deref(e.AgentName), deref(e.WorkflowName)))))
		if phase == "started" {
			running[name] = append(running[name], len(out))
			out = append(out, span{name: name, begin: at, end: at, open: true})
			continue
		}
		if open := running[name]; len(open) > 0 {
			s := &out[open[len(open)-1]]
			s.end, s.open, s.failed = at, false, phase == "failed" || phase == "error"
			running[name] = open[:len(open)-1]
			continue
		}
		out = append(out, span{name: orWord(name, e.Type) + " " + phase, begin: at, end: at, failed: phase == "failed"})
	}
	return out
}

// cutLast splits "step_completed" into "step" and "completed".
func cutLast(kind string) (scope, phase string) {
	i := strings.LastIndexByte(kind, '_')
	if i < 0 {
		return "", kind
	}
	return kind[:i], kind[i+1:]
}

const (
	waterfallName = 32
	waterfallTime = 10
	waterfallBar  = 10
)

// waterfall draws when each part of a run began and how long it took.
func (s *shell) waterfall(items []json.RawMessage) error {
	events, err := readTrace(items)
	if err != nil {
		return err
	}
	all := spans(events)
	if len(all) == 0 {
		s.out.Println("No trace events.")
		return nil
	}
	begin, end := all[0].begin, all[0].end
	for _, p := range all {
		if p.begin.Before(begin) {
			begin = p.begin
		}
		if p.end.After(end) {
			end = p.end
		}
	}
	room := max(waterfallBar, s.out.Width()-waterfallName-waterfallTime-3)
	whole := max(end.Sub(begin), time.Nanosecond)
	for _, p := range all {
		from := int(float64(p.begin.Sub(begin)) / float64(whole) * float64(room-1))
		length := max(1, int(float64(p.end.Sub(p.begin))/float64(whole)*float64(room-1)+0.5))
		length = min(length, room-from)
		style, mark := term.Green, "█"
		switch {
		case p.failed:
			style = term.Red
		case p.open:
			style, mark = term.Yellow, "▒"
		case p.begin.Equal(p.end):
			mark = "▏"
		}
		bar := strings.Repeat(" ", from) + s.out.Paint(style, strings.Repeat(mark, length)) + strings.Repeat(" ", room-from-length)
		s.out.Printf("%s %s %s\n", pad(oneLine(p.name), waterfallName), bar, s.out.Paint(term.Dim, fmt.Sprintf("%*s", waterfallTime, took(p.end.Sub(p.begin)))))
	}
	return nil
}

func took(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// pad makes text exactly n columns wide.
func pad(text string, n int) string {
	text = term.Clean(text)
	for term.Width(text) > n {
		r := []rune(text)
		text = string(r[:len(r)-2]) + "…"
	}
	return text + strings.Repeat(" ", n-term.Width(text))
}

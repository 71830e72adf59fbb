package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// median is NaN for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// number shows a figure with three significant digits.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v == 0 || v >= 100:
		return grouped(int64(math.Round(v)))
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// grouped puts commas between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// partner finds the column to compare with: the other program on the same database.
func (t *Table) partner(column int) (int, bool) {
	_, database, _ := strings.Cut(t.Columns[column], ", ")
	for i := column + 1; i < len(t.Columns); i++ {
		if _, other, _ := strings.Cut(t.Columns[i], ", "); other == database {
			return i, true
		}
	}
	return 0, false
}

// Markdown is the table with medians, and for the first program how many times better it is than the next on the same database.
func (t *Table) Markdown() string {
	var b strings.Builder
	for _, f := range t.Facts {
		b.WriteString("- " + f + "\n")
	}
	b.WriteString("\n| | figure | goal |")
	rule := "|---|---|---|"
	for i, c := range t.Columns {
		b.WriteString(" " + c + " |")
		rule += "---:|"
		if t.ratio(i) {
			b.WriteString(" times better |")
			rule += "---:|"
		}
	}
	b.WriteString("\n" + rule + "\n")
	for _, r := range t.Rows {
		name := r.figure.name
		if r.figure.unit != "" && r.figure.unit != perSecond {
			name += " (" + r.figure.unit + ")"
		} else if r.figure.unit == perSecond {
			name += " (per second)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |", r.Row, name, r.figure.gate)
		for i := range t.Columns {
			value := median(r.Rounds[i])
			b.WriteString(" " + number(value) + " |")
			if t.ratio(i) {
				other, _ := t.partner(i)
				b.WriteString(" " + better(value, median(r.Rounds[other]), r.figure) + " |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratio tells that a column of the first program has one to compare with.
func (t *Table) ratio(column int) bool {
	program, _, _ := strings.Cut(t.Columns[column], ", ")
	first, _, _ := strings.Cut(t.Columns[0], ", ")
	_, ok := t.partner(column)
	return ok && program == first
}

func better(value, other float64, f figure) string {
	if f.unit == "" || math.IsNaN(value) || math.IsNaN(other) || value == 0 || other == 0 {
		return "–"
	}
	ratio := value / other
	if f.lower {
		ratio = other / value
	}
	return number(ratio) + "×"
}

// machineFacts describe where the figures were taken.
func machineFacts(ctx context.Context) []string {
	facts := []string{
		"taken " + time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%d processors (%s), Linux %s, load average at the start %s", runtime.NumCPU(), firstLine("/proc/cpuinfo", "model name"), kernel(), loadAverage()),
		"memory " + firstLine("/proc/meminfo", "MemTotal"),
		"the load generator is built with " + runtime.Version() + " and shares the processors with the servers",
	}
	if version, err := exec.CommandContext(ctx, "postgres", "-V").Output(); err == nil {
		facts = append(facts, strings.TrimSpace(string(version))+", stock settings, durable commits")
	}
	return facts
}

func firstLine(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil || len(strings.Fields(string(text))) == 0 {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}

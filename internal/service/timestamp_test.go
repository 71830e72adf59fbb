package service

import (
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/problem"
)

func TestParseTimestamp(t *testing.T) {
	const layout = "2006-01-02T15:04:05.999999"
	for in, want := range map[string]string{
		"2026-11-23":                       "2026-11-23T00:00:00",
		"20261123":                         "2026-11-23T00:00:00",
		"2026-W48":                         "2026-11-23T00:00:00",
		"2026-W48-3":                       "2026-11-25T00:00:00",
		"2026W483":                         "2026-11-25T00:00:00",
		"2026-11-23T10:24":                 "2026-11-23T10:24:00",
		"2026-11-23 10:24:38":              "2026-11-23T10:24:38",
		"2026-11-23T10:24:38.175285Z":      "2026-11-23T10:24:38.175285",
		"2026-11-23T10:24:38.1752859+02":   "2026-11-23T08:24:38.175285",
		"20261123T102438,5-0130":           "2026-11-23T11:54:38.5",
		"2026-11-23T10:24:38.5+00:00":      "2026-11-23T10:24:38.5",
		"2026-11-23T10:24:38.175285+05:30": "2026-11-23T04:54:38.175285",
	} {
		got, err := ParseTimestamp("p", in)
		if err != nil || got.Location() != time.UTC || got.Format(layout) != want {
			t.Errorf("%q: %v, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "yesterday", "2026", "2026-13-01", "2026-11-23T", "2026-11-23T25:00", "2026-11-23T10:24:61", "2026-W54", "2026-W48-8", "2026-11-23T10:24+", "2026-11-23T1", "12345678901234567890"} {
		_, err := ParseTimestamp("created_after", bad)
		if !problem.Is(err, problem.InvalidTimestamp) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

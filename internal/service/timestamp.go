package service

import (
	"strconv"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/problem"
)

// ParseTimestamp reads an ISO-8601 timestamp of a filter: calendar or week date, basic or extended form, optional time, fraction (cut after six
// digits) and zone; without a zone it is UTC.
func ParseTimestamp(param, value string) (time.Time, error) {
	t, ok := parseISO(value)
	if !ok {
		return time.Time{}, problem.New(problem.InvalidTimestamp, "Query parameter '%s' must be an ISO-8601 timestamp; got '%s'.", param, value).With("param", param)
	}
	return t, nil
}

func parseISO(s string) (time.Time, bool) {
	date, rest, ok := parseDate(s)
	if !ok {
		return time.Time{}, false
	}
	if rest == "" {
		return date, true
	}
	if len(rest) < 3 {
		return time.Time{}, false
	}
	clock, zone := splitZone(rest[1:])
	d, ok := parseClock(clock)
	if !ok {
		return time.Time{}, false
	}
	offset, ok := parseZone(zone)
	if !ok {
		return time.Time{}, false
	}
	return date.Add(d - offset), true
}

// parseDate reads the date and returns what follows it.
func parseDate(s string) (time.Time, string, bool) {
	if i := strings.IndexByte(s, 'W'); i == 4 || i == 5 && s[4] == '-' {
		return parseWeekDate(s, i)
	}
	for _, layout := range []string{"2006-01-02", "20060102"} {
		if len(s) < len(layout) {
			continue
		}
		if t, err := time.Parse(layout, s[:len(layout)]); err == nil {
			return t, s[len(layout):], true
		}
	}
	return time.Time{}, "", false
}

func parseWeekDate(s string, at int) (time.Time, string, bool) {
	year, ok := digits(s[:4])
	extended := at == 5
	if !ok || len(s) < at+3 {
		return time.Time{}, "", false
	}
	week, ok := digits(s[at+1 : at+3])
	if !ok || week < 1 || week > 53 {
		return time.Time{}, "", false
	}
	rest, day := s[at+3:], 1
	if extended && strings.HasPrefix(rest, "-") {
		rest = rest[1:]
	}
	if rest != "" && rest[0] >= '1' && rest[0] <= '7' && (len(rest) == 1 || rest[1] < '0' || rest[1] > '9') {
		day = int(rest[0] - '0')
		rest = rest[1:]
	}
	// The fourth of January is always in week one.
	start := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC)
	monday := start.AddDate(0, 0, -((int(start.Weekday()) + 6) % 7))
	t := monday.AddDate(0, 0, (week-1)*7+day-1)
	if y, w := t.ISOWeek(); y != year || w != week {
		return time.Time{}, "", false
	}
	return t, rest, true
}

func splitZone(s string) (clock, zone string) {
	if i := strings.IndexAny(s, "Zz+-"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func parseClock(s string) (time.Duration, bool) {
	s, fraction, hasFraction := strings.Cut(strings.Replace(s, ",", ".", 1), ".")
	parts := strings.Split(s, ":")
	if len(parts) == 1 {
		parts = nil
		for ; len(s) >= 2; s = s[2:] {
			parts = append(parts, s[:2])
		}
		if s != "" {
			return 0, false
		}
	}
	if len(parts) == 0 || len(parts) > 3 || hasFraction && len(parts) != 3 {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second}[:len(parts)] {
		n, ok := digits(parts[i])
		if !ok || len(parts[i]) != 2 || i == 0 && n > 23 || n > 59 {
			return 0, false
		}
		d += time.Duration(n) * unit
	}
	if hasFraction {
		if _, ok := digits(fraction); !ok {
			return 0, false
		}
		n, _ := digits((fraction + "000000")[:6])
		d += time.Duration(n) * time.Microsecond
	}
	return d, true
}

func parseZone(s string) (time.Duration, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) < 3 {
		return 0, false
	}
	d, ok := parseClock(s[1:])
	if !ok || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	if s[0] == '-' {
		d = -d
	}
	return d, true
}

func digits(s string) (int, bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s[:min(len(s), 18)])
	return n, err == nil
}

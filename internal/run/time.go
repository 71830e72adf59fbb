package run

import (
	"strconv"
	"time"
)

// timeLayout is ISO-8601 in UTC with six digits, so that texts sort as times do.
const timeLayout = "2006-01-02T15:04:05.000000+00:00"

// FormatTime writes a time as the wire shows it.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// AppendTime appends a time as a JSON string.
func AppendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, timeLayout)
	return append(dst, '"')
}

// AppendEpoch appends a time as JSON seconds since 1970, or null.
func AppendEpoch(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, Epoch(*t), 'f', -1, 64)
}

// Epoch returns seconds since 1970 with microseconds.
func Epoch(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

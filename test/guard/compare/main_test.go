package main

import (
	"io"
	"strings"
	"testing"
)

const before = `goos: linux
BenchmarkRequest/get-2         100   200000 ns/op   9000 B/op   100 allocs/op
BenchmarkRequest/get-2         100   100000 ns/op   9100 B/op   101 allocs/op
BenchmarkRequest/list_100-2    100   900000 ns/op   99000 B/op  1000 allocs/op
PASS`

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct{ after, want string }{
		"same":      {before, ""},
		"less":      {strings.ReplaceAll(before, "1000 allocs", "500 allocs"), ""},
		"little":    {strings.ReplaceAll(before, "1000 allocs", "1090 allocs"), ""},
		"more":      {strings.ReplaceAll(before, "1000 allocs", "1200 allocs"), "list_100"},
		"new":       {before + "\nBenchmarkNew-2 1 1 ns/op 1 B/op 1 allocs/op", ""},
		"nothing":   {"PASS", "no benchmarks"},
		"only time": {strings.ReplaceAll(before, "900000 ns", "9900000 ns"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			old, err := parse(strings.NewReader(before))
			if err != nil {
				t.Fatal(err)
			}
			now, err := parse(strings.NewReader(c.after))
			if err != nil {
				t.Fatal(err)
			}
			err = compare(old, now, io.Discard)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestParseKeepsTheCheapest(t *testing.T) {
	got, err := parse(strings.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	if want := (cost{100000, 9000, 100}); got["BenchmarkRequest/get"] != want {
		t.Errorf("%+v, want %+v", got["BenchmarkRequest/get"], want)
	}
	if _, err := parse(strings.NewReader("BenchmarkX-2 1 many ns/op")); err == nil {
		t.Error("a broken line was read")
	}
}

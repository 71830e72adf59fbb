package spec

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostileText reads texts of 1 MiB that are made to be expensive. The
// bounds are far above what a quiet machine needs, so that a busy one passes.
func TestHostileText(t *testing.T) {
	const size = 1 << 20
	fill := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	for name, text := range map[string]string{
		"flow list": "[" + fill("1,")[:size-2] + "]", "block list": fill("- a\n"), "pairs": "{" + fill("a: b,")[:size-6] + "}",
		"long pairs": fill("key: val, "), "keys": fill("a: 1\n"), "anchors": fill("- &a x\n"), "aliases": "- &a x\n" + fill("- *a\n")[:size-10],
		"comments": fill("#\n"), "quotes": fill(`"a" `), "nested": fill("- - "), "questions": fill("? "), "colons": fill(": "),
		"braces": fill("{"), "tags": fill("!a "), "dashes": fill("---\n"), "blanks": fill(" \n"), "text": "a: " + fill("x, "),
		"folded": "a: >\n" + fill(" x\n"), "escapes": `a: "` + fill(`\u00e9`)[:size-10] + `"`, "digits": "a: " + fill("1")[:size-4],
		"base 60": "a: " + fill("1:")[:size-4] + "1", "doubles": "a: " + fill("''"), "percent": fill("%TAG ! a\n"), "merge": fill("<<: {}\n"),
		"wide keys": fill("? a\n: b\n"), "carets": fill("&"), "stars": fill("*"), "tabs": fill("\t"), "backslashes": `"` + fill(`\`),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, _, err := Parse(name, []byte(text), Limits{})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("%-12s %8v %4d MiB allocated, error %v", name, took.Round(time.Millisecond), allocated, err != nil)
		if took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if allocated > 400 {
			t.Errorf("%s allocated %d MiB in sum", name, allocated)
		}
	}
}

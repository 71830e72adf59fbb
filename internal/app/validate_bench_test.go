package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// largeSpecText is a valid request to check a spec of about 200 kB.
func largeSpecText(mark string) string {
	var b strings.Builder
	b.WriteString(`{"spec":{"version":"v1","metadata":{"description":"` + mark + `"},"agent":{"name":"root"},"components":{"agents":{`)
	text := strings.Repeat("Answer in one sentence and name the source. ", 8)
	for i := 0; b.Len() < 200<<10; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"agent_%d":{"name":"agent_%d","system_prompt":%q,"description":"helper"}`, i, i, text)
	}
	b.WriteString(`}}}}`)
	return b.String()
}

func BenchmarkValidateKnown(b *testing.B) {
	h := benchApp(b)
	body := largeSpecText("known")
	b.ReportAllocs()
	for b.Loop() {
		request(b, h, http.MethodPost, "/v1/specs/validate", body)
	}
}

func BenchmarkValidateNew(b *testing.B) {
	h := benchApp(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		b.StopTimer()
		body := largeSpecText(fmt.Sprintf("new %d", n))
		b.StartTimer()
		request(b, h, http.MethodPost, "/v1/specs/validate", body)
	}
}

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/embed"
)

func TestWalk(t *testing.T) {
	p, err := embed.Open(t.Context(), embed.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	if err := walk(t.Context(), &out, "http://"+p.Addr().String(), ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"status: blocked", "after the answer: completed", "event: completed", "trace: run_completed", "unknown run: not_found"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

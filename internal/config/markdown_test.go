package config

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the page of settings again")

func TestMarkdown(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "operators", "settings.md")
	want := Markdown()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s does not match the table of settings; run this test with -update", page)
	}
}

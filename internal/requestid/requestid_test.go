package requestid_test

import (
	"context"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/requestid"
)

func TestAccept(t *testing.T) {
	for sent, kept := range map[string]bool{
		"trace-me-42": true, "with spaces: and !signs~": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "na\u00efve": false, "tab\there": false, "\x7f": false, "": false,
	} {
		got := requestid.Accept(sent)
		if got == "" || (got == sent) != kept {
			t.Errorf("%q: %q", sent, got)
		}
	}
	if one, two := requestid.Accept(""), requestid.Accept(""); one == two {
		t.Error("two fresh ids are equal")
	}
	if got := requestid.FromContext(requestid.NewContext(context.Background(), "a")); got != "a" {
		t.Error(got)
	}
}

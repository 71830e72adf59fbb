package tooltest_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/tool"
	"github.com/kneo-go/kneo/internal/tool/mcp"
	"github.com/kneo-go/kneo/internal/tool/tooltest"
)

func TestServer(t *testing.T) {
	t.Parallel()
	s := tooltest.New(t)
	p := mcp.New(mcp.Options{})
	t.Cleanup(p.Close)
	call := func(query string) (string, error) {
		arguments, err := json.Marshal(map[string]string{"query": query})
		if err != nil {
			return "", err
		}
		return p.CallTool(context.Background(), tool.RemoteCall{Server: &plan.MCPServer{Name: "far", Transport: "http", URL: s.URL}, Name: "web_search", Arguments: arguments, IdempotencyKey: "k"})
	}
	for query, want := range map[string]string{"search id=a": "found[a]", "search id=a say:some words": "some words"} {
		if text, err := call(query); text != want || err != nil {
			t.Errorf("%s: %q %v", query, text, err)
		}
	}
	if _, err := call("id=b fail"); err == nil || err.Error() != "[mcp:far] tool 'web_search' failed: lookup failed" {
		t.Errorf("got %v", err)
	}
	release := s.Hold("c")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if text, err := call("id=c"); text != "found[c]" || err != nil {
			t.Errorf("%q %v", text, err)
		}
	}()
	release()
	<-done
	if s.Count("a") != 2 || s.Count("c") != 1 || s.Calls()[0].Header.Get("Idempotency-Key") != "k" {
		t.Errorf("calls %+v", s.Calls())
	}
}

package mcp_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/tool"
)

// TestPublishedServer installs mcp-server-time from the Python package index and calls it. It needs the network, so it runs when
// KNEO_TEST_PUBLISHED_MCP is set (as in CI).
func TestPublishedServer(t *testing.T) {
	if os.Getenv("KNEO_TEST_PUBLISHED_MCP") == "" {
		t.Skip("KNEO_TEST_PUBLISHED_MCP is not set")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	for _, command := range [][]string{{"python3", "-m", "venv", dir}, {filepath.Join(dir, "bin", "pip"), "install", "--quiet", "mcp<2", "mcp-server-time==2025.9.25"}} {
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	server := &plan.MCPServer{Name: "time", Transport: "stdio", Command: filepath.Join(dir, "bin", "mcp-server-time"), Args: []string{"--local-timezone", "UTC"}}
	p := newPool(t, nil)
	for range 2 {
		text, err := p.CallTool(ctx, tool.RemoteCall{Server: server, Name: "get_current_time", Arguments: json.RawMessage(`{"timezone":"Asia/Tokyo"}`)})
		if err != nil || !strings.Contains(text, "+09:00") {
			t.Errorf("%q %v", text, err)
		}
	}
	if _, err := p.CallTool(ctx, tool.RemoteCall{Server: server, Name: "get_current_time", Arguments: json.RawMessage(`{"timezone":"Nowhere"}`)}); err == nil {
		t.Error("a zone that does not exist was accepted")
	}
}

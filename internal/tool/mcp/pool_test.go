package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/tool"
	"github.com/kneo-go/kneo/internal/tool/mcp"
)

// serveVariable makes the test binary a stdio server.
const serveVariable = "KNEO_TEST_MCP_STDIO"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		fmt.Println("this line is not JSON")
		if err := newServer().Run(context.Background(), &sdk.StdioTransport{}); err != nil && !errors.Is(err, io.EOF) {
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

type query struct {
	Query string `json:"query"`
}

// newServer serves tools whose answer depends on the query.
func newServer() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	destructive := true
	sdk.AddTool(s, &sdk.Tool{Name: "echo", Description: "d"}, func(_ context.Context, r *sdk.CallToolRequest, in query) (*sdk.CallToolResult, any, error) {
		switch in.Query {
		case "fail":
			return nil, nil, errors.New("it failed")
		case "two":
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "a"}, &sdk.TextContent{}, &sdk.TextContent{Text: "b"}}}, nil, nil
		case "structured":
			return nil, map[string]any{"b": 1, "a": "ü"}, nil
		case "big":
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: strings.Repeat("x", 1<<20)}}}, nil, nil
		case "key":
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprint(r.Params.Meta["io.kneo/idempotency-key"])}}}, nil, nil
		case "env":
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: os.Getenv("EXTRA") + os.Getenv("KNEO_SERV_SECRET")}}}, nil, nil
		case "die":
			os.Exit(3)
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "echo " + in.Query}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "wipe", Annotations: &sdk.ToolAnnotations{DestructiveHint: &destructive}}, func(context.Context, *sdk.CallToolRequest, query) (*sdk.CallToolResult, any, error) {
		return nil, nil, nil
	})
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// servers starts one server per transport.
func servers(t *testing.T) map[string]*plan.MCPServer {
	t.Helper()
	get := func(*http.Request) *sdk.Server { return newServer() }
	stream := httptest.NewServer(sdk.NewStreamableHTTPHandler(get, nil))
	stateless := httptest.NewServer(sdk.NewStreamableHTTPHandler(get, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true}))
	sse := httptest.NewServer(sdk.NewSSEHandler(get, nil))
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{stream, stateless, sse} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*plan.MCPServer{
		"http":  {Name: "far", Transport: "http", URL: stream.URL},
		"json":  {Name: "far", Transport: "http", URL: stateless.URL},
		"sse":   {Name: "far", Transport: "sse", SSEURL: sse.URL},
		"stdio": {Name: "far", Transport: "stdio", Command: exe, Env: map[string]string{serveVariable: "1", "EXTRA": "more"}},
	}
}

func newPool(t *testing.T, change func(*mcp.Options)) *mcp.Pool {
	t.Helper()
	o := mcp.Options{Logger: quiet(), Secrets: secret.Map{}}
	if change != nil {
		change(&o)
	}
	p := mcp.New(o)
	t.Cleanup(p.Close)
	return p
}

func call(p *mcp.Pool, s *plan.MCPServer, q string) (string, error) {
	args, err := json.Marshal(query{q})
	if err != nil {
		return "", err
	}
	return p.CallTool(context.Background(), tool.RemoteCall{Server: s, Name: "echo", Arguments: args, IdempotencyKey: "k1"})
}

func TestEveryTransport(t *testing.T) {
	t.Setenv("KNEO_SERV_SECRET", "hidden")
	tests := []struct{ query, text, failure string }{
		{"x", "echo x", ""},
		{"two", "a\nb", ""},
		{"structured", `{"a": "\u00fc", "b": 1}`, ""},
		{"key", "k1", ""},
		{"fail", "", "[mcp:far] tool 'echo' failed: it failed"},
	}
	for name, server := range servers(t) {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, nil)
			for _, tt := range tests {
				text, err := call(p, server, tt.query)
				if text != tt.text || (err == nil) != (tt.failure == "") || err != nil && err.Error() != tt.failure {
					t.Errorf("%s: %q, %v", tt.query, text, err)
				}
			}
			if _, err := p.CallTool(t.Context(), tool.RemoteCall{Server: server, Name: "nope", Arguments: json.RawMessage(`{}`)}); err == nil || !strings.HasPrefix(err.Error(), "MCP request 'tools/call' failed: {\"code\": ") {
				t.Errorf("unknown tool: %v", err)
			}
			if !p.Idempotent(t.Context(), server, "echo") || p.Idempotent(t.Context(), server, "wipe") {
				t.Error("annotations are not read")
			}
		})
	}
}

func TestProcessEnvironmentAndRecovery(t *testing.T) {
	t.Setenv("KNEO_SERV_SECRET", "hidden")
	server := servers(t)["stdio"]
	p := newPool(t, nil)
	if text, err := call(p, server, "env"); text != "more" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	args := json.RawMessage(`{"query":"die"}`)
	if _, err := p.CallTool(t.Context(), tool.RemoteCall{Server: server, Name: "echo", Arguments: args, Once: true}); err == nil {
		t.Error("a call on a dying server succeeded")
	}
	if text, err := call(p, server, "again"); text != "echo again" || err != nil {
		t.Errorf("after the death: %q %v", text, err)
	}
}

func TestResponseLimit(t *testing.T) {
	limit := int64(100_000)
	for name, server := range servers(t) {
		t.Run(name, func(t *testing.T) {
			small := *server
			small.MaxResponseBytes = &limit
			p := newPool(t, nil)
			if _, err := call(p, &small, "big"); err == nil {
				t.Error("a megabyte passed")
			}
			if text, err := call(p, &small, "x"); text != "echo x" || err != nil {
				t.Errorf("afterwards: %q %v", text, err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *mcp.Options) { o.ConnectTimeout = 2 * time.Second })
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	redirect := httptest.NewServer(http.RedirectHandler("http://127.0.0.2:9/", http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{half")
	}))
	t.Cleanup(garbage.Close)
	tests := map[string]struct {
		server plan.MCPServer
		text   string
	}{
		"nobody listens":  {plan.MCPServer{Transport: "http", URL: dead.URL}, "Could not reach MCP server '" + dead.URL + "': "},
		"no such command": {plan.MCPServer{Transport: "stdio", Command: "/no/such/command"}, "Could not reach MCP server '/no/such/command': "},
		"other origin":    {plan.MCPServer{Transport: "http", URL: redirect.URL}, "Could not reach MCP server '" + redirect.URL + "': "},
		"not JSON":        {plan.MCPServer{Transport: "http", URL: garbage.URL}, "Could not reach MCP server '" + garbage.URL + "': "},
		"file URL":        {plan.MCPServer{Transport: "http", URL: "file:///etc/passwd"}, "Could not reach MCP server 'file:///etc/passwd': only http and https URLs are allowed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := call(p, &tt.server, "x")
			if err == nil || !strings.HasPrefix(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMissingClientKey(t *testing.T) {
	t.Parallel()
	_, err := call(newPool(t, nil), &plan.MCPServer{Name: "far", Transport: "http", URL: "https://127.0.0.1:1", ClientKeyRef: "NO_SUCH_KEY"}, "x")
	if !problem.Is(err, problem.MissingSecret) || !strings.Contains(err.Error(), "NO_SUCH_KEY") {
		t.Errorf("got %v", err)
	}
}

// plainServer answers JSON-RPC over plain POSTs, without sessions and streams.
func plainServer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *plan.MCPServer {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch m.Method {
		case "initialize":
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"kc","version":"1"}}}`, m.ID)
		case "tools/call":
			answer(w, r)
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"done"}],"isError":false}}`, m.ID)
		default:
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
		}
	}))
	t.Cleanup(s.Close)
	return &plan.MCPServer{Name: "far", Transport: "http", URL: s.URL, Headers: map[string]string{"X-Key": "v"}}
}

func TestCallsOfOneSessionRunTogether(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup
	both.Add(2)
	server := plainServer(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "v" || r.Header.Get("Idempotency-Key") != "k1" {
			t.Error("headers are missing")
		}
		both.Done()
		both.Wait()
	})
	p := newPool(t, nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if text, err := call(p, server, "x"); text != "done" || err != nil {
				t.Errorf("%q %v", text, err)
			}
		})
	}
	wg.Wait()
}

func TestTimeoutsAndRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		options mcp.Options
		once    bool
		calls   int32
	}{
		{"no retry after a timeout", mcp.Options{Retries: 2, Timeout: time.Second}, false, 1},
		{"retry on timeout", mcp.Options{Retries: 2, Timeout: time.Second, RetryOnTimeout: true, Backoff: time.Millisecond}, false, 3},
		{"never for a call that must happen once", mcp.Options{Retries: 2, Timeout: time.Second, RetryOnTimeout: true}, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			release := make(chan struct{})
			server := plainServer(t, func(http.ResponseWriter, *http.Request) {
				calls.Add(1)
				<-release
			})
			defer close(release)
			p := newPool(t, func(o *mcp.Options) {
				o.Retries, o.Timeout, o.RetryOnTimeout, o.Backoff, o.ConnectTimeout = tt.options.Retries, tt.options.Timeout, tt.options.RetryOnTimeout, tt.options.Backoff, 5*time.Second
			})
			_, err := p.CallTool(context.Background(), tool.RemoteCall{Server: server, Name: "x", Arguments: json.RawMessage(`{}`), Once: tt.once})
			if err == nil || err.Error() != "Operation timed out after 1 seconds." || calls.Load() != tt.calls {
				t.Errorf("%v after %d calls", err, calls.Load())
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	s := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return newServer() }, &sdk.StreamableHTTPOptions{JSONResponse: true}))
	defer s.Close()
	p := mcp.New(mcp.Options{Logger: quiet()})
	defer p.Close()
	server := &plan.MCPServer{Name: "far", Transport: "http", URL: s.URL}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(p, server, "x"); err != nil {
			b.Fatal(err)
		}
	}
}

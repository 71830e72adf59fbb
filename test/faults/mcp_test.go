package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/test/live"
)

// serveVariable makes the test binary an MCP server over stdio that fails in the way it names.
const serveVariable = "KNEO_TEST_FAULTY_MCP"

// request is a JSON-RPC message.
type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
}

// answers returns the lines with which a faulty server answers a request; nil is silence.
func answers(mode string, r request) []string {
	result := func(v string) []string {
		return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, r.ID, v)}
	}
	switch r.Method {
	case "initialize":
		return result(`{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"faulty","version":"1"}}`)
	case "tools/list":
		return result(tools(mode))
	case "tools/call":
		return call(mode, r, result)
	case "ping":
		return result(`{}`)
	}
	if r.ID == nil {
		return nil
	}
	return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, r.ID)}
}

func tools(mode string) string {
	switch mode {
	case "broken schema":
		return `{"tools":[{"name":"far","inputSchema":{"type":"nope"}}]}`
	case "other tools":
		return `{"tools":[{"name":"other","inputSchema":{"type":"object"}}]}`
	case "list is no list":
		return `{"tools":"far"}`
	case "output schema":
		return `{"tools":[{"name":"far","inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}]}`
	}
	return `{"tools":[{"name":"far","inputSchema":{"type":"object"}}]}`
}

func call(mode string, r request, result func(string) []string) []string {
	const fine = `{"content":[{"type":"text","text":"fine"}]}`
	switch mode {
	case "dies":
		os.Exit(3)
	case "hangs":
		return nil
	case "floods":
		return result(`{"content":[{"type":"text","text":"` + strings.Repeat("flood ", 200_000) + `"}]}`)
	case "noise":
		return append(strings.Split(strings.Repeat("this is no JSON-RPC\n", 2000), "\n"), result(fine)...)
	case "output schema":
		return result(`{"content":[{"type":"text","text":"{\"n\":\"many\"}"}],"structuredContent":{"n":"many"}}`)
	case "wrong shape":
		return result(`{"content":"fine"}`)
	case "wrong id":
		return []string{`{"jsonrpc":"2.0","id":424242,"result":` + fine + `}`}
	case "answers twice":
		return append(result(fine), result(`{"content":[{"type":"text","text":"second thoughts"}]}`)...)
	case "error":
		return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"out of order"}}`, r.ID)}
	}
	return result(fine)
}

// serveMCP is the server over stdio.
func serveMCP(mode string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for in.Scan() {
		var r request
		if json.Unmarshal(in.Bytes(), &r) != nil {
			continue
		}
		for _, line := range answers(mode, r) {
			_, _ = out.WriteString(line + "\n")
		}
		if out.Flush() != nil {
			return
		}
	}
}

// serveHTTP is the server over HTTP without sessions; a death closes the connection.
func serveHTTP(t *testing.T, mode string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m request
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil || m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		if mode == "dies" && m.Method == "tools/call" {
			panic(http.ErrAbortHandler)
		}
		lines := answers(mode, m)
		if lines == nil {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(lines[len(lines)-1]))
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// onServer lets a model call the tool of a faulty server. With stop the agent's strategy is stop_on_tool_error.
func onServer(mode, transport string, stop bool) func(*testing.T, *live.Service) (int, live.Object) {
	return func(t *testing.T, s *live.Service) (int, live.Object) {
		t.Helper()
		model := llmtest.New(t, wants("far", `{}`), sorry)
		server := live.Object{"transport": transport, "max_response_bytes": 100_000}
		switch transport {
		case "stdio":
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			server["command"], server["env"] = exe, live.Object{serveVariable: mode}
		default:
			server["url"] = serveHTTP(t, mode)
		}
		if mode == "hangs" || mode == "wrong id" {
			server["timeout"] = 0.3
		}
		spec := agentSpec(model.URL, live.Object{"far": live.Object{"description": "d", "mcp": live.Object{"server": "remote"}}},
			live.Object{"strategy": live.Object{"type": "react", "stop_on_tool_error": stop}})
		spec["mcp_servers"] = live.Object{"remote": server}
		return shown(model)(runAgent(s, spec))
	}
}

// toolFaults are the faults of MCP servers.
func toolFaults() []fault {
	var all []fault
	for _, f := range []struct{ name, mode, transport string }{
		{"MCP server dies", "dies", "stdio"},
		{"MCP server dies (HTTP)", "dies", "http"},
		{"MCP server hangs", "hangs", "stdio"},
		{"MCP server hangs (HTTP)", "hangs", "http"},
		{"MCP server floods", "floods", "stdio"},
		{"MCP server floods (HTTP)", "floods", "http"},
		{"MCP server prints noise", "noise", "stdio"},
		{"MCP result breaks its output schema", "output schema", "stdio"},
		{"MCP result has a wrong shape", "wrong shape", "stdio"},
		{"MCP answer to another request", "wrong id", "stdio"},
		{"MCP server answers twice", "answers twice", "stdio"},
		{"MCP server reports an error", "error", "stdio"},
		{"MCP server lists a broken schema", "broken schema", "stdio"},
		{"MCP server lists other tools", "other tools", "stdio"},
		{"MCP tool list is no list", "list is no list", "stdio"},
	} {
		all = append(all, fault{f.name, onServer(f.mode, f.transport, false)})
	}
	return append(all,
		fault{"MCP server dies, stop_on_tool_error", onServer("dies", "stdio", true)},
		fault{"MCP server hangs, stop_on_tool_error", onServer("hangs", "stdio", true)},
		fault{"MCP server floods, stop_on_tool_error", onServer("floods", "stdio", true)},
	)
}

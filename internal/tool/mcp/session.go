package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/pytext"
	"github.com/kneo-go/kneo/internal/tool"
)

// widestProtocol is offered first: servers of every age answer it. A server that refuses it is asked again with the newest one.
const widestProtocol = "2025-11-25"

// keyMeta carries the idempotency key to the server.
const keyMeta = "io.kneo/idempotency-key"

// session is an open connection to a server.
type session struct {
	client *sdk.ClientSession
	// ended is closed when the connection is gone.
	ended chan struct{}
	// stop ends what the transport holds (processes, streams).
	stop func()
	// destructive are the tools that must not be repeated.
	destructive map[string]bool
}

func (s *session) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// close ends the connection; closing an ended one is harmless.
func (s *session) close() {
	_ = s.client.Close() // nothing is left to do for a session that does not close
	s.stop()
	<-s.ended
}

// connect opens a session and learns the annotations of its tools.
func (p *Pool) connect(ctx context.Context, server *plan.MCPServer) (*session, error) {
	s, err := p.dial(ctx, server, widestProtocol)
	var rpc *jsonrpc.Error
	if errors.As(err, &rpc) {
		s, err = p.dial(ctx, server, "")
	}
	if err == nil {
		return s, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var timeout *timeoutError
	if problem.As(err) != nil || errors.As(err, &timeout) {
		return nil, err
	}
	return nil, &unreachableError{where: address(server), cause: plain(err)}
}

func (p *Pool) dial(ctx context.Context, server *plan.MCPServer, protocol string) (*session, error) {
	t, stop, err := p.transport(ctx, server)
	if err != nil {
		return nil, err
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "kneo-agent", Version: p.o.Version}, &sdk.ClientOptions{Logger: p.o.Logger, Capabilities: &sdk.ClientCapabilities{}})
	// The connection outlives this call, and some transports tie their stream to the context they were opened with.
	type opened struct {
		session *sdk.ClientSession
		err     error
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan opened, 1)
	go func() {
		cs, err := client.Connect(life, t, &sdk.ClientSessionOptions{ProtocolVersion: protocol})
		done <- opened{cs, err}
	}()
	end := func() { cancel(); stop() }
	timer := time.NewTimer(p.o.ConnectTimeout)
	defer timer.Stop()
	abandon := func(cause error) error {
		end()
		go func() {
			if o := <-done; o.err == nil {
				_ = o.session.Close()
			}
		}()
		return cause
	}
	select {
	case o := <-done:
		if o.err != nil {
			end()
			return nil, o.err
		}
		return p.ready(ctx, o.session, end), nil
	case <-timer.C:
		return nil, abandon(&timeoutError{p.o.ConnectTimeout})
	case <-ctx.Done():
		return nil, abandon(context.Cause(ctx))
	}
}

func (p *Pool) ready(ctx context.Context, cs *sdk.ClientSession, end func()) *session {
	s := &session{client: cs, ended: make(chan struct{}), stop: end, destructive: map[string]bool{}}
	go func() {
		_ = cs.Wait() // how the connection ended does not matter here; the calls on it have failed with the reason
		close(s.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, p.o.ConnectTimeout)
	defer cancel()
	listed := 0
	for t, err := range cs.Tools(ctx, nil) {
		if err != nil {
			p.o.Logger.DebugContext(ctx, "tools of an MCP server cannot be listed", "error", err)
			break
		}
		if a := t.Annotations; a != nil && !a.ReadOnlyHint && !a.IdempotentHint && a.DestructiveHint != nil && *a.DestructiveHint {
			s.destructive[t.Name] = true
		}
		if listed++; listed >= maxListedTools {
			break
		}
	}
	return s
}

// maxListedTools bounds what is read of a server that lists tools without end.
const maxListedTools = 10_000

// attempt makes one call within the time limit. A session whose connection failed is dropped, so that the next attempt opens another.
func (e *entry) attempt(ctx context.Context, c tool.RemoteCall) (string, error) {
	limit := e.pool.limit(c.Server)
	timed, cancel := context.WithTimeoutCause(ctx, limit, &timeoutError{limit})
	defer cancel()
	s, err := e.open(timed)
	if err != nil {
		return "", err
	}
	res, err := s.call(timed, c)
	if errors.Is(err, sdk.ErrSessionMissing) || errors.Is(err, sdk.ErrConnectionClosed) && !c.Once {
		e.drop(s) // the server forgot the session before it looked at the call
		if s, err = e.open(timed); err != nil {
			return "", err
		}
		res, err = s.call(timed, c)
	}
	if err == nil {
		return text(c, res)
	}
	var rpc *jsonrpc.Error
	switch {
	case timed.Err() != nil:
		return "", context.Cause(timed)
	case errors.As(err, &rpc):
		return "", fmt.Errorf("MCP request 'tools/call' failed: %s", rpcObject(rpc))
	}
	e.drop(s)
	return "", fmt.Errorf("MCP server '%s' failed during the call: %w", address(c.Server), plain(err))
}

func (p *Pool) limit(server *plan.MCPServer) time.Duration {
	limit := defaultTimeout
	if t := server.TimeoutSeconds; t != nil && *t > 0 {
		limit = time.Duration(*t * float64(time.Second))
	}
	if p.o.Timeout > 0 && p.o.Timeout < limit {
		limit = p.o.Timeout
	}
	return limit
}

func (s *session) call(ctx context.Context, c tool.RemoteCall) (*sdk.CallToolResult, error) {
	params := &sdk.CallToolParams{Name: c.Name, Arguments: c.Arguments}
	if c.IdempotencyKey != "" {
		params.Meta = sdk.Meta{keyMeta: c.IdempotencyKey}
	}
	return s.client.CallTool(withKey(ctx, c.IdempotencyKey), params)
}

// text renders a result: structured content, else the text parts, else the content as JSON.
func text(c tool.RemoteCall, res *sdk.CallToolResult) (string, error) {
	body, err := content(res)
	if err != nil {
		return "", err
	}
	if res.IsError {
		return "", fmt.Errorf("[mcp:%s] tool '%s' failed: %s", c.Server.Name, c.Name, body)
	}
	return body, nil
}

func content(res *sdk.CallToolResult) (string, error) {
	if res.StructuredContent != nil {
		return dump(res.StructuredContent)
	}
	var parts []string
	for _, item := range res.Content {
		t, ok := item.(*sdk.TextContent)
		if !ok {
			return dump(res.Content)
		}
		if t.Text != "" {
			parts = append(parts, t.Text)
		}
	}
	return strings.Join(parts, "\n"), nil
}

func dump(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return tool.Text(data), nil
}

func rpcObject(e *jsonrpc.Error) string {
	data, err := json.Marshal(struct {
		Code    int64           `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{e.Code, e.Message, e.Data})
	if err != nil {
		return e.Message
	}
	return pytext.Dump(data)
}

// address names a server for people, without passwords.
func address(server *plan.MCPServer) string {
	raw := server.URL
	switch server.Transport {
	case "stdio":
		return server.Command
	case "sse":
		raw = server.SSEURL
	}
	u, err := url.Parse(raw)
	if err != nil {
		return server.Name
	}
	return u.Redacted()
}

// plain keeps the message of a library's error and leaves out what a URL error repeats.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	// Decoders name the types of this program, which say nothing to an author.
	if strings.Contains(err.Error(), "unmarshal") {
		return errWrongShape
	}
	return err
}

var errWrongShape = errors.New("the answer does not have the shape of a tool's result")

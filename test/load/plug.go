package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"
)

// plug is a tool server whose tool does not answer until it is pulled. A run that calls it keeps a worker busy while a backlog is queued.
type plug struct {
	server  *http.Server
	url     string
	called  chan struct{}
	release chan struct{}
	once    sync.Once
}

func newPlug(ctx context.Context) (*plug, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &plug{url: "http://" + l.Addr().String() + "/mcp", called: make(chan struct{}, 1), release: make(chan struct{})}
	p.server = &http.Server{Handler: http.HandlerFunc(p.answer), ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

// pull lets the call that waits return.
func (p *plug) pull() { p.once.Do(func() { close(p.release) }) }

func (p *plug) close() error {
	p.pull()
	return p.server.Close()
}

// body is the request of the run that calls the tool.
func (p *plug) body() []byte {
	spec := soloSpec()
	spec["agent"] = object{
		"name": "t", "strategy": "react", "model": object{"provider": "dummy", "name": "m"},
		"tools": object{"include": []any{"web_search"}, "permissions": object{"allow_network": true}},
	}
	spec["tools"] = object{"web_search": object{
		"description": "Look something up", "mcp": object{"server": "far"},
		"parameters": object{"type": "object", "properties": object{"query": object{"type": "string"}}, "required": []any{"query"}},
	}}
	spec["mcp_servers"] = object{"far": object{"transport": "http", "url": p.url}}
	return encode(object{"input": "search the sea", "spec": spec, "async_mode": true})
}

func (p *plug) answer(w http.ResponseWriter, r *http.Request) {
	var message struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Version string `json:"protocolVersion"`
		} `json:"params"`
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if message.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	var result object
	switch message.Method {
	case "initialize":
		result = object{"protocolVersion": message.Params.Version, "capabilities": object{"tools": object{}}, "serverInfo": object{"name": "plug", "version": "1"}}
	case "tools/list":
		result = object{"tools": []any{object{
			"name": "web_search", "description": "Look something up",
			"inputSchema": object{"type": "object", "properties": object{"query": object{"type": "string"}}, "required": []any{"query"}},
		}}}
	case "tools/call":
		select {
		case p.called <- struct{}{}:
		default:
		}
		select {
		case <-p.release:
		case <-r.Context().Done():
			return
		}
		result = object{"content": []any{object{"type": "text", "text": "found"}}, "isError": false}
	default:
		result = object{}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(object{"jsonrpc": "2.0", "id": message.ID, "result": result}))
}

// Package tooltest holds an MCP server for tests: plain JSON-RPC over POST, without sessions and streams, whose tool calls are counted and behave
// as their query says. It imports the standard library only.
package tooltest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Server answers calls of the tool web_search: "id=k fail" is a tool error, "id=k say:words" answers with these words, anything else with
// "found[k]". A call whose id is held waits.
type Server struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[string]int
	holds map[string]chan struct{}
	seen  []Call
}

// Call is a tool call that arrived.
type Call struct {
	// ID is the id in the query, or empty.
	ID string
	// Query is the argument.
	Query string
	// Header is the request's.
	Header http.Header
}

// New starts a server that stops with the test; calls that are still held are let go then.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{calls: map[string]int{}, holds: map[string]chan struct{}{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.mu.Lock()
		for id, c := range s.holds {
			close(c)
			delete(s.holds, id)
		}
		s.mu.Unlock()
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// Hold makes calls with this id wait until the returned function is called.
func (s *Server) Hold(id string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	s.holds[id] = c
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.holds[id] == c {
			close(c)
			delete(s.holds, id)
		}
	}
}

// Count tells how many calls with this id arrived.
func (s *Server) Count(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[id]
}

// Calls lists what arrived.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.seen...)
}

var (
	idPattern  = regexp.MustCompile(`\bid=(\w+)`)
	sayPattern = regexp.MustCompile(`\bsay:(.+)$`)
)

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Arguments struct {
			Query string `json:"query"`
		} `json:"arguments"`
	} `json:"params"`
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var m message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch m.Method {
	case "initialize":
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"tooltest","version":"1"}}}`, m.ID)
	case "tools/list":
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"web_search","inputSchema":{"type":"object"}}]}}`, m.ID)
	case "tools/call":
		text, failed, ok := s.call(r, m.Params.Arguments.Query)
		if !ok {
			return
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			quoted = []byte(`""`)
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%s}],"isError":%t}}`, m.ID, quoted, failed)
	default:
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
	}
}

// call counts a call and waits while its id is held; ok is false when the client went away.
func (s *Server) call(r *http.Request, query string) (text string, failed, ok bool) {
	id := ""
	if found := idPattern.FindStringSubmatch(query); found != nil {
		id = found[1]
	}
	s.mu.Lock()
	s.calls[id]++
	s.seen = append(s.seen, Call{ID: id, Query: query, Header: r.Header.Clone()})
	hold := s.holds[id]
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return "", false, false
		}
	}
	if strings.Contains(query, "fail") {
		return "lookup failed", true, true
	}
	if said := sayPattern.FindStringSubmatch(query); said != nil {
		return said[1], false, true
	}
	return "found[" + id + "]", false, true
}

// Package llmtest holds a model service for tests: an HTTP server that answers from a script in the wire format of whichever protocol it is
// asked in (OpenAI chat completions, Anthropic messages, Gemini), streamed or whole. It imports the port llm.
package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Turn is one scripted answer.
type Turn struct {
	Text  string
	Calls []Call
	// Input, Output, Cached and Reasoning are the reported tokens; all zero means that none are reported.
	Input, Output, Cached, Reasoning int64
	// Match keeps the turn for the first request whose body contains it; turns without it answer in order.
	Match string
	// Finish replaces the protocol's usual reason for the end of a turn.
	Finish string

	// Status, when not 0, makes the turn an error of that status with Code and Message in the protocol's error shape; Header is sent with it.
	Status  int
	Code    string
	Message string
	Header  map[string]string
	// Raw, when not empty, is the whole body instead.
	Raw string
	// Cut ends a streamed answer after its first piece of text, StreamError ends it with an error event.
	Cut         bool
	StreamError bool
	// Arrived, when not nil, is closed when the request is there.
	Arrived chan<- struct{}
	// Hold delays the answer until the channel is closed or the client has gone.
	Hold <-chan struct{}
}

// Call is a tool call of a turn; Arguments is what the model wrote, valid or not.
type Call struct {
	ID, Name, Arguments string
	// Signature is Gemini's thought signature, in base64.
	Signature string
}

// Request is what the server was asked.
type Request struct {
	Path   string
	Header http.Header
	// Body is the decoded JSON.
	Body map[string]any
	Raw  string
}

// Server is a scripted service.
type Server struct {
	*httptest.Server
	mu       sync.Mutex
	turns    []Turn
	requests []Request
}

// New starts a server that answers with the turns in order and with an error 500 when they are used up. It stops with the test.
func New(t testing.TB, turns ...Turn) *Server {
	t.Helper()
	s := &Server{turns: turns}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// Requests returns what was asked so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

func (s *Server) next(r *http.Request) (Turn, map[string]any) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return Turn{Status: 400, Message: err.Error()}, nil
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		return Turn{Status: 400, Message: err.Error()}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: body, Raw: string(raw)})
	for i, t := range s.turns {
		if strings.Contains(string(raw), t.Match) {
			s.turns = append(s.turns[:i:i], s.turns[i+1:]...)
			return t, body
		}
	}
	return Turn{Status: 500, Message: "the script is over"}, body
}

// protocol renders a turn.
type protocol interface {
	// whole and pieces return JSON bodies; pieces are the events of a stream.
	whole(t Turn) any
	pieces(t Turn) []event
	// failure is the body of an error.
	failure(t Turn) any
	// last is what closes a stream.
	last() string
}

// event is one server-sent event.
type event struct {
	name string
	data any
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var p protocol
	stream := strings.Contains(r.URL.Path, ":stream")
	switch {
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		p = openAI{}
	case strings.HasSuffix(r.URL.Path, "/messages"):
		p = anthropic{}
	case strings.Contains(r.URL.Path, ":generateContent") || stream:
		p = gemini{}
	default:
		http.NotFound(w, r)
		return
	}
	t, body := s.next(r)
	if on, ok := body["stream"].(bool); ok && on {
		stream = true
	}
	if t.Arrived != nil {
		close(t.Arrived)
	}
	if t.Hold != nil {
		select {
		case <-t.Hold:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("X-Request-Id", "req-1")
	w.Header().Set("Request-Id", "req-1")
	for k, v := range t.Header {
		w.Header().Set(k, v)
	}
	answer(w, p, t, stream)
}

func answer(w http.ResponseWriter, p protocol, t Turn, stream bool) {
	switch {
	case t.Raw != "":
		w.Header().Set("Content-Type", "application/json")
		if stream && t.Status == 0 {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		w.WriteHeader(max(t.Status, 200))
		_, _ = io.WriteString(w, t.Raw)
	case t.Status != 0:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(t.Status)
		writeJSON(w, p.failure(t))
	case stream:
		w.Header().Set("Content-Type", "text/event-stream")
		writeStream(w, p, t)
	default:
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, p.whole(t))
	}
}

func writeJSON(w io.Writer, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		data = fmt.Appendf(nil, "%q", err)
	}
	_, _ = w.Write(data)
}

func writeStream(w http.ResponseWriter, p protocol, t Turn) {
	send := func(e event) {
		if e.name != "" {
			_, _ = fmt.Fprintf(w, "event: %s\n", e.name)
		}
		_, _ = io.WriteString(w, "data: ")
		writeJSON(w, e.data)
		_, _ = io.WriteString(w, "\n\n")
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	events := p.pieces(t)
	for i, e := range events {
		if (t.Cut || t.StreamError) && i == len(events)/2 {
			if t.StreamError {
				send(event{"error", p.failure(t)})
			}
			return
		}
		send(e)
	}
	_, _ = io.WriteString(w, p.last())
}

// halves splits a text into the two pieces that a stream sends.
func halves(text string) []string {
	if len(text) < 2 {
		return []string{text}
	}
	half := len(text) / 2
	for half < len(text) && text[half]&0xc0 == 0x80 {
		half++
	}
	return []string{text[:half], text[half:]}
}

package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/accesslog"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/requestid"
)

const (
	// bodyTimeout is how long a client may take to send its body, writeTimeout how long to take each part of the answer.
	bodyTimeout  = time.Minute
	writeTimeout = 2 * time.Minute
)

// HandlerOptions describe what a Handler serves. API and Logger are required.
type HandlerOptions struct {
	// API answers the paths of the contract, with and without /v1.
	API http.Handler
	// Plain are further handlers, of GET and HEAD, by their exact path, for example "/metrics".
	Plain map[string]http.Handler
	// MaxBody bounds every request body in bytes; 0 does not.
	MaxBody int64
	// Origins are the web origins that may call from a browser; "*" is any. Empty: none.
	Origins []string
	// AccessLog gets one line per request; nil writes none.
	AccessLog *accesslog.Log
	Logger    *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Handler is the outermost HTTP handler: request id, log line, panics, body limit and cross-origin rules, for every path.
func Handler(o HandlerOptions) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &handler{o}
}

type handler struct{ HandlerOptions }

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestid.Accept(r.Header.Get(requestid.Header))
	record := &accesslog.Record{
		RequestID: id, Method: r.Method, Path: r.URL.Path, ClientIP: clientIP(r.RemoteAddr), UserAgent: r.UserAgent(), Start: h.Now(),
	}
	out := &recorder{ResponseWriter: w, control: http.NewResponseController(w)}
	out.Header().Set(requestid.Header, id)
	r.Header.Set(requestid.Header, id)
	ctx := accesslog.NewContext(requestid.NewContext(r.Context(), id), record)
	defer func() {
		if value := recover(); value != nil {
			h.panicked(out, record, value)
		}
		h.AccessLog.Write(ctx, record, out.result())
	}()
	h.serve(out, r.WithContext(ctx))
}

func (h *handler) panicked(w *recorder, record *accesslog.Record, value any) {
	if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return
	}
	h.Logger.Error("panic in a request", slog.String("path", record.Path), slog.String("panic", redact.Text(fmt.Sprint(value))),
		slog.String("stack", string(debug.Stack())))
	record.Fail(string(problem.Internal), fmt.Errorf("panic: %v", value))
	if w.status == 0 {
		errmap.WriteError(w, errmap.Internal())
	}
}

func (h *handler) serve(w *recorder, r *http.Request) {
	if h.crossOrigin(w, r) {
		return
	}
	if err := h.readBody(w, r); err != nil {
		errmap.WriteError(w, err)
		return
	}
	if plain, ok := h.Plain[r.URL.Path]; ok {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			errmap.WriteMethodNotAllowed(w, http.MethodGet, http.MethodHead)
			return
		}
		plain.ServeHTTP(w, r)
		return
	}
	if trimmed, slash := strings.CutSuffix(r.URL.Path, "/"); slash {
		if _, known := h.Plain[trimmed]; known {
			errmap.RedirectSlash(w, r)
			return
		}
	}
	h.API.ServeHTTP(w, r)
}

// readBody takes the whole body before anything else happens: bodies are small, a slow client holds no handler, and a body without a declared
// length is refused as soon as it passes the limit.
func (h *handler) readBody(w *recorder, r *http.Request) error {
	if h.MaxBody > 0 && r.ContentLength > h.MaxBody {
		w.Header().Set("Connection", "close")
		return errmap.TooLarge(h.MaxBody)
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	w.deadline(w.control.SetReadDeadline, bodyTimeout)
	body := r.Body
	if h.MaxBody > 0 {
		body = http.MaxBytesReader(w, body, h.MaxBody)
	}
	data := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), readAhead)+bytes.MinRead))
	_, err := data.ReadFrom(body)
	w.deadline(w.control.SetReadDeadline, 0)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errmap.TooLarge(h.MaxBody)
	case err != nil:
		return problem.Wrap(err, problem.InvalidRequest, "The request body could not be read.")
	}
	r.Body = heldBody{data}
	r.ContentLength = int64(data.Len())
	return nil
}

// readAhead is the most memory that a promised length alone may claim.
const readAhead = 1 << 20

// heldBody is a body that is in memory; the API takes its Bytes as they are.
type heldBody struct{ *bytes.Buffer }

// Close does nothing.
func (heldBody) Close() error { return nil }

const (
	corsMethods = "GET, POST, PUT"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Traceparent, Tracestate, X-Kneo-Api-Key, X-Request-ID"
	corsExpose  = "Retry-After, WWW-Authenticate, X-Request-ID"
)

// crossOrigin adds what a browser needs to let an allowed page read the answer. It answers preflight requests itself.
func (h *handler) crossOrigin(w *recorder, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if len(h.Origins) == 0 || origin == "" {
		return false
	}
	w.Header().Add("Vary", "Origin")
	if !slices.Contains(h.Origins, origin) && !slices.Contains(h.Origins, "*") {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", corsExpose)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", corsMethods)
	w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

func clientIP(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// recorder remembers the status and gives slow readers a time limit per write.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
}

// WriteHeader remembers the status. The limit of an earlier answer on the same connection is renewed.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.deadline(w.control.SetWriteDeadline, writeTimeout)
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the answer.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.deadline(w.control.SetWriteDeadline, writeTimeout)
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer below.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// deadline sets a time limit from now, or none for 0; writers without connections (in tests) have no limits.
func (w *recorder) deadline(set func(time.Time) error, limit time.Duration) {
	var at time.Time
	if limit > 0 {
		at = time.Now().Add(limit)
	}
	_ = set(at) // http.ErrNotSupported is all that can go wrong.
}

func (w *recorder) result() int {
	if w.status == 0 {
		return http.StatusInternalServerError
	}
	return w.status
}

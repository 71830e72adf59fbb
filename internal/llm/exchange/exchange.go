// Package exchange is what the adapters of llm share: the HTTP client with its limits, the record of a call's answer, the classification of
// failures, and the retrying wrapper. It imports the port llm and redact.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/outbound"
	"github.com/kneo-go/kneo/internal/redact"
)

// maxBody bounds an answer; nothing that a model says is longer.
const maxBody = 32 << 20

// maxMessage bounds the text of a provider's error.
const maxMessage = 2000

// Client returns the HTTP client for an adapter. It does not follow redirects, which could carry a key elsewhere, and does not go to link-local addresses.
func Client() *http.Client {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: outbound.Control}).DialContext,
		ForceAttemptHTTP2: true, MaxIdleConns: 512, MaxIdleConnsPerHost: 128, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 15 * time.Second,
	}
	return &http.Client{Transport: &transport{base: t}, CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect }}
}

// Record is what an HTTP answer said beside its body.
type Record struct {
	Status int
	Header http.Header
}

type recordKey struct{}

// WithRecord returns a context whose last HTTP answer is written to the record.
func WithRecord(ctx context.Context) (context.Context, *Record) {
	r := &Record{}
	return context.WithValue(ctx, recordKey{}, r), r
}

// RequestID is the provider's name for the call, or empty.
func (r *Record) RequestID() string {
	for _, name := range []string{"X-Request-Id", "Request-Id", "X-Goog-Request-Id", "X-Amzn-Requestid"} {
		if id := r.Header.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// RetryAfter is the wait that the provider asked for, or 0.
func (r *Record) RetryAfter(now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(r.Header.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := r.Header.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// transport is the http.RoundTripper of Client.
type transport struct{ base *http.Transport }

// CloseIdleConnections is used by http.Client.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper. The provider gets the trace context of the call.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		r = r.Clone(r.Context())
		propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(r.Header)) //nolint:contextcheck // the request's own context
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if rec, ok := r.Context().Value(recordKey{}).(*Record); ok {
		rec.Status, rec.Header = resp.StatusCode, resp.Header
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, left: maxBody}
	return resp, nil
}

var errRedirect = errors.New("the service answers with a redirect, which is not followed")

var errTooLong = fmt.Errorf("the answer has more than %d bytes", maxBody)

type cappedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *cappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// Report is what an adapter read of a failure.
type Report struct {
	Provider string
	// Key is removed from every text.
	Key string
	// Status, Code and Message are the provider's; Code is its machine-readable word.
	Status  int
	Code    string
	Message string
	Record  *Record
	Cause   error
}

// Classify turns a failure into an *llm.Error, or into the context's cause when ctx ended.
func Classify(ctx context.Context, r Report) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.Status == 0 && r.Record != nil && r.Record.Status >= 400 {
		r.Status = r.Record.Status
	}
	e := &llm.Error{Class: class(r), Provider: r.Provider, Status: r.Status, Message: clean(r), Cause: r.Cause}
	if r.Record != nil && r.Record.Header != nil {
		e.RequestID = r.Record.RequestID()
		e.RetryAfter = r.Record.RetryAfter(time.Now())
	}
	return e
}

// class reads the provider's word first, as status codes are shared by different failures.
func class(r Report) llm.Class {
	words := strings.ToLower(r.Code + " " + r.Message)
	has := func(list ...string) bool {
		for _, w := range list {
			if strings.Contains(words, w) {
				return true
			}
		}
		return false
	}
	switch {
	case r.Status == 401 || r.Status == 403 || has("authentication_error", "invalid_api_key", "permission_error", "api_key_invalid", "api key not valid"):
		return llm.ClassAuth
	case r.Status == 429 || has("rate_limit", "resource_exhausted"):
		return llm.ClassRateLimit
	case r.Status == 529 || r.Status == 503 || has("overloaded", "unavailable"):
		return llm.ClassOverloaded
	case has("context_length", "context window", "prompt is too long", "maximum context", "exceeds the maximum number of tokens", "input token count"):
		return llm.ClassContextLength
	case has("content_filter", "content_policy", "safety", "blocked"):
		return llm.ClassContentFilter
	case r.Status == 408 || r.Status == 409 || r.Status >= 500:
		return llm.ClassServer
	case r.Status >= 300:
		return llm.ClassInvalidRequest
	}
	return transportClass(r)
}

func transportClass(r Report) llm.Class {
	var network net.Error
	var op *net.OpError
	switch {
	case errors.Is(r.Cause, errRedirect):
		return llm.ClassInvalidRequest
	case errors.Is(r.Cause, errTooLong):
		return llm.ClassMalformed
	case errors.As(r.Cause, &op), errors.As(r.Cause, &network), errors.Is(r.Cause, io.ErrUnexpectedEOF), errors.Is(r.Cause, io.EOF):
		return llm.ClassNetwork
	}
	if r.Record == nil || r.Record.Status == 0 {
		return llm.ClassNetwork
	}
	return llm.ClassMalformed
}

// clean bounds the message and takes secrets out of it.
func clean(r Report) string {
	m := r.Message
	if m == "" && r.Cause != nil {
		m = r.Cause.Error()
	}
	if m == "" {
		m = http.StatusText(r.Status)
	}
	if len(r.Key) > 3 {
		m = strings.ReplaceAll(m, r.Key, "[REDACTED]")
	}
	m = redact.Text(strings.ToValidUTF8(m, "\uFFFD"))
	if len(m) > maxMessage {
		m = strings.ToValidUTF8(m[:maxMessage], "") + "...[truncated]"
	}
	return m
}

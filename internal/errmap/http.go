package errmap

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/kneo-go/kneo/internal/problem"
)

// WriteError answers with the envelope of an error, whatever kind of error it is.
func WriteError(w http.ResponseWriter, err error) {
	p := problem.As(err)
	var mapped *Error
	switch {
	case errors.As(err, &mapped):
		p = mapped.Problem()
	case p == nil:
		p = FromStatus(status.Convert(err))
	}
	for _, h := range Headers(p) {
		w.Header().Set(h[0], h[1])
	}
	WriteJSON(w, Lookup(p.Code).HTTP, Envelope(p))
}

// WriteNotFound answers an unknown path.
func WriteNotFound(w http.ResponseWriter) {
	WriteJSON(w, http.StatusNotFound, Detail("Not Found"))
}

// WriteMethodNotAllowed answers a known path with a wrong method.
func WriteMethodNotAllowed(w http.ResponseWriter, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	WriteJSON(w, http.StatusMethodNotAllowed, Detail("Method Not Allowed"))
}

// RedirectSlash sends the client to the same address without its trailing slash.
func RedirectSlash(w http.ResponseWriter, r *http.Request) {
	target := url.URL{Scheme: "http", Host: r.Host, Path: strings.TrimRight(r.URL.Path, "/"), RawQuery: r.URL.RawQuery}
	if r.TLS != nil {
		target.Scheme = "https"
	}
	w.Header().Set("Location", target.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// WriteJSON answers with a JSON text.
func WriteJSON(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	// A client that went away is noticed by the server below.
	_, _ = w.Write(text)
}

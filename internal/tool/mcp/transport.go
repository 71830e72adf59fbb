package mcp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kneo-go/kneo/internal/outbound"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/secret"
)

// transport returns the way to a server and what must be ended with it.
func (p *Pool) transport(ctx context.Context, server *plan.MCPServer) (sdk.Transport, func(), error) {
	switch server.Transport {
	case "stdio":
		return p.stdio(server)
	case "http":
		client, err := p.httpClient(ctx, server, server.URL)
		if err != nil {
			return nil, nil, err
		}
		return &sdk.StreamableClientTransport{
			Endpoint: server.URL, HTTPClient: client, MaxRetries: -1, DisableStandaloneSSE: server.SSEURL == "",
			MaxEventSize: int(maxResponse(server)),
		}, client.CloseIdleConnections, nil
	case "sse":
		client, err := p.httpClient(ctx, server, server.SSEURL)
		if err != nil {
			return nil, nil, err
		}
		return &sdk.SSEClientTransport{Endpoint: server.SSEURL, HTTPClient: client, MaxEventSize: int(maxResponse(server))}, client.CloseIdleConnections, nil
	}
	return nil, nil, fmt.Errorf("unknown transport %q", server.Transport)
}

func maxResponse(server *plan.MCPServer) int64 {
	if n := server.MaxResponseBytes; n != nil && *n > 0 {
		return *n
	}
	return defaultMaxResponse
}

// httpClient returns a client that adds the configured headers, stays at the server's origin, and bounds what it reads.
func (p *Pool) httpClient(ctx context.Context, server *plan.MCPServer, endpoint string) (*http.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("only http and https URLs are allowed")
	}
	if p.o.AllowURL != nil {
		if err := p.o.AllowURL(endpoint); err != nil {
			return nil, err
		}
	}
	config, err := p.tlsConfig(ctx, server)
	if err != nil {
		return nil, err
	}
	base := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: p.o.ConnectTimeout, KeepAlive: 30 * time.Second, Control: outbound.Control}).DialContext,
		TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: p.o.ConnectTimeout,
	}
	guarded := &guardedTransport{base: base, origin: u, headers: server.Headers, limit: maxResponse(server)}
	if server.Transport == "sse" && server.MessageURL != "" {
		if guarded.postTo, err = url.Parse(server.MessageURL); err != nil {
			return nil, err
		}
		if p.o.AllowURL != nil {
			if err := p.o.AllowURL(server.MessageURL); err != nil {
				return nil, err
			}
		}
	}
	return &http.Client{Transport: guarded, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("too many redirects")
		}
		if !sameOrigin(r.URL, u) {
			return errors.New("a redirect to another origin is refused")
		}
		return nil
	}}, nil
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Host, b.Host)
}

// guardedTransport is the http.RoundTripper of one server.
type guardedTransport struct {
	base    *http.Transport
	origin  *url.URL
	headers map[string]string
	// postTo replaces the address that an SSE server announced.
	postTo *url.URL
	limit  int64
}

// CloseIdleConnections is used by http.Client.
func (t *guardedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (t *guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if t.postTo != nil && r.Method == http.MethodPost {
		r.URL, r.Host = t.postTo, t.postTo.Host
	} else if !sameOrigin(r.URL, t.origin) {
		return nil, errors.New("the server names an address of another origin")
	}
	for k, v := range t.headers {
		r.Header.Set(k, v)
	}
	if key, ok := r.Context().Value(keyContext{}).(string); ok && r.Method == http.MethodPost {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		resp.Body = &cappedBody{ReadCloser: resp.Body, left: t.limit, limit: t.limit}
	}
	return resp, nil
}

// cappedBody fails when more than limit bytes arrive.
type cappedBody struct {
	io.ReadCloser
	left, limit int64
}

// Read implements io.Reader.
func (b *cappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, fmt.Errorf("the response has more than %d bytes", b.limit)
	}
	return n, err
}

type keyContext struct{}

func withKey(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return context.WithValue(ctx, keyContext{}, key)
}

func (p *Pool) tlsConfig(ctx context.Context, server *plan.MCPServer) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if server.Verify != nil && !*server.Verify {
		c.InsecureSkipVerify = true //nolint:gosec // the spec's author said so for this server
	}
	if server.CABundle != "" {
		pem, err := os.ReadFile(server.CABundle)
		if err != nil {
			return nil, fmt.Errorf("ca_bundle: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_bundle holds no certificate")
		}
	}
	key, err := p.clientKey(ctx, server)
	if err != nil || server.ClientCert == "" {
		return c, err
	}
	cert, err := os.ReadFile(server.ClientCert)
	if err != nil {
		return nil, fmt.Errorf("client_cert: %w", err)
	}
	if key == nil {
		key = cert
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, errors.New("client_cert and client_key do not fit together")
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// clientKey returns the key in PEM form: behind client_key_ref is a path or the PEM text itself.
func (p *Pool) clientKey(ctx context.Context, server *plan.MCPServer) ([]byte, error) {
	path := server.ClientKey
	if server.ClientKeyRef != "" {
		value, err := secret.Require(ctx, p.o.Secrets, "mcp:"+server.Name, server.ClientKeyRef)
		if err != nil {
			return nil, err
		}
		if strings.Contains(value, "-----BEGIN") {
			return []byte(value), nil
		}
		path = value
	}
	if path == "" {
		return nil, nil
	}
	key, err := os.ReadFile(path) //nolint:gosec // the path comes from the spec or a secret, as the specification has it
	if err != nil {
		return nil, errors.New("client_key cannot be read")
	}
	return key, nil
}

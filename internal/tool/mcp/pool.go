// Package mcp calls tools of MCP servers over stdio, streamable HTTP and SSE. Sessions are opened at the first call, shared by all runs that use
// the same configuration, and opened again after a failure. It is an adapter of the port tool.
package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/tool"
)

// Options are the deployment's settings.
type Options struct {
	// Retries are further attempts of a failed call (KNEO_SERV_MCP_RETRIES).
	Retries int
	// Backoff is multiplied by the number of the attempt that failed (KNEO_SERV_MCP_RETRY_BACKOFF_SECONDS).
	Backoff time.Duration
	// Timeout bounds one attempt; 0 leaves it to the server's configuration (KNEO_SERV_MCP_TIMEOUT_SECONDS).
	Timeout time.Duration
	// RetryOnTimeout also repeats calls that took too long (KNEO_SERV_MCP_RETRY_ON_TIMEOUT).
	RetryOnTimeout bool
	// ConnectTimeout bounds the opening of a session; 0 means Timeout, else 30 seconds (KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS).
	ConnectTimeout time.Duration
	Secrets        secret.Resolver
	// Version is told to servers.
	Version string
	Logger  *slog.Logger
	// AllowURL, when not nil, refuses addresses that specs may not name (KNEO_SERV_OUTBOUND_HOSTS).
	AllowURL func(url string) error
}

// Limits of a server configuration that names none.
const (
	defaultTimeout     = 30 * time.Second
	defaultMaxResponse = 10 << 20
	maxSessions        = 128
)

// Pool implements tool.Remote.
type Pool struct {
	o Options

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry
}

var _ tool.Remote = (*Pool)(nil)

// New returns a pool. Close it at shutdown.
func New(o Options) *Pool {
	if o.Secrets == nil {
		o.Secrets = secret.Env{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = o.Timeout
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = defaultTimeout
	}
	if o.Version == "" {
		o.Version = "1"
	}
	return &Pool{o: o, entries: map[string]*entry{}}
}

// entry is the shared session of one configuration.
type entry struct {
	pool   *Pool
	server *plan.MCPServer

	// gate is held while the session is opened; a channel, so that waiting can be given up.
	gate chan struct{}

	mu      sync.Mutex
	session *session
	users   int
	used    time.Time
}

// CallTool implements tool.Remote with the deployment's retries.
func (p *Pool) CallTool(ctx context.Context, c tool.RemoteCall) (string, error) {
	e, err := p.acquire(c.Server)
	if err != nil {
		return "", err
	}
	defer e.release()
	for attempt := 1; ; attempt++ {
		text, err := e.attempt(ctx, c)
		if err == nil {
			return text, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if attempt > p.o.Retries || !p.repeatable(err, c.Once) {
			return "", err
		}
		if err := pause(ctx, time.Duration(attempt)*p.o.Backoff); err != nil {
			return "", err
		}
	}
}

func (p *Pool) repeatable(err error, once bool) bool {
	var timeout *timeoutError
	var unreachable *unreachableError
	switch {
	case problem.As(err) != nil:
		return false
	case errors.As(err, &unreachable):
		return true
	case once:
		return false
	case errors.As(err, &timeout):
		return p.o.RetryOnTimeout
	}
	return true
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Idempotent implements tool.Remote. A tool is not idempotent when its server describes it as destructive and not idempotent.
func (p *Pool) Idempotent(ctx context.Context, server *plan.MCPServer, name string) bool {
	e, err := p.acquire(server)
	if err != nil {
		return true
	}
	defer e.release()
	s, err := e.open(ctx)
	if err != nil {
		return true // the call itself will tell why the server cannot be reached
	}
	return !s.destructive[name]
}

// acquire returns the entry of a configuration and keeps it from being evicted until release.
func (p *Pool) acquire(server *plan.MCPServer) (*entry, error) {
	id, err := identity(server)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the server is shutting down")
	}
	e := p.entries[id]
	if e == nil {
		p.evict()
		e = &entry{pool: p, server: server, gate: make(chan struct{}, 1)}
		p.entries[id] = e
	}
	e.mu.Lock()
	e.users++
	e.mu.Unlock()
	return e, nil
}

// evict closes the session that is idle for longest when there are too many. The caller holds p.mu.
func (p *Pool) evict() {
	if len(p.entries) < maxSessions {
		return
	}
	var oldest string
	var when time.Time
	for id, e := range p.entries {
		e.mu.Lock()
		if e.users == 0 && (oldest == "" || e.used.Before(when)) {
			oldest, when = id, e.used
		}
		e.mu.Unlock()
	}
	if oldest != "" {
		e := p.entries[oldest]
		delete(p.entries, oldest)
		go e.drop(nil)
	}
}

func (e *entry) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users--
	e.used = time.Now()
}

// identity names a configuration; the server's name in the spec is no part of it.
func identity(server *plan.MCPServer) (string, error) {
	c := *server
	c.Name = ""
	data, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Close ends all sessions and the processes behind them.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	entries := p.entries
	p.entries = map[string]*entry{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, e := range entries {
		wg.Go(func() { e.drop(nil) })
	}
	wg.Wait()
}

// open returns the live session or opens one; concurrent callers share the attempt.
func (e *entry) open(ctx context.Context) (*session, error) {
	select {
	case e.gate <- struct{}{}:
		defer func() { <-e.gate }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	e.mu.Lock()
	s := e.session
	e.mu.Unlock()
	if s != nil && s.alive() {
		return s, nil
	}
	if s != nil {
		e.drop(s)
	}
	s, err := e.pool.connect(ctx, e.server)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.session = s
	e.mu.Unlock()
	return s, nil
}

// drop closes a session if it is still the entry's (nil: whichever it has).
func (e *entry) drop(s *session) {
	e.mu.Lock()
	if s != nil && e.session != s {
		e.mu.Unlock()
		return
	}
	s = e.session
	e.session = nil
	e.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// timeoutError is an attempt that took too long.
type timeoutError struct{ after time.Duration }

func (t *timeoutError) Error() string {
	return "Operation timed out after " + strconv.FormatFloat(t.after.Seconds(), 'g', 6, 64) + " seconds."
}

// unreachableError is a server that no call has reached.
type unreachableError struct {
	where string
	cause error
}

func (u *unreachableError) Error() string {
	return fmt.Sprintf("Could not reach MCP server '%s': %v", u.where, u.cause)
}

func (u *unreachableError) Unwrap() error { return u.cause }

// Package server owns the listeners: one port that takes REST and gRPC (or two), TLS, the limits that protect against slow clients, and the
// order in which everything stops.
//
// It may import everything below the transports; handlers and interceptors are handed in.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

const (
	headerTimeout    = 10 * time.Second
	idleTimeout      = 2 * time.Minute
	maxHeaderBytes   = 64 << 10
	maxStreams       = 1000
	minPing          = 10 * time.Second
	serverPing       = 2 * time.Minute
	pingTimeout      = 20 * time.Second
	maxMessageExtra  = 64 << 10
	grpcContentType  = "application/grpc"
	handshakeTimeout = 10 * time.Second
)

// Options describe a server. HTTP and Logger are required.
type Options struct {
	// Addr is where REST is served, and gRPC unless GRPCAddr is set.
	Addr string
	// GRPCAddr gives gRPC an address of its own.
	GRPCAddr string
	// TLS, when it has a certificate, encrypts all listeners.
	TLS TLS
	// HTTP answers everything that is not gRPC; Handler makes one.
	HTTP http.Handler
	// Unary and Stream are the interceptors of gRPC calls, outermost first.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Register adds the services.
	Register func(grpc.ServiceRegistrar)
	// MaxBytes bounds a gRPC message a client may send; 0 keeps the default of gRPC.
	MaxBytes int
	// Stopping is called once when the server begins to stop; it ends what would keep HTTP connections open.
	Stopping func()
	// Logger gets what goes wrong on connections.
	Logger *slog.Logger
}

// Server is one running transport. Call Listen, then Serve; Shutdown and Close end it.
type Server struct {
	options  Options
	http     *http.Server
	grpc     *grpc.Server
	health   *health.Server
	inflight *inflight
	main     net.Listener
	own      net.Listener // gRPC's, when it has one
	mixed    bool         // gRPC calls arrive through the HTTP server

	stopOnce sync.Once
}

// New prepares a server; no port is opened yet.
func New(o Options) (*Server, error) {
	s := &Server{options: o, health: health.NewServer(), inflight: newInflight()}
	config, err := o.TLS.config(o.Logger)
	if err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(s.grpcOptions(config)...)
	if o.Register != nil {
		o.Register(s.grpc)
	}
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.http = &http.Server{
		Handler:           s.split(o.HTTP, config != nil),
		TLSConfig:         config,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func (s *Server) grpcOptions(config *tls.Config) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{s.inflight.unary}, s.options.Unary...)...),
		grpc.ChainStreamInterceptor(s.options.Stream...),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverPing, Timeout: pingTimeout}),
	}
	if s.options.MaxBytes > 0 {
		// A little more than the limit still reaches the chain, which answers with the error that REST gives.
		options = append(options, grpc.MaxRecvMsgSize(s.options.MaxBytes+maxMessageExtra))
	}
	if config != nil && s.options.GRPCAddr != "" {
		options = append(options, grpc.Creds(credentials.NewTLS(config.Clone())))
	}
	return options
}

// split sends gRPC calls on an encrypted shared port to the gRPC server; on a cleartext port the listener has done that already.
func (s *Server) split(rest http.Handler, encrypted bool) http.Handler {
	if !encrypted || s.options.GRPCAddr != "" {
		return rest
	}
	s.mixed = true
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), grpcContentType) {
			s.grpc.ServeHTTP(w, r)
			return
		}
		s.inflight.add(1)
		defer s.inflight.add(-1)
		rest.ServeHTTP(w, r)
	})
}

// Listen opens the ports. After it returns, Addr and GRPCAddr are known and connections queue up.
func (s *Server) Listen(ctx context.Context) error {
	var config net.ListenConfig
	var err error
	if s.main, err = config.Listen(ctx, "tcp", s.options.Addr); err != nil {
		return fmt.Errorf("server: listen on %s: %w", s.options.Addr, err)
	}
	if s.options.GRPCAddr == "" {
		return nil
	}
	if s.own, err = config.Listen(ctx, "tcp", s.options.GRPCAddr); err != nil {
		return errors.Join(fmt.Errorf("server: listen on %s: %w", s.options.GRPCAddr, err), s.main.Close())
	}
	return nil
}

// Addr is the address of REST.
func (s *Server) Addr() net.Addr { return s.main.Addr() }

// GRPCAddr is the address of gRPC.
func (s *Server) GRPCAddr() net.Addr {
	if s.own != nil {
		return s.own.Addr()
	}
	return s.main.Addr()
}

// Serve answers until Shutdown or Close is called, then returns nil; any other end is an error.
func (s *Server) Serve() error {
	var group errgroup.Group
	switch {
	case s.own != nil:
		group.Go(func() error { return s.serveGRPC(s.own) })
		group.Go(func() error { return s.serveHTTP(s.main) })
	case s.http.TLSConfig != nil:
		group.Go(func() error { return s.serveHTTP(s.main) })
	default:
		m := newMux(s.main)
		group.Go(func() error { return s.serveGRPC(m.grpc) })
		group.Go(func() error { return s.serveHTTP(m.http) })
		group.Go(m.serve)
	}
	return group.Wait()
}

func (s *Server) serveGRPC(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("server: gRPC: %w", err)
	}
	return nil
}

func (s *Server) serveHTTP(l net.Listener) error {
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("server: HTTP: %w", err)
	}
	return nil
}

// Shutdown stops taking new work and waits for the requests in progress, at most until the context ends: health turns, listeners close, clients
// are told to go elsewhere. Long gRPC streams (workers) stay until Close, so that runs which need them can still finish.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.health.Shutdown()
		if s.options.Stopping != nil {
			s.options.Stopping()
		}
		if !s.mixed {
			go s.grpc.GracefulStop()
		}
	})
	if s.mixed {
		// The HTTP server would also wait for the streams of workers.
		go func() { _ = s.http.Shutdown(ctx) }()
		return errors.Join(s.inflight.wait(ctx), s.closeListeners())
	}
	err := ended(s.http.Shutdown(ctx))
	return errors.Join(err, s.inflight.wait(ctx), s.closeListeners())
}

// Close ends everything at once.
func (s *Server) Close() error {
	s.stopOnce.Do(func() {
		s.health.Shutdown()
		if s.options.Stopping != nil {
			s.options.Stopping()
		}
	})
	s.grpc.Stop()
	return errors.Join(ended(s.http.Close()), s.closeListeners())
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range []net.Listener{s.main, s.own} {
		if l == nil {
			continue
		}
		errs = append(errs, ended(l.Close()))
	}
	return errors.Join(errs...)
}

// ended forgives closing what the other protocol has closed already.
func ended(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// inflight counts plain calls in progress.
type inflight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed while n is 0
}

func newInflight() *inflight {
	idle := make(chan struct{})
	close(idle)
	return &inflight{idle: idle}
}

func (i *inflight) add(d int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.n == 0 && d > 0 {
		i.idle = make(chan struct{})
	}
	i.n += d
	if i.n == 0 {
		close(i.idle)
	}
}

func (i *inflight) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	i.add(1)
	defer i.add(-1)
	return next(ctx, req)
}

func (i *inflight) wait(ctx context.Context) error {
	i.mu.Lock()
	idle := i.idle
	i.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Package inproc connects generated gRPC clients to generated gRPC servers inside one process, without a socket and with the same interceptor
// chain as the network server. The HTTP gateway and local commands call the services through it.
//
// It imports grpc and the protobuf runtime only.
package inproc

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Conn is a client connection and a service registrar at once. Register all services before the first call.
type Conn struct {
	unary   grpc.UnaryServerInterceptor
	stream  grpc.StreamServerInterceptor
	methods map[string]method
	streams map[string]streamMethod
}

type method struct {
	server  any
	handler grpc.MethodHandler
}

type streamMethod struct {
	server  any
	handler grpc.StreamHandler
	desc    grpc.StreamDesc
}

var (
	_ grpc.ClientConnInterface = (*Conn)(nil)
	_ grpc.ServiceRegistrar    = (*Conn)(nil)
)

// New returns a connection whose calls pass the interceptors in the given order, the first one outermost.
func New(unary []grpc.UnaryServerInterceptor, stream []grpc.StreamServerInterceptor) *Conn {
	return &Conn{
		unary:   chainUnary(unary),
		stream:  chainStream(stream),
		methods: map[string]method{},
		streams: map[string]streamMethod{},
	}
}

// RegisterService adds a service; generated RegisterXServer functions call it.
func (c *Conn) RegisterService(desc *grpc.ServiceDesc, server any) {
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = method{server, m.Handler}
	}
	for _, s := range desc.Streams {
		c.streams["/"+desc.ServiceName+"/"+s.StreamName] = streamMethod{server, s.Handler, s}
	}
}

// Invoke calls a unary method. Request and reply are copied, so neither side sees the other's memory.
func (c *Conn) Invoke(ctx context.Context, name string, args, reply any, opts ...grpc.CallOption) error {
	return c.invoke(ctx, name, args, reply, proto.Merge, opts)
}

func (c *Conn) invoke(ctx context.Context, name string, args, reply any, pass func(dst, src proto.Message), opts []grpc.CallOption) error {
	m, ok := c.methods[name]
	if !ok {
		return unknown(name)
	}
	ctx, transport := serverContext(ctx, name)
	decode := func(into any) error { return transfer(into, args, pass) }
	out, err := m.handler(m.server, ctx, decode, c.unary)
	transport.fill(ctx, opts)
	if err != nil {
		return toStatus(err)
	}
	return transfer(reply, out, pass)
}

// NewStream opens a stream; messages are copied as in Invoke.
func (c *Conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, name string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, ok := c.streams[name]
	if !ok {
		return nil, unknown(name)
	}
	return c.open(ctx, s, name, opts), nil
}

func unknown(name string) error {
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	return status.Errorf(codes.Unimplemented, "unknown method %s for service %s", method, service)
}

// addr is the peer of a call that has no other.
type addr struct{}

// Network names the transport.
func (addr) Network() string { return "inproc" }

// String names the peer.
func (addr) String() string { return "inproc" }

// serverContext turns the client's outgoing metadata into incoming metadata and adds what handlers expect of a transport.
func serverContext(ctx context.Context, name string) (context.Context, *transport) {
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		md = metadata.MD{}
	}
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = metadata.NewOutgoingContext(ctx, metadata.MD{})
	if _, ok := peer.FromContext(ctx); !ok {
		ctx = peer.NewContext(ctx, &peer.Peer{Addr: net.Addr(addr{})})
	}
	t := &transport{method: name}
	return grpc.NewContextWithServerTransportStream(ctx, t), t
}

// transport collects the headers that a handler sets.
type transport struct {
	method string

	mu      sync.Mutex
	header  metadata.MD
	trailer metadata.MD
	sent    bool
	ready   chan struct{}
}

// Method returns the full method name.
func (t *transport) Method() string { return t.method }

// SetHeader adds headers to what the client will see.
func (t *transport) SetHeader(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent {
		return errors.New("inproc: headers were sent already")
	}
	t.header = metadata.Join(t.header, md)
	return nil
}

// SendHeader adds headers and makes them visible at once.
func (t *transport) SendHeader(md metadata.MD) error {
	if err := t.SetHeader(md); err != nil {
		return err
	}
	t.flush()
	return nil
}

// SetTrailer adds trailers.
func (t *transport) SetTrailer(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trailer = metadata.Join(t.trailer, md)
	return nil
}

func (t *transport) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sent && t.ready != nil {
		close(t.ready)
	}
	t.sent = true
}

func (t *transport) headers() (header, trailer metadata.MD) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.header.Copy(), t.trailer.Copy()
}

// fill gives headers, trailers and the peer to the call options that ask for them.
func (t *transport) fill(ctx context.Context, opts []grpc.CallOption) {
	header, trailer := t.headers()
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = trailer
		case grpc.PeerCallOption:
			if p, ok := peer.FromContext(ctx); ok {
				*o.PeerAddr = *p
			}
		}
	}
}

// transfer gives a message to the other side, which has an empty one of the same type.
func transfer(into, from any, pass func(dst, src proto.Message)) error {
	dst, ok := into.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "inproc: %T is not a message", into)
	}
	src, ok := from.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "inproc: %T is not a message", from)
	}
	if dst.ProtoReflect().Descriptor() != src.ProtoReflect().Descriptor() {
		return status.Errorf(codes.Internal, "inproc: %s is not %s", src.ProtoReflect().Descriptor().FullName(), dst.ProtoReflect().Descriptor().FullName())
	}
	pass(dst, src)
	return nil
}

// toStatus keeps errors that carry a status and gives one to all others, as the network server does.
func toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if s := status.FromContextError(err); s.Code() != codes.Unknown {
		return s.Err()
	}
	return status.Error(codes.Unknown, err.Error())
}

func chainUnary(list []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for i := len(list) - 1; i >= 0; i-- {
			interceptor, next := list[i], handler
			handler = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, req, info, next) }
		}
		return handler(ctx, req)
	}
}

func chainStream(list []grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		for i := len(list) - 1; i >= 0; i-- {
			interceptor, next := list[i], handler
			handler = func(server any, stream grpc.ServerStream) error { return interceptor(server, stream, info, next) }
		}
		return handler(server, stream)
	}
}

// Methods returns the full names of all registered methods.
func (c *Conn) Methods() []string {
	names := make([]string, 0, len(c.methods)+len(c.streams))
	for name := range c.methods {
		names = append(names, name)
	}
	for name := range c.streams {
		names = append(names, name)
	}
	return names
}

var errNotMessage = errors.New("inproc: value is not a message")

package inproc

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// pipe is the state that both ends of a stream share.
type pipe struct {
	toServer  chan proto.Message
	toClient  chan proto.Message
	halfClose chan struct{} // closed when the client will send no more
	done      chan struct{} // closed when the handler has returned
	err       error         // the handler's result, valid after done
	transport *transport
}

func (c *Conn) open(ctx context.Context, s streamMethod, name string, opts []grpc.CallOption) grpc.ClientStream {
	ctx, cancel := context.WithCancel(ctx)
	serverCtx, t := serverContext(ctx, name)
	t.ready = make(chan struct{})
	p := &pipe{
		toServer: make(chan proto.Message), toClient: make(chan proto.Message),
		halfClose: make(chan struct{}), done: make(chan struct{}), transport: t,
	}
	server := &serverStream{ctx: serverCtx, pipe: p}
	info := &grpc.StreamServerInfo{FullMethod: name, IsClientStream: s.desc.ClientStreams, IsServerStream: s.desc.ServerStreams}
	go func() {
		defer cancel()
		err := c.stream(s.server, server, info, s.handler)
		if err != nil {
			err = toStatus(err)
		}
		p.err = err
		t.flush()
		t.fill(serverCtx, opts)
		close(p.done)
	}()
	return &clientStream{ctx: ctx, cancel: cancel, pipe: p, many: s.desc.ClientStreams}
}

type clientStream struct {
	ctx    context.Context
	cancel context.CancelFunc
	pipe   *pipe
	many   bool // the client may send more than one message
	once   sync.Once
}

// Header waits for the headers of the server.
func (s *clientStream) Header() (metadata.MD, error) {
	select {
	case <-s.pipe.transport.ready:
		header, _ := s.pipe.transport.headers()
		return header, nil
	case <-s.ctx.Done():
		return nil, toStatus(s.ctx.Err())
	}
}

// Trailer returns the trailers once the stream has ended.
func (s *clientStream) Trailer() metadata.MD {
	_, trailer := s.pipe.transport.headers()
	return trailer
}

// CloseSend tells the server that no more messages come.
func (s *clientStream) CloseSend() error {
	s.once.Do(func() { close(s.pipe.halfClose) })
	return nil
}

// Context returns the context of the stream.
func (s *clientStream) Context() context.Context { return s.ctx }

// SendMsg hands a copy of a message to the server; io.EOF means that the server has ended the stream.
func (s *clientStream) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return errNotMessage
	}
	select {
	case s.pipe.toServer <- proto.Clone(msg):
		return nil
	case <-s.pipe.done:
		return s.refused()
	case <-s.ctx.Done():
	}
	select {
	case <-s.pipe.done:
		return s.refused()
	default:
		return toStatus(s.ctx.Err())
	}
}

// refused is what a client sees that sends to a stream which has ended. The generated code of calls with one request takes the reason from
// RecvMsg and expects no error here.
func (s *clientStream) refused() error {
	if s.many {
		return io.EOF
	}
	return nil
}

// RecvMsg waits for the next message of the server; io.EOF is its regular end.
func (s *clientStream) RecvMsg(m any) error {
	select {
	case msg := <-s.pipe.toClient:
		return transfer(m, msg, proto.Merge)
	case <-s.pipe.done:
	case <-s.ctx.Done():
		return s.ended()
	}
	if s.pipe.err != nil {
		return s.pipe.err
	}
	return io.EOF
}

// ended tells apart a handler that has returned, which also ends the context, from a caller that went away.
func (s *clientStream) ended() error {
	select {
	case <-s.pipe.done:
		if s.pipe.err != nil {
			return s.pipe.err
		}
		return io.EOF
	default:
		return toStatus(s.ctx.Err())
	}
}

type serverStream struct {
	ctx  context.Context
	pipe *pipe
}

// SetHeader adds headers.
func (s *serverStream) SetHeader(md metadata.MD) error { return s.pipe.transport.SetHeader(md) }

// SendHeader sends the headers.
func (s *serverStream) SendHeader(md metadata.MD) error { return s.pipe.transport.SendHeader(md) }

// SetTrailer adds trailers.
func (s *serverStream) SetTrailer(md metadata.MD) {
	// A transport of this package takes trailers at any time.
	_ = s.pipe.transport.SetTrailer(md) //nolint:errcheck // It never fails.
}

// Context returns the context of the call.
func (s *serverStream) Context() context.Context { return s.ctx }

// SendMsg hands a copy of a message to the client.
func (s *serverStream) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return errNotMessage
	}
	s.pipe.transport.flush()
	select {
	case s.pipe.toClient <- proto.Clone(msg):
		return nil
	case <-s.ctx.Done():
		return toStatus(s.ctx.Err())
	}
}

// RecvMsg waits for the next message of the client; io.EOF is its regular end.
func (s *serverStream) RecvMsg(m any) error {
	select {
	case msg := <-s.pipe.toServer:
		return transfer(m, msg, proto.Merge)
	case <-s.pipe.halfClose:
		return io.EOF
	case <-s.ctx.Done():
		return toStatus(s.ctx.Err())
	}
}

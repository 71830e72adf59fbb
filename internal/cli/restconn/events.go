package restconn

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxEvent bounds one line of an event stream.
const maxEvent = 16 << 20

// NewStream implements grpc.ClientConnInterface for the methods that REST serves as server-sent events.
func (c *Conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, name string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	template, ok := c.events[name]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "%s has no REST route; it needs a service that answers gRPC", name)
	}
	return &eventStream{ctx: ctx, conn: c, template: template}, nil
}

// eventStream reads server-sent events. The request goes out with the first read.
type eventStream struct {
	ctx      context.Context //nolint:containedctx // a stream is one call
	conn     *Conn
	template string
	in       protoreflect.Message
	body     io.ReadCloser
	lines    *bufio.Scanner
}

// Header implements grpc.ClientStream.
func (s *eventStream) Header() (metadata.MD, error) { return metadata.MD{}, nil }

// Trailer implements grpc.ClientStream.
func (s *eventStream) Trailer() metadata.MD { return metadata.MD{} }

// CloseSend implements grpc.ClientStream.
func (s *eventStream) CloseSend() error { return nil }

// Context implements grpc.ClientStream.
func (s *eventStream) Context() context.Context { return s.ctx }

// SendMsg implements grpc.ClientStream.
func (s *eventStream) SendMsg(m any) error {
	in, ok := m.(proto.Message)
	if !ok {
		return status.Error(codes.Internal, "not a message")
	}
	s.in = in.ProtoReflect()
	return nil
}

// RecvMsg implements grpc.ClientStream.
func (s *eventStream) RecvMsg(m any) error {
	out, ok := m.(proto.Message)
	if !ok || s.in == nil {
		return status.Error(codes.Internal, "not a message, or nothing was asked")
	}
	if s.lines == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	var data []string
	for s.lines.Scan() {
		switch line := s.lines.Text(); {
		case line == "" && len(data) > 0:
			return s.conn.codec.DecodeStored([]byte(strings.Join(data, "\n")), out)
		case strings.HasPrefix(line, "data:"):
			data = append(data, strings.TrimPrefix(strings.TrimPrefix(line, "data:"), " "))
		}
	}
	err := s.lines.Err()
	_ = s.body.Close()
	if err == nil {
		return io.EOF
	}
	return transport(s.ctx, err)
}

func (s *eventStream) open() error {
	path, used := s.conn.path(s.template, s.in)
	query := url.Values{}
	fields := s.in.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !used[f.Name()] && s.in.Has(f) {
			query.Set(string(f.Name()), s.in.Get(f).String())
		}
	}
	target := s.conn.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, target, nil)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	req.Header.Set("Accept", "text/event-stream")
	s.conn.headers(s.ctx, req)
	res, err := s.conn.http.Do(req)
	if err != nil {
		return transport(s.ctx, err)
	}
	if res.StatusCode == http.StatusNoContent {
		_ = res.Body.Close()
		return io.EOF
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err != nil {
			return transport(s.ctx, err)
		}
		return failure(res, body)
	}
	s.body, s.lines = res.Body, bufio.NewScanner(res.Body)
	s.lines.Buffer(nil, maxEvent)
	return nil
}

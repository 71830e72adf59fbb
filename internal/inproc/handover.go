package inproc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Handover returns a view of the connection whose plain calls hand messages over instead of copying them: what hangs below a request belongs to the
// service from the call on, what hangs below a reply to the caller. It is for callers that build a message for one call and only read the reply.
// Streams copy as before.
func (c *Conn) Handover() grpc.ClientConnInterface { return handover{c} }

type handover struct{ conn *Conn }

// Invoke calls a unary method.
func (h handover) Invoke(ctx context.Context, name string, args, reply any, opts ...grpc.CallOption) error {
	return h.conn.invoke(ctx, name, args, reply, move, opts)
}

// NewStream opens a stream.
func (h handover) NewStream(ctx context.Context, desc *grpc.StreamDesc, name string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return h.conn.NewStream(ctx, desc, name, opts...)
}

// move sets the fields of dst to those of src, which must be of the same type.
func move(dst, src proto.Message) {
	into, from := dst.ProtoReflect(), src.ProtoReflect()
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		into.Set(field, value)
		return true
	})
	if unknown := from.GetUnknown(); len(unknown) > 0 {
		into.SetUnknown(unknown)
	}
}

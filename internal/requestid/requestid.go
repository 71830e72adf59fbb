// Package requestid names calls: the id that a client sends or that the server makes up, in the context and on the wire.
//
// It imports only the standard library and google/uuid.
package requestid

import (
	"context"

	"github.com/google/uuid"
)

// Header is the HTTP header of the id; gRPC metadata uses the same name in lower case.
const Header = "X-Request-ID"

// Metadata is the gRPC metadata key of the id.
const Metadata = "x-request-id"

const maxLength = 128

// Accept returns a sent id when it is usable (1 to 128 printable ASCII characters), else a fresh one.
func Accept(sent string) string {
	if sent == "" || len(sent) > maxLength {
		return uuid.NewString()
	}
	for i := range len(sent) {
		if sent[i] < 0x20 || sent[i] > 0x7e {
			return uuid.NewString()
		}
	}
	return sent
}

type contextKey struct{}

// NewContext returns a context that carries the id.
func NewContext(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// FromContext returns the id of the call, or an empty text outside a call.
func FromContext(ctx context.Context) string {
	id, _ := ctx.Value(contextKey{}).(string)
	return id
}

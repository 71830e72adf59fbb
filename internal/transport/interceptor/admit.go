package interceptor

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/validate"
)

// limits bounds the size of a request message.
func (l *links) limits(_ context.Context, _ *call, m any) error {
	message, ok := m.(proto.Message)
	if !ok || l.MaxBytes <= 0 || proto.Size(message) <= l.MaxBytes {
		return nil
	}
	return errmap.ToStatus(errmap.TooLarge(int64(l.MaxBytes)))
}

// open are the services of grpc itself that everybody may call.
var open = []string{"/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"}

func isOpen(name string) bool {
	for _, prefix := range open {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// authn finds out who calls.
func (l *links) authn(ctx context.Context, c *call, next func(context.Context) error) error {
	switch {
	case c.method == nil && !isOpen(c.name):
		return errmap.ToStatus(problem.New(problem.Unimplemented, "Unknown method."))
	case c.method == nil || c.method.Public:
		return next(ctx)
	}
	p, ok := l.Authenticator.Authenticate(auth.Token(header(ctx, "authorization"), header(ctx, "x-kneo-api-key")))
	if !ok {
		return errmap.ToStatus(errmap.Unauthorized())
	}
	return next(auth.NewContext(ctx, p))
}

// scope refuses callers without the scope of the method.
func (l *links) scope(ctx context.Context, c *call, next func(context.Context) error) error {
	if c.method != nil && !c.method.Public && !auth.FromContext(ctx).Allows(c.method.RequiredScope) {
		return errmap.ToStatus(errmap.Forbidden(c.method.RequiredScope))
	}
	return next(ctx)
}

type keyContext struct{}

// shape refuses unknown query parameters and invalid idempotency keys, in this order.
func (l *links) shape(ctx context.Context, c *call, next func(context.Context) error) error {
	if c.method == nil {
		return next(ctx)
	}
	if err := l.Validator.Query(validate.FromContext(ctx)); err != nil {
		return errmap.ToStatus(err)
	}
	if c.method.IdempotencyScope == "" {
		return next(ctx)
	}
	sent := metadata.ValueFromIncomingContext(ctx, idempotency.Metadata)
	if len(sent) == 0 {
		return next(ctx)
	}
	key, err := idempotency.Key(sent[0])
	if err != nil {
		return errmap.ToStatus(err)
	}
	return next(context.WithValue(ctx, keyContext{}, key))
}

// validate checks every message of the client and fills in defaults.
func (l *links) validate(ctx context.Context, c *call, m any) error {
	message, ok := m.(proto.Message)
	if !ok || c.method == nil {
		return nil
	}
	return errmap.ToStatus(l.Validator.Request(c.method, message, validate.FromContext(ctx)))
}

// errmap gives every error of a service a status. Its cause stays inside the process.
func (l *links) errmap(ctx context.Context, _ *call, next func(context.Context) error) error {
	return errmap.ToStatus(next(ctx))
}

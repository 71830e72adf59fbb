// Package idempotency holds the rules of idempotency keys: which keys are valid, under which scope a key is recorded, how a request is
// hashed, and the claim that travels from the transport to the write that starts the work.
//
// It may import the store port (whose Claim it carries), the contract, internal/problem and internal/wirejson.
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// Header is the HTTP header of a key; gRPC metadata uses the same name in lower case.
const Header = "Idempotency-Key"

// Metadata is the gRPC metadata key of a key.
const Metadata = "idempotency-key"

const maxKey = 256

// Key checks a key as it was sent and returns it without the blanks around it.
func Key(sent string) (string, error) {
	key := strings.TrimSpace(sent)
	switch {
	case key == "":
		return "", problem.New(problem.InvalidIdempotencyKey, "Idempotency-Key must not be blank.")
	case utf8.RuneCountInString(key) > maxKey:
		return "", problem.New(problem.InvalidIdempotencyKey, "Idempotency-Key must be %d characters or fewer.", maxKey)
	}
	return key, nil
}

// Scope is the name under which a key of a method is recorded: the contract's scope, the principal and the resource, so that a key of one
// principal replays nothing for another and the same key may be used on two runs.
func Scope(m *contract.Method, principal string, request proto.Message) string {
	parts := []string{m.IdempotencyScope, url.PathEscape(principal)}
	r := request.ProtoReflect()
	for _, route := range m.Routes[:min(1, len(m.Routes))] {
		for _, name := range route.PathParams {
			field := r.Descriptor().Fields().ByName(protoreflect.Name(name))
			parts = append(parts, url.PathEscape(r.Get(field).String()))
		}
	}
	return strings.Join(parts, "/")
}

// Hash is the lower-case hex SHA-256 of the canonical form of a request. A field that is unset or has its default is left out, so a request
// hashes the same whether it names a default or not, and also after a release that adds fields.
func Hash(c *contract.Contract, codec *wirejson.Codec, request proto.Message) (string, error) {
	hash := sha256.New()
	r := request.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		field := r.Descriptor().Fields().Get(i)
		if !r.Has(field) {
			continue
		}
		text, err := wirejson.Canonical(codec.Value(field, r.Get(field)))
		if err != nil {
			return "", err
		}
		if def := c.Rules(field).Default; def != nil {
			if def, err := wirejson.Canonical(def); err == nil && bytes.Equal(def, text) {
				continue
			}
		}
		hash.Write([]byte(field.Name()))
		hash.Write([]byte{0})
		hash.Write(text)
		hash.Write([]byte{0})
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

type contextKey struct{}

// NewContext returns a context that carries the claim of the request.
func NewContext(ctx context.Context, c *store.Claim) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the claim of the request, or nil when it has no key. The caller hands it to the store with the write that starts the
// work; the store answers ErrKeyExists when another request was faster.
func FromContext(ctx context.Context) *store.Claim {
	c, _ := ctx.Value(contextKey{}).(*store.Claim)
	return c
}

// Replay receives the stored answer of a repeated request, byte for byte. A transport that writes JSON puts one into the context of a call.
type Replay struct {
	// Status is the HTTP status of the first answer; 0 means that nothing was replayed.
	Status int
	// Body is the first answer.
	Body []byte
}

type replayKey struct{}

// WithReplay returns a context in which a replayed answer is left in r.
func WithReplay(ctx context.Context, r *Replay) context.Context {
	return context.WithValue(ctx, replayKey{}, r)
}

// SetReplay leaves a stored answer for the transport, when it asked for it.
func SetReplay(ctx context.Context, status int, body []byte) {
	if r, ok := ctx.Value(replayKey{}).(*Replay); ok {
		r.Status, r.Body = status, body
	}
}

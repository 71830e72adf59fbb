package interceptor

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
)

// idempotency answers a repeated request from its record, or lets a first one pass with a claim.
func (l *links) idempotency(ctx context.Context, c *call, req any, next grpc.UnaryHandler) (any, error) {
	message, ok := req.(proto.Message)
	if !ok || c.method == nil || c.method.IdempotencyScope == "" {
		return next(ctx, req)
	}
	key, _ := ctx.Value(keyContext{}).(string)
	if key != "" {
		resp, err := l.keyed(ctx, c.method, key, message, next)
		if err != nil {
			return nil, errmap.ToStatus(err)
		}
		return resp, nil
	}
	return first(ctx, message, next)
}

// first lets a request pass. A success that only queued work has an HTTP status of its own.
func first(ctx context.Context, req proto.Message, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if code := statusOf(req); err == nil && code != http.StatusOK {
		err = setStatus(ctx, code)
	}
	return resp, err
}

func setStatus(ctx context.Context, code int) error {
	return grpc.SetHeader(ctx, metadata.Pairs(errmap.StatusHeader, strconv.Itoa(code)))
}

func (l *links) keyed(ctx context.Context, m *contract.Method, key string, req proto.Message, next grpc.UnaryHandler) (any, error) {
	hash, err := idempotency.Hash(l.Contract, l.Codec, req)
	if err != nil {
		return nil, err
	}
	claim := &store.Claim{Scope: idempotency.Scope(m, auth.FromContext(ctx).Name, req), Key: key, Hash: hash, StatusCode: statusOf(req)}
	record, found, err := l.lookup(ctx, claim)
	if err != nil {
		return nil, err
	}
	if found {
		return l.answer(ctx, m, claim, record)
	}
	resp, err := first(idempotency.NewContext(ctx, claim), req, next)
	if !errors.Is(err, store.ErrKeyExists) {
		l.observeKey("first")
		return resp, err
	}
	// Another request with this key was faster between the look-up and the write.
	if record, found, err = l.lookup(ctx, claim); err != nil {
		return nil, err
	}
	if !found {
		return nil, l.inProgress(m)
	}
	return l.answer(ctx, m, claim, record)
}

func (l *links) lookup(ctx context.Context, c *store.Claim) (run.IdempotencyRecord, bool, error) {
	record, err := l.Keys.Idempotency(ctx, c.Scope, c.Key)
	switch {
	case err == nil:
		return record, true, nil
	case errors.Is(err, store.ErrNotFound):
		return record, false, nil
	case errors.Is(err, store.ErrUnavailable):
		return record, false, problem.Wrap(err, problem.StoreUnavailable, "The state store is temporarily unavailable; retry shortly.").After(5)
	}
	return record, false, err
}

func (l *links) answer(ctx context.Context, m *contract.Method, c *store.Claim, r run.IdempotencyRecord) (any, error) {
	switch {
	case r.Hash != c.Hash:
		l.observeKey("conflict")
		return nil, problem.New(problem.IdempotencyKeyConflict, "Idempotency-Key was already used with a different request payload.").
			With("scope", m.IdempotencyScope)
	case !r.Done:
		return nil, l.inProgress(m)
	}
	l.observeKey("replay")
	if r.StatusCode >= http.StatusBadRequest {
		p, err := errmap.FromEnvelope(r.Response)
		if err != nil {
			return nil, err
		}
		return nil, p
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output.FullName())
	if err != nil {
		return nil, err
	}
	resp := kind.New().Interface()
	if err := l.Codec.DecodeStored(r.Response, resp); err != nil {
		return nil, err
	}
	if err := setStatus(ctx, r.StatusCode); err != nil {
		return nil, err
	}
	idempotency.SetReplay(ctx, r.StatusCode, r.Response)
	return resp, nil
}

func (l *links) inProgress(m *contract.Method) error {
	l.observeKey("in_progress")
	return problem.New(problem.IdempotencyKeyInProgress, "A request with this Idempotency-Key is already in progress; retry shortly to get its result.").
		With("scope", m.IdempotencyScope).After(1)
}

func (l *links) observeKey(outcome string) {
	if l.ObserveKey != nil {
		l.ObserveKey(outcome)
	}
}

// statusOf is the HTTP status of a success: 202 for a request that only queues work.
func statusOf(req proto.Message) int {
	if r, ok := req.(interface{ GetAsyncMode() bool }); ok && r.GetAsyncMode() {
		return http.StatusAccepted
	}
	return http.StatusOK
}

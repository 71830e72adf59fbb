package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	"github.com/kneo-go/kneo/internal/errmap"
)

// answer lets the status be chosen before the body is written without sending the header too early.
type answer struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader sends the header with a status of its own.
func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

// Write sends the header with the chosen status before the first bytes.
func (a *answer) Write(b []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(a.status)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// chooseStatus takes the HTTP status that the service asked for.
func chooseStatus(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	md, ok := runtime.ServerMetadataFromContext(ctx)
	if !ok {
		return nil
	}
	if codes := md.HeaderMD.Get(errmap.StatusHeader); len(codes) > 0 {
		if code, err := strconv.Atoi(codes[len(codes)-1]); err == nil && code >= 200 && code < 600 {
			if a, ok := w.(*answer); ok {
				a.status = code
			}
		}
	}
	return nil
}

// replayed writes a stored answer byte for byte.
func replayed(ctx context.Context, m proto.Message) (any, error) {
	if c := callOf(ctx); c != nil && c.replay.Status != 0 {
		return json.RawMessage(c.replay.Body), nil
	}
	return m, nil
}

// fail is the error handler of the generated code.
func (g *Gateway) fail(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	errmap.WriteError(w, err)
}

// Package gateway answers the HTTP/JSON form of the contract: it finds the route, reads path, query and body, calls the service through a
// client connection, and writes what comes back in the shape that the HTTP service has always had.
//
// It may import everything below the transports.
package gateway

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/requestid"
	"github.com/kneo-go/kneo/internal/validate"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// Options are the parts of the gateway; all are required.
type Options struct {
	Contract *contract.Contract
	Codec    *wirejson.Codec
	// Conn reaches the services, with the interceptor chain in between.
	Conn grpc.ClientConnInterface
	// Authenticator turns callers away before their body is read; the chain behind Conn decides all the same.
	Authenticator *auth.Authenticator
}

// Gateway is the handler of the API's paths, with and without /v1. It expects a body that is bounded already.
type Gateway struct {
	contract *contract.Contract
	codec    *wirejson.Codec
	auth     *auth.Authenticator
	routes   *routes
	mux      *runtime.ServeMux
	conn     grpc.ClientConnInterface
	ending   chan struct{}
	endOnce  sync.Once
}

// New returns the gateway of all services of the contract that have HTTP routes.
func New(o Options) (*Gateway, error) {
	g := &Gateway{
		contract: o.Contract, codec: o.Codec, auth: o.Authenticator, routes: newRoutes(o.Contract, EventsTemplate), conn: o.Conn,
		ending: make(chan struct{}),
	}
	queryParsing.Do(func() { runtime.SetQueryParameterParser(&queryParser{codec: o.Codec})(nil) })
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &marshaler{codec: o.Codec}),
		runtime.WithErrorHandler(g.fail),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, _ int) {
			errmap.WriteNotFound(w)
		}),
		runtime.WithMetadata(forwarded),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithForwardResponseOption(chooseStatus),
		runtime.WithForwardResponseRewriter(replayed),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
	)
	if err := register(g.mux, o.Conn); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

// queryParsing sets the parser of query parameters, which the gateway library keeps for the whole process. All gateways have the same contract, so the
// first one's parser serves all; setting it again would race with requests of the others.
var queryParsing sync.Once

func register(mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
	ctx := context.Background()
	for _, err := range []error{
		kneov1.RegisterRunServiceHandlerClient(ctx, mux, kneov1.NewRunServiceClient(conn)),
		kneov1.RegisterSpecServiceHandlerClient(ctx, mux, kneov1.NewSpecServiceClient(conn)),
		kneov1.RegisterHumanTaskServiceHandlerClient(ctx, mux, kneov1.NewHumanTaskServiceClient(conn)),
		kneov1.RegisterAuditServiceHandlerClient(ctx, mux, kneov1.NewAuditServiceClient(conn)),
		kneov1.RegisterPolicyServiceHandlerClient(ctx, mux, kneov1.NewPolicyServiceClient(conn)),
		kneov1.RegisterSkillServiceHandlerClient(ctx, mux, kneov1.NewSkillServiceClient(conn)),
		kneov1.RegisterSecurityServiceHandlerClient(ctx, mux, kneov1.NewSecurityServiceClient(conn)),
		kneov1.RegisterHealthServiceHandlerClient(ctx, mux, kneov1.NewHealthServiceClient(conn)),
		kneov1.RegisterEventServiceHandlerClient(ctx, mux, kneov1.NewEventServiceClient(conn)),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// call is the state of one request between the steps of the gateway and the generated code.
type call struct {
	route   *contract.Route
	pending validate.Pending
	replay  idempotency.Replay
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// An id that no store can hold is one that is not found.
	path := strings.ReplaceAll(strings.ToValidUTF8(g.routes.versioned(r.URL.Path), "\ufffd"), "\x00", "\ufffd")
	template, ok := g.routes.match(path)
	if !ok {
		if trimmed, slash := strings.CutSuffix(path, "/"); slash {
			if _, known := g.routes.match(trimmed); known {
				errmap.RedirectSlash(w, r)
				return
			}
		}
		errmap.WriteNotFound(w)
		return
	}
	if template == EventsTemplate {
		g.events(w, r, path)
		return
	}
	route, ok := g.contract.Route(r.Method, template)
	if !ok {
		errmap.WriteMethodNotAllowed(w, g.contract.Verbs(template)...)
		return
	}
	if err := g.admit(r, route.Method); err != nil {
		errmap.WriteError(w, err)
		return
	}
	g.serve(w, r, route, path)
}

func (g *Gateway) events(w http.ResponseWriter, r *http.Request, path string) {
	if r.Method != http.MethodGet {
		errmap.WriteMethodNotAllowed(w, http.MethodGet)
		return
	}
	segments := strings.Split(path, "/")
	g.serveEvents(w, r, segments[len(segments)-2])
}

// admit turns away callers that may not use the method.
func (g *Gateway) admit(r *http.Request, m *contract.Method) error {
	if m.Public {
		return nil
	}
	p, ok := g.auth.Authenticate(auth.Token(r.Header.Get("Authorization"), r.Header.Get("X-Kneo-Api-Key")))
	switch {
	case !ok:
		return errmap.Unauthorized()
	case !p.Allows(m.RequiredScope):
		return errmap.Forbidden(m.RequiredScope)
	}
	return nil
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, route *contract.Route, path string) {
	c := &call{route: route}
	c.pending.Parsed = true
	ctx := context.WithValue(r.Context(), callKey{}, c)
	ctx = validate.NewContext(ctx, &c.pending)
	ctx = idempotency.WithReplay(ctx, &c.replay)
	out := r.WithContext(ctx)
	out.URL = &url.URL{Path: path}
	query := parseQuery(r.URL.RawQuery)
	if !route.Method.Public {
		g.checkQuery(c, query)
	}
	out.URL.RawQuery = query.Encode()
	out.Body = http.NoBody
	if route.Body != "" {
		data, err := readBody(r)
		if err != nil {
			errmap.WriteError(w, bodyError(err))
			return
		}
		if isJSON(r.Header.Get("Content-Type")) && !utf8.Valid(data) {
			errmap.WriteJSON(w, http.StatusBadRequest, errmap.Detail("There was an error parsing the body"))
			return
		}
		out.Body = &body{call: c, data: data, json: isJSON(r.Header.Get("Content-Type"))}
	}
	g.mux.ServeHTTP(&answer{ResponseWriter: w, status: http.StatusOK}, out)
}

// readBody returns the whole body, without a copy when the server holds all of it already.
func readBody(r *http.Request) ([]byte, error) {
	if held, ok := r.Body.(interface{ Bytes() []byte }); ok {
		return held.Bytes(), nil
	}
	return io.ReadAll(r.Body)
}

// bodyError tells a body over the limit from a connection that broke.
func bodyError(err error) error {
	if tooLarge := asMaxBytes(err); tooLarge != nil {
		return errmap.TooLarge(tooLarge.Limit)
	}
	return problem.Wrap(err, problem.InvalidRequest, "The request body could not be read.")
}

// isJSON tells whether a content type promises JSON.
func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil && kind == "" {
		return false
	}
	return kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// forwarded are the headers that services may see, by their metadata names. Nothing else of a request becomes metadata.
func forwarded(_ context.Context, r *http.Request) metadata.MD {
	md := metadata.MD{}
	for name, key := range map[string]string{
		"X-Kneo-Api-Key": "x-kneo-api-key", idempotency.Header: idempotency.Metadata, requestid.Header: requestid.Metadata,
		"User-Agent": "user-agent", "Traceparent": "traceparent", "Tracestate": "tracestate", "Baggage": "baggage",
	} {
		if values := r.Header[http.CanonicalHeaderKey(name)]; len(values) > 0 {
			md.Set(key, values[0])
		}
	}
	return md
}

func noHeader(string) (string, bool) { return "", false }

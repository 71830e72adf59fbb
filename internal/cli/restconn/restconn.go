// Package restconn calls the generated gRPC clients over REST, for services that only an HTTP/1 proxy reaches. It takes routes and shapes from the
// contract, so every method with an HTTP route works, and the event stream as server-sent events.
//
// It may import the contract, wirejson and errmap.
package restconn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// Conn is a client connection over HTTP. It is safe for concurrent use.
type Conn struct {
	base   string
	http   *http.Client
	agent  string
	facts  *contract.Contract
	codec  *wirejson.Codec
	events map[string]string
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// New returns a connection to the service below a URL, which may have a path.
func New(base, userAgent string, client *http.Client) (*Conn, error) {
	facts, err := contract.Load()
	if err != nil {
		return nil, err
	}
	return &Conn{
		base: strings.TrimRight(base, "/"), http: client, agent: userAgent, facts: facts, codec: wirejson.New(facts),
		events: map[string]string{"/kneo.v1.EventService/WatchRun": "/v1/runs/{run_id}/events"},
	}, nil
}

// Invoke implements grpc.ClientConnInterface.
func (c *Conn) Invoke(ctx context.Context, name string, args, reply any, _ ...grpc.CallOption) error {
	in, ok := args.(proto.Message)
	out, okOut := reply.(proto.Message)
	m, known := c.facts.Method(name)
	if !ok || !okOut || !known || len(m.Routes) == 0 {
		return status.Errorf(codes.Unimplemented, "%s has no REST route; it needs a service that answers gRPC", name)
	}
	req, err := c.request(ctx, &m.Routes[0], in.ProtoReflect())
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return transport(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return transport(ctx, err)
	}
	if res.StatusCode/100 != 2 {
		return failure(res, body)
	}
	if err := c.codec.DecodeStored(body, out); err != nil {
		return status.Errorf(codes.Internal, "the answer of %s is not what the contract says; is this a Kneo service? %v", c.base, err)
	}
	return nil
}

func transport(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(codes.Unavailable, err.Error())
}

// request builds the HTTP request of a route.
func (c *Conn) request(ctx context.Context, r *contract.Route, in protoreflect.Message) (*http.Request, error) {
	path, used := c.path(r.Template, in)
	target := c.base + path
	if query := c.query(r, in); query != "" {
		target += "?" + query
	}
	var body io.Reader
	switch r.Body {
	case "":
	case "*":
		body = bytes.NewReader(c.object(in, used))
	default:
		field := in.Descriptor().Fields().ByName(protoreflect.Name(r.Body))
		body = bytes.NewReader(c.object(in.Get(field).Message(), nil))
	}
	if body == nil && r.Verb == http.MethodPost {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, r.Verb, target, body)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	c.headers(ctx, req)
	return req, nil
}

func (c *Conn) headers(ctx context.Context, req *http.Request) {
	req.Header.Set("User-Agent", c.agent)
	md, _ := metadata.FromOutgoingContext(ctx)
	for key, values := range md {
		if len(values) > 0 {
			req.Header.Set(key, values[0])
		}
	}
}

func (c *Conn) path(template string, in protoreflect.Message) (path string, used map[protoreflect.Name]bool) {
	used = map[protoreflect.Name]bool{}
	parts := strings.Split(template, "/")
	for i, p := range parts {
		if name, ok := strings.CutPrefix(p, "{"); ok {
			name, _, _ = strings.Cut(strings.TrimSuffix(name, "}"), "=")
			used[protoreflect.Name(name)] = true
			parts[i] = url.PathEscape(in.Get(in.Descriptor().Fields().ByName(protoreflect.Name(name))).String())
		}
	}
	return strings.Join(parts, "/"), used
}

func (c *Conn) query(r *contract.Route, in protoreflect.Message) string {
	values := url.Values{}
	for _, name := range r.Query {
		f := in.Descriptor().Fields().ByName(protoreflect.Name(name))
		if !in.Has(f) {
			continue
		}
		if f.IsList() {
			for i := range in.Get(f).List().Len() {
				values.Add(name, in.Get(f).List().Get(i).String())
			}
			continue
		}
		values.Set(name, in.Get(f).String())
	}
	return values.Encode()
}

// object writes the fields that are set, and required ones in any case, so that services with fewer fields understand it too.
func (c *Conn) object(m protoreflect.Message, skip map[protoreflect.Name]bool) []byte {
	out := []byte{'{'}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if skip[f.Name()] || !m.Has(f) && (f.Message() != nil || !c.facts.Rules(f).Required) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, string(f.Name())), ':')
		out = append(out, c.codec.Value(f, m.Get(f))...)
	}
	return append(out, '}')
}

// failure turns an HTTP error into the status that gRPC would have had.
func failure(res *http.Response, body []byte) error {
	p, err := errmap.FromEnvelope(body)
	if err != nil {
		return status.Error(plainCode(res.StatusCode), fmt.Sprintf("%d %s: %s", res.StatusCode, http.StatusText(res.StatusCode), plainText(body)))
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = seconds
	}
	return errmap.ToStatus(p)
}

// plainCode is the code for an answer that did not come from the service.
func plainCode(code int) codes.Code {
	switch code {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return codes.Unimplemented
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	}
	return codes.Unknown
}

const shownText = 300

func plainText(body []byte) string {
	text := strings.Join(strings.Fields(string(body)), " ")
	if len(text) > shownText {
		text = strings.ToValidUTF8(text[:shownText], "") + "…"
	}
	if text == "" {
		return "no explanation"
	}
	return text
}

package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/errmap"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/validate"
)

// EventsTemplate is the path of a run's events. The contract has no HTTP binding for it, because a stream of server-sent events is not JSON.
const EventsTemplate = "/v1/runs/{run_id}/events"

const (
	// firstAnswer is how long an answer waits for the first event, so that errors still get a status of their own.
	firstAnswer = 300 * time.Millisecond
	// keepAlive is the time between two comments on a silent stream; proxies cut silent connections.
	keepAlive = 15 * time.Second
)

// item is one event of a stream, or its end.
type item struct {
	event *kneov1.RunEvent
	err   error
}

// serveEvents answers with the events of a run as server-sent events.
func (g *Gateway) serveEvents(w http.ResponseWriter, r *http.Request, runID string) {
	method, ok := g.contract.Method(kneov1.EventService_WatchRun_FullMethodName)
	if !ok {
		errmap.WriteNotFound(w)
		return
	}
	if err := g.admit(r, method); err != nil {
		errmap.WriteError(w, err)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	md := forwarded(ctx, r)
	if values := r.Header["Authorization"]; len(values) > 0 {
		md.Set("authorization", values[0])
	}
	request, pending := g.eventsRequest(r, runID)
	ctx = validate.NewContext(metadata.NewOutgoingContext(ctx, md), pending)
	stream, err := kneov1.NewEventServiceClient(g.conn).WatchRun(ctx, request)
	if err != nil {
		errmap.WriteError(w, err)
		return
	}
	g.copyEvents(ctx, w, receive(ctx, stream))
}

// eventsRequest reads where to begin: after the last event that a reconnecting client has seen, or the number in the query.
func (g *Gateway) eventsRequest(r *http.Request, runID string) (*kneov1.WatchRunRequest, *validate.Pending) {
	request, pending := &kneov1.WatchRunRequest{RunId: runID}, &validate.Pending{}
	query := parseQuery(r.URL.RawQuery)
	for name := range query {
		if name != "after" {
			pending.UnknownQuery = append(pending.UnknownQuery, name)
		}
	}
	after := query["after"]
	if last := strings.TrimSpace(r.Header.Get("Last-Event-ID")); last != "" {
		after = []string{last}
	}
	if len(after) > 0 {
		field := request.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name("after"))
		v, bad := g.codec.Text(field, after[len(after)-1])
		if bad != nil {
			bad.Loc = []any{"query", "after"}
			pending.Issues = []problem.Issue{*bad}
		} else {
			request.After = v.Int()
		}
	}
	return request, pending
}

func receive(ctx context.Context, stream grpc.ServerStreamingClient[kneov1.RunEvent]) <-chan item {
	items := make(chan item)
	go func() {
		defer close(items)
		for {
			event, err := stream.Recv()
			select {
			case items <- item{event, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return items
}

// copyEvents writes events as they come. A stream that ends before its first event is 204, which tells a browser not to come back.
func (g *Gateway) copyEvents(ctx context.Context, w http.ResponseWriter, items <-chan item) {
	first := time.NewTimer(firstAnswer)
	defer first.Stop()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	out := &eventWriter{w: w, control: http.NewResponseController(w), buffer: bufio.NewWriter(w)}
	for {
		var err error
		select {
		case i := <-items:
			switch {
			case i.err == nil && i.event != nil:
				err = out.event(i.event.GetSequence(), i.event.GetKind(), g.codec.Marshal(i.event))
			case out.begun:
				return
			case i.err == nil || errors.Is(i.err, io.EOF):
				w.WriteHeader(http.StatusNoContent)
				return
			default:
				errmap.WriteError(w, i.err)
				return
			}
		case <-first.C:
			err = out.comment()
		case <-tick.C:
			err = out.comment()
		case <-g.ending:
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// eventWriter writes the text/event-stream format.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buffer  *bufio.Writer
	begun   bool
}

func (e *eventWriter) begin() {
	if e.begun {
		return
	}
	e.begun = true
	e.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	e.w.Header().Set("Cache-Control", "no-store")
	e.w.Header().Set("X-Accel-Buffering", "no")
	e.w.WriteHeader(http.StatusOK)
}

func (e *eventWriter) event(sequence int64, kind string, data []byte) error {
	e.begin()
	if _, err := fmt.Fprintf(e.buffer, "id: %s\nevent: %s\ndata: %s\n\n", strconv.FormatInt(sequence, 10), oneLine(kind), oneLine(string(data))); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) comment() error {
	e.begin()
	if _, err := e.buffer.WriteString(": keep-alive\n\n"); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) flush() error {
	if err := e.buffer.Flush(); err != nil {
		return err
	}
	return e.control.Flush()
}

// oneLine keeps stored JSON with line breaks between its tokens from ending the event early.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, text)
}

// EndStreams ends all open event streams; a server calls it when it stops.
func (g *Gateway) EndStreams() { g.endOnce.Do(func() { close(g.ending) }) }

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kneo-go/kneo/client"
	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/testkit"
	"github.com/kneo-go/kneo/test/live"
)

// reply is the answer to a request that carries a run on: a status, or the code of a problem.
type reply struct{ status, code string }

// door is a way into the service.
type door interface {
	// create starts a run under a session id that finds it again.
	create(spec live.Object, target, input, session string) reply
	decide(task string, a *testkit.Act) reply
	carryOn(runID string) reply
	// find returns the record of the session's run, runTokens what GetRun says about its tokens.
	find(session string) live.Object
	runTokens(runID string) int64
	checkpoints(runID string) []live.Object
	trace(runID string) []live.Object
	// events follows an ended run from an event on.
	events(runID string, after int64) []event
	lastEvent(runID string) int64
}

// event is the number and kind of a live event.
type event struct {
	sequence int64
	kind     string
}

// rest is the door of HTTP.
type rest struct{ s *live.Service }

func (d rest) reply(path string, body any) reply {
	code, out := d.s.Call(http.MethodPost, path, body)
	if code < http.StatusMultipleChoices {
		return reply{status: live.Text(out, "status")}
	}
	problem := live.Text(live.Sub(out, "detail"), "error")
	if problem == "" {
		problem = fmt.Sprint(out)
	}
	return reply{code: problem}
}

func (d rest) create(spec live.Object, target, input, session string) reply {
	return d.reply("/v1/runs", live.Object{"spec": spec, "target": target, "input": input, "session_id": session})
}

func (d rest) decide(task string, a *testkit.Act) reply {
	request := live.Sub(d.s.OK(http.MethodGet, "/v1/human-tasks/"+task, nil), "request")
	return d.reply("/v1/human-tasks/"+task+"/resume", live.Object{
		"request_id": request["id"], "decision": a.Decide, "content": a.Content, "selected_option": a.Option,
	})
}

func (d rest) carryOn(runID string) reply { return d.reply("/v1/runs/"+runID+"/continue", nil) }

func (d rest) find(session string) live.Object {
	list := live.Objects(d.s.OK(http.MethodGet, "/v1/runs?limit=1&session_id="+session, nil)["runs"])
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func (d rest) runTokens(runID string) int64 {
	n, _ := live.Sub(d.s.OK(http.MethodGet, "/v1/runs/"+runID, nil), "usage")["total_tokens"].(float64)
	return int64(n)
}

func (d rest) checkpoints(runID string) []live.Object {
	return live.Objects(d.s.OK(http.MethodGet, "/v1/runs/"+runID+"/checkpoints?limit=100", nil)["checkpoints"])
}

func (d rest) trace(runID string) []live.Object { return d.s.Trace(runID) }

func (d rest) events(runID string, after int64) []event {
	_, text := d.s.Raw(http.MethodGet, "/v1/runs/"+runID+"/events", nil, "Last-Event-ID", strconv.FormatInt(after, 10))
	var out []event
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64)
			if err != nil {
				return nil
			}
			out = append(out, event{sequence: n})
		}
		if kind, ok := strings.CutPrefix(line, "event: "); ok && len(out) > 0 {
			out[len(out)-1].kind = strings.TrimSpace(kind)
		}
	}
	return out
}

func (d rest) lastEvent(runID string) int64 {
	n, _ := d.s.OK(http.MethodGet, "/v1/runs/"+runID+"/wait?timeout_seconds=0", nil)["last_sequence"].(float64)
	return int64(n)
}

// rpc is the door of gRPC.
type rpc struct {
	t *testing.T
	c *client.Client
}

func (d rpc) reply(status string, err error) reply {
	var refused *client.Error
	switch {
	case err == nil:
		return reply{status: status}
	case errors.As(err, &refused):
		return reply{code: refused.Code}
	}
	return reply{code: err.Error()}
}

func (d rpc) create(spec live.Object, target, input, session string) reply {
	raw, err := json.Marshal(spec)
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := d.c.Runs().CreateRun(d.t.Context(), &kneov1.RunCreateRequest{
		Input: input, Spec: &kneov1.JsonObject{Raw: raw}, Target: proto.String(target), SessionId: proto.String(session),
	})
	return d.reply(out.GetStatus(), err)
}

func (d rpc) decide(task string, a *testkit.Act) reply {
	found, err := d.c.HumanTasks().GetHumanTask(d.t.Context(), &kneov1.GetHumanTaskRequest{ContinuationId: task})
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := d.c.HumanTasks().ResumeHumanTask(d.t.Context(), &kneov1.ResumeHumanTaskRequest{
		ContinuationId: task, Request: &kneov1.HumanResumeRequest{
			RequestId: live.Text(parsed(d.t, found.GetRequest()), "id"), Decision: a.Decide, Content: a.Content, SelectedOption: a.Option,
		},
	})
	return d.reply(out.GetStatus(), err)
}

func (d rpc) carryOn(runID string) reply {
	out, err := d.c.Runs().ContinueRun(d.t.Context(), &kneov1.ContinueRunRequest{RunId: runID})
	return d.reply(out.GetStatus(), err)
}

func (d rpc) find(session string) live.Object {
	out, err := d.c.Runs().ListRuns(d.t.Context(), &kneov1.ListRunsRequest{SessionId: proto.String(session), Limit: proto.Int32(1)})
	if err != nil {
		d.t.Fatal(err)
	}
	if len(out.GetRuns()) == 0 {
		return nil
	}
	return parsed(d.t, out.GetRuns()[0])
}

func (d rpc) runTokens(runID string) int64 {
	out, err := d.c.Runs().GetRun(d.t.Context(), &kneov1.GetRunRequest{RunId: runID})
	if err != nil {
		d.t.Fatal(err)
	}
	return out.GetUsage().GetTotalTokens()
}

func (d rpc) checkpoints(runID string) []live.Object { return d.collect(d.c.Checkpoints, runID) }

func (d rpc) trace(runID string) []live.Object { return d.collect(d.c.Trace, runID) }

func (d rpc) events(runID string, after int64) []event {
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	var out []event
	for e, err := range d.c.Watch(ctx, runID, after) {
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, event{e.GetSequence(), e.GetKind()})
	}
	return out
}

func (d rpc) lastEvent(runID string) int64 {
	out, err := d.c.Events().WaitRun(d.t.Context(), &kneov1.WaitRunRequest{RunId: runID, TimeoutSeconds: proto.Float64(0)})
	if err != nil {
		d.t.Fatal(err)
	}
	return out.GetLastSequence()
}

func (d rpc) collect(list func(context.Context, string) seq, runID string) []live.Object {
	var out []live.Object
	for raw, err := range list(d.t.Context(), runID) {
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, parsed(d.t, &kneov1.JsonObject{Raw: raw}))
	}
	return out
}

func parsed(t *testing.T, o *kneov1.JsonObject) live.Object {
	t.Helper()
	out := live.Object{}
	if err := json.Unmarshal(o.GetRaw(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// through plays one scenario through a door and compares what the service then shows.
func through(t *testing.T, d door, h *testkit.Handlers, sc *testkit.Scenario, model live.Object, session string) {
	var spec live.Object
	if err := json.Unmarshal([]byte(sc.SpecText(t, model)), &spec); err != nil {
		t.Fatal(err)
	}
	target := sc.Target
	if target == "" {
		target = "workflow"
	}
	last := d.create(spec, target, sc.Input, session)
	record := d.find(session)
	if record == nil {
		t.Fatalf("no run: %+v", last)
	}
	id := live.Text(record, "id")
	for i := range sc.Then {
		if sc.Then[i].Continue {
			last = d.carryOn(id)
			continue
		}
		last = d.decide(live.Text(d.find(session), "continuation_id"), &sc.Then[i])
	}
	record, x := d.find(session), &sc.Expect
	eq := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	eq("status", record["status"], x.Status)
	if x.Response != "" && x.Problem == "" {
		eq("response status", last.status, x.Response)
	}
	if x.Problem != "" {
		eq("problem", last.code, x.Problem)
	}
	if x.Output != nil {
		eq("output", record["output_text"], *x.Output)
	}
	failure := live.Sub(record, "error")
	eq("error type", live.Text(failure, "type"), x.Error)
	if x.Message != "" {
		eq("error message", failure["message"], x.Message)
	}
	if x.Visited != nil && fmt.Sprint(record["visited_nodes"]) != fmt.Sprint(x.Visited) {
		eq("visited", record["visited_steps"], x.Visited)
	}
	for name, n := range x.Calls {
		eq("calls of "+name, h.Calls(name), n)
	}
	if x.Tokens > 0 {
		eq("tokens", d.runTokens(id), x.Tokens)
	}
	compareHistory(t, d, x, id, record)
	if x.Status != "blocked" {
		compareEvents(t, d, id, x.Status)
	}
}

func compareHistory(t *testing.T, d door, x *testkit.Expect, id string, record live.Object) {
	t.Helper()
	eq := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	rows := rowsOf(d.checkpoints(id))
	if x.Rows != nil {
		eq("rows", rows, x.Rows)
	}
	if x.AnyRows != nil {
		want := slices.Clone(x.AnyRows)
		slices.Sort(want)
		slices.Sort(rows)
		eq("rows (any order)", rows, want)
	}
	if x.Trace != nil {
		var got []string
		for _, e := range d.trace(id) {
			got = append(got, live.Text(e, "type"))
		}
		eq("trace", got, x.Trace)
	}
	if x.Messages != nil {
		var got []string
		for _, m := range live.Objects(record["messages"]) {
			got = append(got, live.Text(m, "role")+": "+live.Text(m, "content"))
		}
		eq("messages", got, x.Messages)
	}
	for k, want := range x.Meta {
		got, err := json.Marshal(live.Sub(record, "metadata")[k])
		if err != nil {
			t.Fatal(err)
		}
		exp, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		eq("metadata."+k, string(got), string(exp))
	}
}

// compareEvents follows an ended run from its beginning and from its middle: no number is left out, and the last event is the end.
func compareEvents(t *testing.T, d door, id, status string) {
	t.Helper()
	last := d.lastEvent(id)
	for _, after := range []int64{0, last / 2, last - 1} {
		got := d.events(id, after)
		if int64(len(got)) != last-after {
			t.Fatalf("%d events after number %d of %d: %v", len(got), after, last, got)
		}
		for i, e := range got {
			if e.sequence != after+1+int64(i) || e.kind == "" {
				t.Errorf("event %d after %d: %+v", i, after, e)
			}
		}
		if end := got[len(got)-1]; end.kind != status {
			t.Errorf("the last event is %+v, the run is %s", end, status)
		}
	}
}

// rowsOf lists checkpoints as scenarios write them.
func rowsOf(list []live.Object) []string {
	out := make([]string, 0, len(list))
	for _, c := range list {
		row := live.Text(c, "type")
		for _, place := range []string{"step_id", "node_id"} {
			if name := live.Text(c, place); name != "" {
				row += " " + name
			}
		}
		if n, _ := c["iteration"].(float64); n > 1 {
			row += " it" + string(rune('0'+int(n)%10))
		}
		out = append(out, row)
	}
	return out
}

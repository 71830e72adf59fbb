package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is where requests go.
type target struct{ url, grpc, key string }

// object is a JSON object that is built here.
type object = map[string]any

func components() object {
	return object{"agents": object{"a": object{"name": "a"}, "b": object{"name": "b"}, "c": object{"name": "c"}}}
}

func agentStep(id, ref string) object { return object{"id": id, "kind": "agent", "ref": ref} }

// soloSpec is one agent.
func soloSpec() object { return object{"version": "v1", "agent": object{"name": "solo"}} }

func workflowSpec(workflow object) object {
	return object{"version": "v1", "agent": object{"name": "root"}, "components": components(), "workflow": workflow}
}

// sequenceSpec is three agents in a row.
func sequenceSpec() object {
	return workflowSpec(object{
		"type": "sequential", "name": "line", "steps": []any{agentStep("one", "a"), agentStep("two", "b"), agentStep("three", "c")},
	})
}

// graphSpec is a way through five nodes with a condition on every edge but the last.
func graphSpec() object {
	nodes, edges := object{}, []any{}
	for i := range 5 {
		id := "n" + strconv.Itoa(i)
		nodes[id] = agentStep(id, string(rune('a'+i%3)))
		if i > 0 {
			edge := object{"from": "n" + strconv.Itoa(i-1), "to": id}
			if i < 4 {
				edge["condition"] = object{"type": "always"}
			}
			edges = append(edges, edge)
		}
	}
	return workflowSpec(object{"type": "graph", "name": "net", "start": "n0", "nodes": nodes, "edges": edges})
}

// concurrentSpec is eight agents at once.
func concurrentSpec() object {
	participants := make([]any, 8)
	for i := range participants {
		participants[i] = agentStep("p"+strconv.Itoa(i), string(rune('a'+i%3)))
	}
	return workflowSpec(object{"type": "concurrent", "name": "team", "participants": participants})
}

// largeSpec has about that many bytes of agents.
func largeSpec(size int) object {
	agents := object{}
	text := strings.Repeat("Answer in one sentence and name the source. ", 8)
	for total := 0; total < size; total += len(text) + 90 {
		name := "agent_" + strconv.Itoa(len(agents))
		agents[name] = object{"name": name, "system_prompt": text, "description": "helper"}
	}
	spec := workflowSpec(object{"type": "sequential", "name": "line", "steps": []any{agentStep("one", "agent_0"), agentStep("two", "agent_1")}})
	spec["components"] = object{"agents": agents}
	return spec
}

// runBody is a request that creates a run.
func runBody(spec object, async bool) []byte {
	return encode(object{"input": "Write a short text about the sea.", "spec": spec, "async_mode": async})
}

// encode writes a value that is built here, which cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// post sends the same body again and again.
func (t target) post(path string, body []byte, status int) Open {
	return t.requests("POST", path, "", body, status)
}

// get reads paths in turn.
func (t target) get(paths ...string) Open {
	return func(caller int) (Op, func(), error) {
		c, err := connect(t.url, t.key)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, n int) error {
			return expect(200)(c.do(ctx, "GET", paths[(n*31+caller*7)%len(paths)], "", nil))
		}, c.close, nil
	}
}

func (t target) requests(method, path, header string, body []byte, status int) Open {
	return func(int) (Op, func(), error) {
		c, err := connect(t.url, t.key)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, _ int) error {
			return expect(status)(c.do(ctx, method, path, header, body))
		}, c.close, nil
	}
}

// expect turns any other status into an error.
func expect(want int) func(int, []byte, error) error {
	return func(status int, body []byte, err error) error {
		if err == nil && status != want {
			err = fmt.Errorf("status %d: %.200s", status, body)
		}
		return err
	}
}

// call sends one request and decodes the answer.
func (t target) call(ctx context.Context, method, path string, body []byte, into any) error {
	c, err := connect(t.url, t.key)
	if err != nil {
		return err
	}
	defer c.close()
	status, answer, err := c.do(ctx, method, path, "", body)
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("%s %s: status %d: %.300s", method, path, status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

type created struct {
	RunID  string `json:"run_id"`
	Status string `json:"status"`
}

// submit queues n runs and returns their ids with what the loop measured.
func (t target) submit(ctx context.Context, callers, n int) ([]string, Result, error) {
	body := runBody(soloSpec(), true)
	found := make([][]string, callers)
	open := func(caller int) (Op, func(), error) {
		c, err := connect(t.url, t.key)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, _ int) error {
			status, answer, err := c.do(ctx, "POST", "/v1/runs", "", body)
			if err := expect(202)(status, answer, err); err != nil {
				return err
			}
			id, err := runID(answer)
			found[caller] = append(found[caller], id)
			return err
		}, c.close, nil
	}
	r, err := Times(ctx, open, callers, n)
	return slices.Concat(found...), r, err
}

// runID cuts the id out of the answer to a creation.
func runID(answer []byte) (string, error) {
	const mark = `"run_id":"`
	i := bytes.Index(answer, []byte(mark))
	if i < 0 {
		return "", fmt.Errorf("no run id in %.200s", answer)
	}
	rest := answer[i+len(mark):]
	return string(rest[:bytes.IndexByte(rest, '"')]), nil
}

// open counts the runs that have not ended.
func (t target) unfinished(ctx context.Context) (int, error) {
	total := 0
	for _, status := range []string{"queued", "running"} {
		var page struct {
			Total int `json:"total"`
		}
		if err := t.call(ctx, "GET", "/v1/runs?limit=1&status="+status, nil, &page); err != nil {
			return 0, err
		}
		total += page.Total
	}
	return total, nil
}

// settled waits until every run has ended and returns when the last one was seen to.
func (t target) settled(ctx context.Context, every, limit time.Duration) (time.Time, error) {
	look := time.NewTicker(every)
	defer look.Stop()
	until := time.Now().Add(limit)
	for {
		n, err := t.unfinished(ctx)
		if err == nil && n == 0 {
			return time.Now(), nil
		}
		if time.Now().After(until) {
			return time.Time{}, fmt.Errorf("%d runs have not ended after %s (%w)", n, limit, err)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// workloads are what `load measure` can send, by name.
var workloads = map[string]func(context.Context, target) (Open, error){
	"sync":            runs(soloSpec, false),
	"sequence":        runs(sequenceSpec, false),
	"graph":           runs(graphSpec, false),
	"concurrent":      runs(concurrentSpec, false),
	"submit":          runs(soloSpec, true),
	"get":             func(ctx context.Context, t target) (Open, error) { return aRun(ctx, t, "") },
	"checkpoints":     func(ctx context.Context, t target) (Open, error) { return aRun(ctx, t, "/checkpoints") },
	"list":            func(_ context.Context, t target) (Open, error) { return t.get("/v1/runs?limit=100"), nil },
	"validate":        validations(soloSpec()),
	"validate-200-kB": validations(largeSpec(200 << 10)),
	"health":          func(_ context.Context, t target) (Open, error) { return t.get("/livez"), nil },
}

func workloadNames() []string { return slices.Sorted(maps.Keys(workloads)) }

func workload(ctx context.Context, name string, t target) (Open, error) {
	if t.grpc != "" {
		return rpcWorkload(ctx, name, t)
	}
	make, ok := workloads[name]
	if !ok {
		return nil, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(workloadNames(), ", "))
	}
	return make(ctx, t)
}

func runs(spec func() object, async bool) func(context.Context, target) (Open, error) {
	status := 200
	if async {
		status = 202
	}
	return func(_ context.Context, t target) (Open, error) {
		return t.post("/v1/runs", runBody(spec(), async), status), nil
	}
}

func aRun(ctx context.Context, t target, below string) (Open, error) {
	var c created
	if err := t.call(ctx, "POST", "/v1/runs", runBody(soloSpec(), false), &c); err != nil {
		return nil, err
	}
	return t.get("/v1/runs/" + c.RunID + below), nil
}

func validations(spec object) func(context.Context, target) (Open, error) {
	body := encode(object{"spec": spec})
	return func(_ context.Context, t target) (Open, error) { return t.post("/v1/specs/validate", body, 200), nil }
}

package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/agent"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const payTool = `{"version":"v1",
 "agent":{"name":"solo","strategy":"react","tools":{"include":["web_search"],"permissions":{"allow_network":false}}},
 "tools":{"web_search":{"description":"d","implementation":"kit.tools.web_search","idempotent":false}}}`

// start creates a run and executes its first leg.
func start(t *testing.T, b *testkit.Bench, e *testkit.Executor, spec, target, input string) (string, runner.Outcome) {
	t.Helper()
	c, err := e.Create(b.Compile(spec), target, input, run.ModeInline)
	if err != nil {
		t.Fatal(err)
	}
	return c.Run.ID, e.Execute(context.Background(), c, nil)
}

// recovered claims and executes the legs of dead executors.
func recovered(t *testing.T, b *testkit.Bench) runner.Outcome {
	t.Helper()
	e := b.Executor(0)
	legs, err := e.Recover()
	if err != nil || len(legs) != 1 {
		t.Fatalf("%d legs, %v", len(legs), err)
	}
	return e.Execute(context.Background(), legs[0], nil)
}

// TestCutOffCall kills the process right before a call that must not be made twice: a person decides (decision X18).
func TestCutOffCall(t *testing.T) {
	result, repeat, stop := "it was 42", engine.AskRepeat, engine.AskStop
	for _, tt := range []struct {
		name   string
		answer engine.Decision
		status run.Status
		output string
		calls  int
	}{
		{"happened", engine.Decision{Decision: "provided", Content: &result}, run.Completed, "Final answer based on tool results: it was 42", 0},
		{"repeat", engine.Decision{Decision: "selected", SelectedOption: &repeat}, run.Completed, "Final answer based on tool results: hit for search x", 1},
		{"stop", engine.Decision{Decision: "selected", SelectedOption: &stop}, run.Failed, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testkit.NewBench(t)
			id, out := start(t, b, b.Executor(2), payTool, "agent", "search x")
			if out.Err == nil {
				t.Fatalf("the process did not die: %s", out.Status)
			}
			out = recovered(t, b)
			if out.Status != run.Blocked {
				t.Fatalf("status %s, %v", out.Status, out.Err)
			}
			request := b.Row(id).PendingRequest
			if !strings.Contains(string(request), `"options":["happened","repeat","stop"]`) || !strings.Contains(string(request), "web_search") {
				t.Errorf("request %s", request)
			}
			e := b.Executor(0)
			c, err := e.Resume(id, tt.answer)
			if err != nil {
				t.Fatal(err)
			}
			out = e.Execute(context.Background(), c, nil)
			row := b.Row(id)
			if row.Status != tt.status || (tt.output != "" && *row.Output != tt.output) || b.Handlers.Calls("web_search") != tt.calls {
				t.Errorf("%s %v, %d calls, %v", row.Status, row.Output, b.Handlers.Calls("web_search"), out.Err)
			}
			if n := b.Handlers.Calls("model"); n > 2 {
				t.Errorf("%d model calls: a finished call was paid again", n)
			}
		})
	}
}

const guardedReview = `{"version":"v1","agent":{"name":"root"},
 "components":{
  "functions":{"f":{"implementation":"kit.functions.upper"}},
  "humans":{"h":{"description":"Check"}},
  "agents":{"g":{"name":"g","guardrails":{"input":[{"id":"kw","type":"keyword","config":{"keywords":["forbidden"]}}]}}}},
 "workflow":{"type":"sequential","name":"w","steps":[
  {"id":"u","kind":"function","ref":"f"},{"id":"h","kind":"human","ref":"h"},{"id":"x","kind":"agent","ref":"g"},{"id":"y","kind":"agent","ref":"g"}]}}`

// TestRefusedAnswer gives an answer that the next step's guardrail refuses: the task stays open for another one (decision X19).
func TestRefusedAnswer(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	id, out := start(t, b, e, guardedReview, "workflow", "hello")
	before := b.Row(id)
	if out.Status != run.Blocked {
		t.Fatal(out.Status, out.Err)
	}
	for range 2 {
		bad := "forbidden"
		c, err := e.Resume(id, engine.Decision{Decision: "edited", Content: &bad})
		if err != nil {
			t.Fatal(err)
		}
		out = e.Execute(context.Background(), c, nil)
		if out.Problem == nil || out.Problem.Code != problem.GuardrailViolation || out.Code != 422 {
			t.Fatalf("problem %v, code %d", out.Problem, out.Code)
		}
	}
	after := b.Row(id)
	if after.Status != run.Blocked || *after.ContinuationID != *before.ContinuationID || string(after.PendingRequest) != string(before.PendingRequest) {
		t.Errorf("row %s %v", after.Status, after.ContinuationID)
	}
	if rows := b.Rows(id); slices.Contains(rows, "human_resume") {
		t.Errorf("rows %v", rows)
	}
	good := "fine"
	c, err := e.Resume(id, engine.Decision{Decision: "edited", Content: &good})
	if err != nil {
		t.Fatal(err)
	}
	if out = e.Execute(context.Background(), c, nil); out.Status != run.Completed || *out.Run.Output != "Final answer: Final answer: fine" {
		t.Errorf("%s %v", out.Status, out.Run.Output)
	}
	want := []string{"run_started", "step_completed u", "human_pause h", "human_resume", "step_completed h", "step_completed x", "step_completed y", "run_completed"}
	if got := b.Rows(id); !slices.Equal(got, want) {
		t.Errorf("rows %v", got)
	}
}

const slowStep = `{"version":"v1","agent":{"name":"root"},
 "components":{"functions":{"s":{"implementation":"kit.functions.slow"},"f":{"implementation":"kit.functions.upper"}},
  "workflows":{"inner":{"type":"sequential","name":"inner","steps":[{"id":"i1","kind":"function","ref":"f"},{"id":"i2","kind":"function","ref":"s"}]}}},
 "workflow":{"type":"sequential","name":"w","steps":[
  {"id":"a","kind":"function","ref":"f"},{"id":"b","kind":"KIND","ref":"REF","timeout_seconds":1,"max_retries":2 EXTRA}]}}`

// TestTimeLimits lets a step and a nested workflow run into their limits, on a clock that the test moves.
func TestTimeLimits(t *testing.T) {
	for _, tt := range []struct {
		name, kind, ref, extra string
		status                 run.Status
		rows                   []string
	}{
		{"step", "function", "s", "", run.Failed, []string{"run_started", "step_completed a", "step_failed b", "run_failed"}},
		{"nested", "workflow", "inner", "", run.Failed, []string{"run_started", "step_completed a", "step_completed i1", "step_failed b", "run_failed"}},
		{"continued", "function", "s", `,"on_error":"continue"`, run.Completed, []string{"run_started", "step_completed a", "step_completed b", "run_completed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testkit.NewBench(t)
			entered := make(chan struct{}, 1)
			b.Handlers.Hold = func(_ context.Context, name, _ string) error {
				if name == "slow" {
					entered <- struct{}{}
				}
				return nil
			}
			spec := strings.NewReplacer("KIND", tt.kind, "REF", tt.ref, "EXTRA", tt.extra).Replace(slowStep)
			clock := b.ManualClock()
			e := b.Executor(0)
			go func() {
				<-entered
				clock.Advance(time.Second)
			}()
			id, out := start(t, b, e, spec, "workflow", "x")
			if out.Status != tt.status {
				t.Fatalf("%s, %v", out.Status, out.Err)
			}
			if got := b.Rows(id); !slices.Equal(got, tt.rows) {
				t.Errorf("rows %v", got)
			}
			if tt.status == run.Failed {
				if f := b.Row(id).Error; f.Type != run.FailTimeout || f.Message != "Operation timed out after 1 seconds." {
					t.Errorf("error %+v", f)
				}
			}
			if n := b.Handlers.Calls("slow"); n != 1 {
				t.Errorf("%d calls: a time limit is not retried", n)
			}
		})
	}
}

// TestStops ends the context of an executing leg with every cause.
func TestStops(t *testing.T) {
	spec := strings.NewReplacer("KIND", "function", "REF", "s", `,"timeout_seconds":1`, "", "EXTRA", "").Replace(slowStep)
	for _, tt := range []struct {
		cause  error
		status run.Status
		err    error
	}{
		{runner.ErrOverdue, run.TimedOut, nil}, {runner.ErrDrain, run.Running, runner.ErrDrain}, {errors.New("gone"), run.Running, runner.ErrDrain},
	} {
		t.Run(tt.cause.Error(), func(t *testing.T) {
			b := testkit.NewBench(t)
			e := b.Executor(0)
			ctx, cancel := context.WithCancelCause(context.Background())
			b.Handlers.Hold = func(_ context.Context, name, _ string) error {
				if name == "slow" {
					cancel(tt.cause)
				}
				return nil
			}
			c, err := e.Create(b.Compile(spec), "workflow", "x", run.ModeInline)
			if err != nil {
				t.Fatal(err)
			}
			out := e.Execute(ctx, c, nil)
			if !errors.Is(out.Err, tt.err) || b.Row(c.Run.ID).Status != tt.status {
				t.Errorf("%v, status %s", out.Err, b.Row(c.Run.ID).Status)
			}
			if tt.status == run.TimedOut {
				if rows := b.Rows(c.Run.ID); rows[len(rows)-1] != run.CheckpointRunTimedOut {
					t.Errorf("rows %v", rows)
				}
			}
		})
	}
}

// TestCancelledElsewhere stores a cancellation while the leg executes; nothing is written over it.
func TestCancelledElsewhere(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	c, err := e.Create(b.Compile(guardedReview), "workflow", "x", run.ModeInline)
	if err != nil {
		t.Fatal(err)
	}
	b.Handlers.Hold = func(ctx context.Context, _, _ string) error {
		r := b.Row(c.Run.ID)
		r.Status = run.Cancelled
		_, _, err := b.Base.CancelRun(ctx, r.ID, store.Progress{Run: &r})
		return err
	}
	out := e.Execute(context.Background(), c, nil)
	if out.Err != nil || out.Status != run.Cancelled || string(out.Metadata) != `{"cancelled":true}` {
		t.Errorf("%s %s %v", out.Status, out.Metadata, out.Err)
	}
	if rows := b.Rows(c.Run.ID); !slices.Equal(rows, []string{"run_started"}) {
		t.Errorf("rows %v", rows)
	}
}

// TestRoundTrips counts the commits of a synchronous run: one to create, one to finish, and one per step between.
func TestRoundTrips(t *testing.T) {
	for _, tt := range []struct {
		spec, target string
		commits      int
	}{
		{`{"version":"v1","agent":{"name":"solo"}}`, "agent", 2},
		{strings.NewReplacer("KIND", "function", "REF", "f", "EXTRA", "").Replace(slowStep), "workflow", 3},
		{guardedReview, "workflow", 2},
	} {
		b := testkit.NewBench(t)
		e := b.Executor(0)
		if _, out := start(t, b, e, tt.spec, tt.target, "x"); out.Err != nil {
			t.Fatal(out.Err)
		}
		if n := e.Store.Commits(); n != tt.commits {
			t.Errorf("%d commits, want %d", n, tt.commits)
		}
	}
}

// TestFailureOfTheStore leaves the run to whoever claims it next.
func TestFailureOfTheStore(t *testing.T) {
	b := testkit.NewBench(t)
	spec := strings.NewReplacer("KIND", "function", "REF", "f", "EXTRA", "").Replace(slowStep)
	id, out := start(t, b, b.Executor(2), spec, "workflow", "x")
	if out.Err == nil {
		t.Fatal("no error")
	}
	if r := b.Row(id); r.Status.Terminal() {
		t.Errorf("status %s", r.Status)
	}
	if out = recovered(t, b); out.Status != run.Completed {
		t.Errorf("%s %v", out.Status, out.Err)
	}
}

// TestResponse checks the shape of the bodies that are stored under an idempotency key.
func TestResponse(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	_, out := start(t, b, e, guardedReview, "workflow", "mail me at a@example.com")
	var body struct {
		Status   string `json:"status"`
		Human    bool   `json:"human_intervention_required"`
		Metadata struct {
			Pending  string          `json:"pending_step_id"`
			Request  json.RawMessage `json:"request"`
			Workflow json.RawMessage `json:"workflow"`
			Trace    struct {
				Events []json.RawMessage `json:"events"`
			} `json:"trace"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(out.Body, &body); err != nil {
		t.Fatal(err)
	}
	if body.Status != "blocked" || !body.Human || body.Metadata.Pending != "h" || len(body.Metadata.Trace.Events) != 2 {
		t.Errorf("body %s", out.Body)
	}
	if strings.Contains(string(out.Body), "a@example.com") || strings.Contains(strings.ToLower(string(out.Body)), "a@example.com") {
		t.Error("the body shows what must be masked")
	}
	if string(body.Metadata.Workflow) != `{"name":"w","visited_steps":["u"],"pending_step_id":"h"}` {
		t.Errorf("workflow %s", body.Metadata.Workflow)
	}
	r := b.Row(out.Run.ID)
	if !json.Valid(record.RunItem(&r, nil)) {
		t.Error("list item is no JSON")
	}
}

// TestLiveEvents follows a run: calls and text are told, masked, in one numbered log.
func TestLiveEvents(t *testing.T) {
	b := testkit.NewBench(t)
	b.Watched = true
	id, out := start(t, b, b.Executor(0), `{"version":"v1","agent":{"name":"root"},"components":{"agents":{"a":{"name":"a"}}},
 "workflow":{"type":"sequential","name":"w","steps":[{"id":"s","kind":"agent","ref":"a"}]}}`, "workflow", "write to a@example.com please")
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	list, err := b.Base.Events(context.Background(), id, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	text := ""
	for i, e := range list {
		kinds = append(kinds, e.Kind)
		if e.Sequence != int64(i+1) {
			t.Errorf("event %d has number %d", i, e.Sequence)
		}
		var d struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Error(err)
		}
		text += d.Text
	}
	if !slices.Equal(kinds, []string{"started", "call", "delta", "step", "completed"}) {
		t.Errorf("events %v", kinds)
	}
	if text != "Final answer: write to [REDACTED_EMAIL] please" {
		t.Errorf("text %q", text)
	}
}

const twoPayers = `{"version":"v1","agent":{"name":"root"},
 "tools":{"web_search":{"description":"d","implementation":"kit.tools.web_search","idempotent":false}},
 "components":{"agents":{
  "t":{"name":"t","strategy":"react","tools":{"include":["web_search"],"permissions":{"allow_network":false}}},
  "u":{"name":"u","strategy":"react","tools":{"include":["web_search"],"permissions":{"allow_network":false}}}}},
 "workflow":{"type":"concurrent","name":"w","participants":[{"id":"p","kind":"agent","ref":"t"},{"id":"q","kind":"agent","ref":"u"}]}}`

// TestTwoGates kills the process inside two calls at once: the run waits for two answers, given one after the other.
func TestTwoGates(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	ctx, cancel := context.WithCancel(context.Background())
	entered := make(chan struct{}, 2)
	b.Handlers.Hold = func(ctx context.Context, name, _ string) error {
		if name != "web_search" {
			return nil
		}
		entered <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	go func() {
		<-entered
		<-entered
		e.Store.Kill()
		cancel()
	}()
	c, err := e.Create(b.Compile(twoPayers), "workflow", "search x", run.ModeInline)
	if err != nil {
		t.Fatal(err)
	}
	if out := e.Execute(ctx, c, nil); out.Err == nil {
		t.Fatalf("the process did not die: %s", out.Status)
	}
	b.Handlers.Hold = nil
	if out := recovered(t, b); out.Status != run.Blocked {
		t.Fatal(out.Status, out.Err)
	}
	seen := map[string]bool{}
	for i, want := range []run.Status{run.Blocked, run.Completed} {
		row := b.Row(c.Run.ID)
		if seen[*row.ContinuationID] {
			t.Fatal("the run points at an answered task")
		}
		tasks, err := b.Base.HumanTasks(context.Background(), store.TaskFilter{RunID: c.Run.ID, Limit: 5})
		if err != nil || len(tasks) != 2-i {
			t.Fatalf("%d tasks, %v", len(tasks), err)
		}
		seen[tasks[0].ID] = true
		next := b.Executor(0)
		result := "paid"
		leg, err := next.Resume(c.Run.ID, engine.Decision{Decision: "provided", Content: &result})
		if err != nil {
			t.Fatal(err)
		}
		if out := next.Execute(context.Background(), leg, nil); out.Status != want {
			t.Fatalf("%s, %v", out.Status, out.Err)
		}
	}
	if row := b.Row(c.Run.ID); *row.Output != "Final answer based on tool results: paid" || row.ContinuationID != nil {
		t.Errorf("output %q", *row.Output)
	}
	if n := b.Handlers.Calls("web_search"); n != 2 {
		t.Errorf("%d calls", n)
	}
}

// TestLongLoopKeepsItsHistory: while a long loop runs, the row and every checkpoint show each visited node once; at the end the row has every turn.
func TestLongLoopKeepsItsHistory(t *testing.T) {
	const steps = 150
	b := testkit.NewBench(t)
	var seen [][]string
	var id string
	b.Handlers.Hold = func(ctx context.Context, _, _ string) error {
		r, err := b.Base.Run(ctx, id)
		seen = append(seen, r.VisitedNodes)
		return err
	}
	e := b.Executor(0)
	c, err := e.Create(b.Compile(loopSpec(steps)), "workflow", "hello", run.ModeInline)
	if err != nil {
		t.Fatal(err)
	}
	id = c.Run.ID
	e.Execute(t.Context(), c, nil)
	for i, nodes := range seen {
		if len(nodes) != min(i, 1) {
			t.Fatalf("%d nodes are visited after %d steps", len(nodes), i)
		}
	}
	list, err := b.Base.Checkpoints(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range list {
		if list[i].Type == run.CheckpointNodeCompleted {
			n++
		}
		want := min(n, 1)
		if list[i].Type == run.CheckpointRunCompleted {
			want = steps
		}
		if _, nodes := run.VisitedOf(list[i : i+1]); len(nodes) != want {
			t.Fatalf("checkpoint %d of %d nodes shows %d", i, n, len(nodes))
		}
	}
	if r := b.Row(id); n != steps || len(r.VisitedNodes) != steps {
		t.Errorf("%d rows, %d visited nodes", n, len(r.VisitedNodes))
	}
}

// TestTraceIsBounded: past the limit events are counted and dropped, and the run is not disturbed.
func TestTraceIsBounded(t *testing.T) {
	const spec = `{"version":"v1","agent":{"name":"root"},"components":{"agents":{"a":{"name":"a"}}},"workflow":{"type":"sequential","name":"w","steps":[
		{"id":"x","kind":"agent","ref":"a"},{"id":"y","kind":"agent","ref":"a"},{"id":"z","kind":"agent","ref":"a"}]}}`
	for limit, want := range map[int64][2]int64{0: {8, 0}, 8: {8, 0}, 4: {4, 4}} {
		b := testkit.NewBench(t)
		e := b.Executor(0)
		e.TraceLimit = limit
		id, out := start(t, b, e, spec, "workflow", "hello")
		row := b.Row(id)
		if out.Status != run.Completed || row.TraceCount != want[0] || row.TraceDropped != want[1] {
			t.Errorf("limit %d: %s, %d kept, %d dropped", limit, out.Status, row.TraceCount, row.TraceDropped)
		}
		list, err := b.Base.Checkpoints(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(record.Trace(&row, list, "")); int64(n) != want[0] {
			t.Errorf("limit %d: %d events are stored", limit, n)
		}
	}
}

const calledBranches = `{"version":"v1",
 "agent":{"name":"solo","tools":{"include":["ask"]}},
 "tools":{"ask":{"description":"d","agent":"crew"}},
 "components":{
  "agents":{"crew":{"name":"crew","as_agent":"pair"}},
  "functions":{"left":{"implementation":"kit.upper"},"right":{"implementation":"kit.RIGHT"}},
  "workflows":{"pair":{"type":"concurrent","name":"pair","participants":[
   {"id":"l","kind":"function","ref":"left"},{"id":"r","kind":"function","ref":"right","timeout_seconds":1}]}}}}`

// called runs the workflow behind an agent as a call of another agent does.
func called(t *testing.T, b *testkit.Bench, right string) (agent.Result, error) {
	t.Helper()
	p, err := b.Plan(t.Context(), b.Compile(strings.ReplaceAll(calledBranches, "RIGHT", right)).Digest)
	if err != nil {
		t.Fatal(err)
	}
	return b.Executor(0).Delegate(t.Context(), agent.Request{
		Plan: p, Agent: p.Agents["crew"], RunID: "r", StepKey: "s", Messages: []run.Message{{Role: "user", Content: "x"}},
	})
}

// TestBranchesOfACalledWorkflow: when an agent calls another one that is a workflow, its branches run at the same time.
func TestBranchesOfACalledWorkflow(t *testing.T) {
	b := testkit.NewBench(t)
	b.ManualClock()
	met := make(chan struct{})
	b.Handlers.Hold = func(context.Context, string, string) error {
		select { // each branch waits for the other one
		case met <- struct{}{}:
		case <-met:
		case <-time.After(10 * time.Second):
			return errors.New("alone")
		}
		return nil
	}
	if out, err := called(t, b, "bracket"); err != nil || out.Status != run.Completed || out.Output != "[x]" {
		t.Fatalf("%+v, %v", out, err)
	}
}

// TestTimeLimitOfACalledWorkflow: a branch that takes too long fails, and with it the call, once the others have ended.
func TestTimeLimitOfACalledWorkflow(t *testing.T) {
	b := testkit.NewBench(t)
	clock := b.ManualClock()
	b.Handlers.Hold = func(_ context.Context, name, _ string) error {
		if name == "slow" {
			go clock.Advance(time.Second)
		}
		return nil
	}
	_, err := called(t, b, "slow")
	var step *run.StepError
	if !errors.As(err, &step) || step.Type != run.FailTimeout || b.Handlers.Calls("upper") != 1 {
		t.Fatalf("%v", err)
	}
}

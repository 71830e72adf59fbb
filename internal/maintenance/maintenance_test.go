package maintenance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/maintenance"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const review = `{"version":"v1","agent":{"name":"root"},
 "components":{"functions":{"f":{"implementation":"kit.functions.bracket"}},
  "humans":{"h":{"description":"Check","assignee":"ann","timeout_seconds":60,"on_timeout":"%s"}}},
 "workflow":{"type":"sequential","name":"w","steps":[{"id":"h","kind":"human","ref":"h"},{"id":"b","kind":"function","ref":"f"}]}}`

// pause runs a review up to its pause.
func pause(t *testing.T, b *testkit.Bench, e *testkit.Executor, onTimeout string) run.Run {
	t.Helper()
	c, err := e.Create(b.Compile(fmt.Sprintf(review, onTimeout)), "workflow", "x", run.ModeInline)
	if err != nil {
		t.Fatal(err)
	}
	if out := e.Execute(context.Background(), c, nil); out.Status != run.Blocked {
		t.Fatal(out.Status, out.Err)
	}
	return b.Row(c.Run.ID)
}

func audit(t *testing.T, b *testkit.Bench, runID string) []string {
	t.Helper()
	list, _, err := b.Base.AuditEvents(context.Background(), store.AuditFilter{RunID: runID, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Type)
	}
	return out
}

func sweep(t *testing.T, b *testkit.Bench, e *testkit.Executor, after time.Duration) maintenance.Report {
	t.Helper()
	s := maintenance.New(b.Base, maintenance.Options{Owner: e.OwnerID(), Clock: clock.NewManual(time.Now().Add(after))})
	rep, err := s.Sweep(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestExpiredTaskFailsTheRun(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	r := pause(t, b, e, "fail")
	if rep := sweep(t, b, e, 30*time.Second); rep.Expired != 0 {
		t.Fatal("expired too early")
	}
	if rep := sweep(t, b, e, 2*time.Minute); rep.Expired != 1 {
		t.Fatalf("report %+v", rep)
	}
	row := b.Row(r.ID)
	if row.Status != run.Expired || row.Error.Type != run.FailHumanTaskExpired || row.Error.Message != "Human task did not complete within 60s timeout." {
		t.Errorf("%s %+v", row.Status, row.Error)
	}
	if row.ContinuationID != nil || len(row.PendingRequest) > 0 {
		t.Error("the pause is still on the row")
	}
	if got := audit(t, b, r.ID); !slices.Equal(got, []string{"human.expired"}) {
		t.Errorf("audit %v", got)
	}
	if got := b.Rows(r.ID); !slices.Equal(got, []string{"run_started", "human_pause h"}) {
		t.Errorf("rows %v", got)
	}
}

func TestExpiredTaskContinues(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	r := pause(t, b, e, "continue")
	if rep := sweep(t, b, e, 2*time.Minute); rep.Continued != 1 {
		t.Fatalf("report %+v", rep)
	}
	legs, err := e.Store.ClaimRuns(context.Background(), e.OwnerID(), time.Minute, 5)
	if err != nil || len(legs) != 1 {
		t.Fatalf("%d legs, %v", len(legs), err)
	}
	if out := e.Execute(context.Background(), legs[0], nil); out.Status != run.Completed || *out.Run.Output != "[x]" {
		t.Errorf("%s %v %v", out.Status, out.Run.Output, out.Err)
	}
	if got := audit(t, b, r.ID); !slices.Equal(got, []string{"human.continued"}) {
		t.Errorf("audit %v", got)
	}
}

func TestExpiredTaskEscalatesOnce(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	r := pause(t, b, e, "escalate")
	if rep := sweep(t, b, e, 2*time.Minute); rep.Escalated != 1 {
		t.Fatalf("report %+v", rep)
	}
	if rep := sweep(t, b, e, 3*time.Minute); rep.Escalated != 0 {
		t.Fatalf("escalated twice: %+v", rep)
	}
	task, err := b.Base.HumanTask(context.Background(), *r.ContinuationID)
	if err != nil {
		t.Fatal(err)
	}
	if task.State != run.TaskPending || task.EscalatedAt == nil || !strings.Contains(string(task.Request), `"escalated_at":`) || !strings.Contains(string(task.Request), `"original_expires_at":`) {
		t.Errorf("%s %s", task.State, task.Request)
	}
	if b.Row(r.ID).Status != run.Blocked {
		t.Error("the run moved")
	}
}

func TestOverdueRunTimesOut(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	c, err := e.CreateWithDeadline(b.Compile(fmt.Sprintf(review, "fail")), "x", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if out := e.Execute(context.Background(), c, nil); out.Status != run.Blocked {
		t.Fatal(out.Status, out.Err)
	}
	if rep := sweep(t, b, e, 2*time.Hour); rep.TimedOut != 1 {
		t.Fatalf("report %+v", rep)
	}
	row := b.Row(c.Run.ID)
	if row.Status != run.TimedOut || row.Error.Message != "Run exceeded its 3600s timeout." {
		t.Errorf("%s %+v", row.Status, row.Error)
	}
	if rows := b.Rows(row.ID); rows[len(rows)-1] != run.CheckpointRunTimedOut {
		t.Errorf("rows %v", rows)
	}
	if got := audit(t, b, row.ID); !slices.Equal(got, []string{"run.timed_out"}) {
		t.Errorf("audit %v", got)
	}
}

// TestLeader lets two sweepers run at the same time: only one does the work.
func TestLeader(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	pause(t, b, e, "fail")
	ctx := context.Background()
	if err := b.Base.AcquireLease(ctx, "maintenance", "somebody else", time.Minute); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	s := maintenance.New(b.Base, maintenance.Options{Owner: e.OwnerID(), Clock: clock.NewManual(time.Now().Add(time.Hour))})
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	tasks, err := b.Base.HumanTasks(context.Background(), store.TaskFilter{Limit: 5})
	if err != nil || len(tasks) != 1 {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
}

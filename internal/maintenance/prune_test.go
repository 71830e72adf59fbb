package maintenance_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/maintenance"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/testkit"
)

const guarded = `{"version":"v1","agent":{"name":"root"},
 "components":{"agents":{"g":{"name":"g","guardrails":{"input":[{"id":"kw","type":"keyword","config":{"keywords":["forbidden"]}}]}}},
  "humans":{"h":{"description":"Check","assignee":"ann","timeout_seconds":60,"on_timeout":"continue"}}},
 "workflow":{"type":"sequential","name":"w","steps":[{"id":"h","kind":"human","ref":"h"},{"id":"b","kind":"agent","ref":"g"}]}}`

// TestContinuedTaskThatIsRefused ends the run: asking again would give the same answer again.
func TestContinuedTaskThatIsRefused(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	ctx := context.Background()
	c, err := e.Create(b.Compile(guarded), "workflow", "forbidden", run.ModeInline)
	if err != nil {
		t.Fatal(err)
	}
	if out := e.Execute(ctx, c, nil); out.Status != run.Blocked {
		t.Fatal(out.Status, out.Err)
	}
	if rep := sweep(t, b, e, 2*time.Minute); rep.Continued != 1 {
		t.Fatalf("report %+v", rep)
	}
	legs, err := e.Store.ClaimRuns(ctx, e.OwnerID(), time.Minute, 5)
	if err != nil || len(legs) != 1 {
		t.Fatalf("%d legs, %v", len(legs), err)
	}
	if out := e.Execute(ctx, legs[0], nil); out.Status != run.Failed {
		t.Fatal(out.Status, out.Err)
	}
	if rep := sweep(t, b, e, 3*time.Minute); rep.Continued != 0 {
		t.Errorf("continued again: %+v", rep)
	}
	events, _, err := b.Base.AuditEvents(ctx, store.AuditFilter{RunID: c.Run.ID, Type: "human.continue_failed", Limit: 10})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if text := string(events[0].Metadata); !strings.Contains(text, `"error_type":"guardrail_violation"`) || !strings.Contains(text, `"on_timeout":"continue"`) {
		t.Errorf("metadata %s", text)
	}
}

// TestDueAndPrune counts first and deletes then, and both say the same.
func TestDueAndPrune(t *testing.T) {
	b := testkit.NewBench(t)
	e := b.Executor(0)
	ctx := context.Background()
	pause(t, b, e, "fail")
	pause(t, b, e, "continue")
	pause(t, b, e, "escalate")
	var done []string
	for range 3 {
		c, err := e.Create(b.Compile(`{"version":"v1","agent":{"name":"a"}}`), "agent", "x", run.ModeInline)
		if err != nil {
			t.Fatal(err)
		}
		if out := e.Execute(ctx, c, nil); out.Status != run.Completed {
			t.Fatal(out.Status, out.Err)
		}
		done = append(done, c.Run.ID)
	}
	later := clock.NewManual(time.Now().Add(48 * time.Hour))
	s := maintenance.New(b.Base, maintenance.Options{Owner: e.OwnerID(), Clock: later, Cut: func(now time.Time) *store.RetentionCut {
		at := now.Add(-24 * time.Hour)
		return &store.RetentionCut{Runs: &at}
	}})
	due, err := s.Due(ctx)
	if err != nil || due.Expired != 1 || due.Continued != 1 || due.Escalated != 1 || due.Pruned["runs"] != 3 {
		t.Fatalf("due %+v, %v", due, err)
	}
	list, err := b.Base.ListRuns(ctx, store.RunFilter{Limit: 10})
	if err != nil || len(list) != 6 {
		t.Fatalf("a dry run changed something: %d runs, %v", len(list), err)
	}
	counts, err := s.Prune(ctx)
	if err != nil || counts["runs"] != 3 || counts["checkpoints"] == 0 {
		t.Fatalf("pruned %v, %v", counts, err)
	}
	if list, err = b.Base.ListRuns(ctx, store.RunFilter{Limit: 10}); err != nil || len(list) != 3 {
		t.Fatalf("%d runs, %v", len(list), err)
	}
	for _, r := range list {
		if slices.Contains(done, r.ID) {
			t.Errorf("%s is still there", r.ID)
		}
	}
}

package rows_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// Both dialects generate the row types of this package; these conversions are the compiler's check.
var (
	_ = []rows.Run{rows.Run(litedb.Run{}), rows.Run(pgdb.Run{})}
	_ = []rows.Queue{rows.Queue(litedb.RunQueue{}), rows.Queue(pgdb.RunQueue{})}
	_ = []rows.Checkpoint{rows.Checkpoint(litedb.Checkpoint{}), rows.Checkpoint(pgdb.Checkpoint{})}
	_ = []rows.Event{rows.Event(litedb.RunEvent{}), rows.Event(pgdb.RunEvent{})}
	_ = []rows.Entry{rows.Entry(litedb.Journal{}), rows.Entry(pgdb.Journal{})}
	_ = []rows.Snapshot{rows.Snapshot(litedb.Snapshot{}), rows.Snapshot(pgdb.Snapshot{})}
	_ = []rows.Task{rows.Task(litedb.HumanTask{}), rows.Task(pgdb.HumanTask{})}
	_ = []rows.Audit{rows.Audit(litedb.AuditEvent{}), rows.Audit(pgdb.AuditEvent{})}
	_ = []rows.Key{rows.Key(litedb.IdempotencyKey{}), rows.Key(pgdb.IdempotencyKey{})}
)

// TestFieldsFollowColumns compares the pointers with the columns by the address of each field.
func TestFieldsFollowColumns(t *testing.T) {
	var r rows.Run
	v := reflect.ValueOf(&r).Elem()
	columns := strings.Split(strings.ReplaceAll(rows.RunColumns, "\n", ""), ",")
	fields := r.Fields()
	if len(columns) != len(fields) || len(fields) != v.NumField() {
		t.Fatalf("%d columns, %d pointers, %d fields", len(columns), len(fields), v.NumField())
	}
	for i, p := range fields {
		name := strings.ReplaceAll(strings.TrimSpace(columns[i]), "_", "")
		if reflect.ValueOf(p).Pointer() != v.Field(i).Addr().Pointer() || !strings.EqualFold(name, v.Type().Field(i).Name) {
			t.Errorf("column %d is %s, field %s", i, name, v.Type().Field(i).Name)
		}
	}
}

func TestQueries(t *testing.T) {
	d := rows.Dialect{Placeholder: func(int) string { return "?" }, Like: "LIKE", Tie: "rowid"}
	at := time.Date(2030, 1, 1, 0, 0, 0, 1999, time.UTC)
	status, yes := "failed", true
	query, args := rows.ListRuns(d, store.RunFilter{
		Status: &status, HasError: &yes, CreatedAfter: &at, Text: `5%_\`, SortBy: "status", Desc: true, Limit: 5, Offset: 10,
	})
	wantSuffix := ` FROM runs WHERE status = ? AND error_type IS NOT NULL AND created_at >= ? AND (output LIKE ? ESCAPE '\' OR error_message LIKE ? ESCAPE '\')` +
		` ORDER BY status DESC, updated_at ASC, rowid DESC LIMIT ? OFFSET ?`
	if !strings.HasSuffix(query, wantSuffix) {
		t.Errorf("query is %s", query)
	}
	want := []any{"failed", time.Date(2030, 1, 1, 0, 0, 0, 1000, time.UTC), `%5\%\_\\%`, `%5\%\_\\%`, int64(5), int64(10)}
	if diff := cmp.Diff(want, args); diff != "" {
		t.Error(diff)
	}
	query, _ = rows.ListRuns(d, store.RunFilter{SortBy: "created_at; DROP TABLE runs"})
	if !strings.HasSuffix(query, " ORDER BY updated_at DESC, rowid DESC") {
		t.Errorf("query is %s", query)
	}
}

func TestSettleKeepsWhatALegWrote(t *testing.T) {
	text := "out"
	stored := run.Run{ID: "r", Status: run.Running, Output: &text, VisitedSteps: []string{"s1"}, TraceCount: 9, Input: "in"}
	got := rows.Settle(stored, run.Run{ID: "r", Status: run.Cancelled, TraceCount: 3, Error: &run.Failure{Type: "cancelled"}})
	want := stored
	want.Status, want.Error = run.Cancelled, &run.Failure{Type: "cancelled"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

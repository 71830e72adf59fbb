package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kneo-go/kneo/gen/sqlc/litedb"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// pruneRows bounds one call per table when the caller gives no limit, so that other writers never wait long.
const pruneRows = 500

// pruning deletes or counts the old rows of one kind.
type pruning struct {
	s      *Store
	t      *tx
	dry    bool
	limit  int64
	counts map[string]int64

	statuses, states []string
}

// Prune implements store.Retention. Each kind of row is a transaction of its own.
func (s *Store) Prune(ctx context.Context, c store.RetentionCut) (map[string]int64, error) {
	counts := map[string]int64{}
	steps := []struct {
		before *time.Time
		do     func(*pruning, context.Context, time.Time) error
	}{
		{c.Runs, (*pruning).runs},
		{c.Checkpoints, (*pruning).checkpoints},
		{c.Queue, (*pruning).queue},
		{c.Continuations, (*pruning).tasks},
		{c.Audit, (*pruning).audit},
		{c.Idempotency, (*pruning).keys},
	}
	limit := int64(c.Limit)
	if limit <= 0 {
		limit = pruneRows
	}
	statuses, states := rows.PrunedStatuses(c.RunStatuses), rows.PrunedStates(c.QueueStatuses)
	for _, step := range steps {
		if step.before == nil {
			continue
		}
		local := map[string]int64{}
		do := func(ctx context.Context, t *tx) error {
			clear(local)
			return step.do(&pruning{s: s, t: t, dry: c.DryRun, limit: limit, counts: local, statuses: statuses, states: states}, ctx, *step.before)
		}
		var err error
		if c.DryRun {
			err = s.read(ctx, func(ctx context.Context, q *litedb.Queries, db litedb.DBTX) error { return do(ctx, &tx{q: q, db: db}) })
		} else {
			err = s.write(ctx, do)
		}
		if err != nil {
			return counts, fmt.Errorf("prune: %w", err)
		}
		for table, n := range local {
			counts[table] += n
		}
	}
	return counts, nil
}

// among lists names for a query: a list of parameters and numbered parameters do not go together.
func among(names []string) string { return "," + strings.Join(names, ",") + "," }

// remove counts n rows, or runs the deletion and counts what it says.
func (p *pruning) remove(table string, n int, del func() (int64, error)) error {
	if n == 0 {
		return nil
	}
	if p.dry {
		p.counts[table] += int64(n)
		return nil
	}
	deleted, err := del()
	p.counts[table] += deleted
	return err
}

func (p *pruning) runs(ctx context.Context, before time.Time) error {
	ids, err := p.t.q.OldRuns(ctx, litedb.OldRunsParams{Statuses: among(p.statuses), Before: before, MaxRows: p.limit})
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return nil
	}
	if p.dry {
		p.counts["runs"] += int64(len(ids))
		return nil
	}
	p.t.changed = append(p.t.changed, ids...)
	for _, d := range []struct {
		table string
		del   func(context.Context, []string) (int64, error)
	}{
		{"checkpoints", p.t.q.DeleteCheckpointsOf},
		{"journal", p.t.q.DeleteJournalOf},
		{"run_events", p.t.q.DeleteEventsOf},
		{"run_queue", p.t.q.DeleteQueueOf},
		{"human_tasks", p.t.q.DeleteTasksOf},
		{"audit_events", p.auditOf},
		{"runs", p.t.q.DeleteRuns},
	} {
		n, err := d.del(ctx, ids)
		if err != nil {
			return err
		}
		if n > 0 {
			p.counts[d.table] += n
		}
	}
	n, err := p.t.q.DeleteUnusedSnapshots(ctx, before)
	if n > 0 {
		p.counts["snapshots"] += n
		p.s.snapshots.forget()
	}
	return err
}

func (p *pruning) auditOf(ctx context.Context, ids []string) (int64, error) {
	pointers := make([]*string, len(ids))
	for i := range ids {
		pointers[i] = &ids[i]
	}
	return p.t.q.DeleteAuditOf(ctx, pointers)
}

func (p *pruning) checkpoints(ctx context.Context, before time.Time) error {
	found, err := p.t.q.OldCheckpoints(ctx, litedb.OldCheckpointsParams{Before: before, MaxRows: p.limit})
	if err != nil {
		return err
	}
	return p.remove("checkpoints", len(found), func() (int64, error) {
		var n int64
		for _, row := range found {
			deleted, err := p.t.q.DeleteCheckpoint(ctx, litedb.DeleteCheckpointParams(row))
			if err != nil {
				return n, err
			}
			n += deleted
		}
		return n, nil
	})
}

func (p *pruning) queue(ctx context.Context, before time.Time) error {
	ids, err := p.t.q.OldQueueRows(ctx, litedb.OldQueueRowsParams{States: among(p.states), Before: before, MaxRows: p.limit})
	if err != nil {
		return err
	}
	return p.remove("run_queue", len(ids), func() (int64, error) { return p.t.q.DeleteQueueOf(ctx, ids) })
}

func (p *pruning) tasks(ctx context.Context, before time.Time) error {
	ids, err := p.t.q.OldTasks(ctx, litedb.OldTasksParams{Before: before, MaxRows: p.limit})
	if err != nil {
		return err
	}
	return p.remove("human_tasks", len(ids), func() (int64, error) { return p.t.q.DeleteTasks(ctx, ids) })
}

func (p *pruning) audit(ctx context.Context, before time.Time) error {
	ids, err := p.t.q.OldAudit(ctx, litedb.OldAuditParams{Before: before, MaxRows: p.limit})
	if err != nil {
		return err
	}
	return p.remove("audit_events", len(ids), func() (int64, error) { return p.t.q.DeleteAudit(ctx, ids) })
}

func (p *pruning) keys(ctx context.Context, before time.Time) error {
	found, err := p.t.q.OldKeys(ctx, litedb.OldKeysParams{Before: before, MaxRows: p.limit})
	if err != nil {
		return err
	}
	return p.remove("idempotency_keys", len(found), func() (int64, error) {
		var n int64
		for _, row := range found {
			deleted, err := p.t.q.DeleteKey(ctx, litedb.DeleteKeyParams(row))
			if err != nil {
				return n, err
			}
			n += deleted
		}
		return n, nil
	})
}

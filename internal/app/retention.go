package app

import (
	"time"

	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/store"
)

const day = 24 * time.Hour

// cut says what retention deletes at a moment, nil when nothing is ever deleted.
func cut(r *config.Retention, now time.Time) *store.RetentionCut {
	at := func(days *int64) *time.Time {
		if days == nil {
			return nil
		}
		t := now.Add(-time.Duration(min(*days, maxDays)) * day)
		return &t
	}
	c := store.RetentionCut{
		Runs: at(r.Runs), Checkpoints: at(r.Checkpoints), Queue: at(r.Queue), Continuations: at(r.Continuations), Audit: at(r.Audit), Idempotency: at(r.Idempotency),
	}
	if c.Runs == nil && c.Checkpoints == nil && c.Queue == nil && c.Continuations == nil && c.Audit == nil && c.Idempotency == nil {
		return nil
	}
	c.RunStatuses, c.QueueStatuses = r.RunStatuses, r.QueueStatuses
	return &c
}

// maxDays keeps cut-off times representable: two hundred years.
const maxDays = 200 * 365

// Package maintenance does what must happen without anybody asking: it ends overdue runs, expires unanswered human tasks, frees the leases of
// dead processes and deletes old rows. One process at a time does it, under a lease. It imports the runner, the store's port and the records
// below them.
package maintenance

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/store"
)

const (
	leaderLease = "maintenance"
	// batch bounds how much one tick does of each kind.
	batch = 200
	// pruneEvery is the pause between deletions of old rows, pruneRounds how many bounded deletions follow each other then.
	pruneEvery  = time.Minute
	pruneRounds = 20
	// pruneRows bounds one deletion, countRows what a dry run counts.
	pruneRows = 1000
	countRows = 1_000_000
)

// Options are the settings of maintenance.
type Options struct {
	// Owner names this process; Every is the pause between ticks.
	Owner string
	Every time.Duration
	// OwnerTTL is how long a process may be silent before its leases are freed.
	OwnerTTL time.Duration
	// Cut returns what to delete at a moment, or nil when nothing is ever deleted.
	Cut func(now time.Time) *store.RetentionCut
	// Cancel stops a run that this process executes, or is nil.
	Cancel func(runID string, cause error) bool
	Clock  clock.Clock
	Log    *slog.Logger
}

// Report counts what a sweep did.
type Report struct {
	TimedOut  int
	Expired   int
	Continued int
	Escalated int
	Recovered int64
	// Pruned counts deleted rows per table.
	Pruned map[string]int64
}

// Sweeper does the periodic work.
type Sweeper struct {
	Options
	store  store.Store
	pruned time.Time
}

// New returns a sweeper; Run starts it.
func New(s store.Store, o Options) *Sweeper {
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	if o.OwnerTTL <= 0 {
		o.OwnerTTL = 10 * time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Sweeper{Options: o, store: s}
}

// Run sweeps in intervals while this process holds the lease, until the context ends.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		if err := s.tick(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "maintenance failed", "error", err)
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := s.store.ReleaseLease(ctx, leaderLease, s.Owner); err != nil {
				s.Log.DebugContext(ctx, "maintenance lease not released", "error", err)
			}
			return nil
		case <-tick.C:
		}
	}
}

func (s *Sweeper) tick(ctx context.Context) error {
	err := s.store.AcquireLease(ctx, leaderLease, s.Owner, max(3*s.Every, 10*time.Second))
	if errors.Is(err, store.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.Sweep(ctx)
	return err
}

// Sweep does everything once, whoever holds the lease. It goes on after a failure of one part and returns all errors.
func (s *Sweeper) Sweep(ctx context.Context) (Report, error) {
	var rep Report
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	add(s.overdue(ctx, &rep))
	add(s.tasks(ctx, &rep))
	n, err := s.store.RecoverOwners(ctx, s.Owner, s.OwnerTTL)
	rep.Recovered = n
	add(err)
	add(s.pruneNow(ctx, &rep))
	return rep, errors.Join(errs...)
}

func (s *Sweeper) overdue(ctx context.Context, rep *Report) error {
	now := s.Clock.Now()
	runs, err := s.store.OverdueRuns(ctx, now, batch)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range runs {
		_, changed, err := s.store.TimeOutRun(ctx, r.ID, runner.TimeOut(r, now))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		if changed {
			rep.TimedOut++
			if s.Cancel != nil {
				s.Cancel(r.ID, runner.ErrCancelled)
			}
		}
	}
	return errors.Join(errs...)
}

func (s *Sweeper) tasks(ctx context.Context, rep *Report) error {
	due, err := s.store.DueTasks(ctx, s.Clock.Now(), batch)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range due {
		if err := s.locked(ctx, t, rep); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// locked handles one task unless somebody answers it right now.
func (s *Sweeper) locked(ctx context.Context, t run.HumanTask, rep *Report) error {
	name := "continuation:" + t.ID
	err := s.store.AcquireLease(ctx, name, s.Owner, 300*time.Second)
	if errors.Is(err, store.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.task(ctx, t, rep)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return errors.Join(err, s.store.ReleaseLease(ctx, name, s.Owner))
}

func (s *Sweeper) task(ctx context.Context, t run.HumanTask, rep *Report) error {
	r, err := s.store.Run(ctx, t.RunID)
	if err != nil {
		return err
	}
	if r.Status != run.Blocked {
		return nil
	}
	now := s.Clock.Now()
	switch t.OnTimeout {
	case "escalate":
		audit := runner.PlatformAudit("human.escalated", t.RunID, t.ID, runner.ExpiryAudit(t, now, true), now)
		if err := s.store.EscalateTask(ctx, t.ID, now, record.EscalatedRequest(&t, run.Epoch(now)), []run.AuditEvent{audit}); err != nil {
			return err
		}
		rep.Escalated++
	case "continue":
		if err := s.resume(ctx, t, now); err != nil {
			return s.resumeFailed(ctx, t, now, err)
		}
		rep.Continued++
	default:
		if err := s.store.ExpireTask(ctx, t.ID, runner.Expire(r, t, now)); err != nil {
			return err
		}
		rep.Expired++
	}
	return nil
}

// resume approves a task in nobody's name and leaves the leg to the workers.
func (s *Sweeper) resume(ctx context.Context, t run.HumanTask, now time.Time) error {
	meta, err := json.Marshal(struct {
		AutoContinued    bool    `json:"auto_continued"`
		Reason           string  `json:"reason"`
		OriginalAssignee *string `json:"original_assignee"`
	}{true, "timeout", t.Assignee})
	if err != nil {
		return err
	}
	leg, err := runner.ResumeLeg(t, engine.Decision{Decision: "approved", RequestID: t.RequestID, Metadata: meta}, "", now)
	if err != nil {
		return err
	}
	leg.Audit = []run.AuditEvent{runner.PlatformAudit("human.continued", t.RunID, t.ID, runner.ExpiryAudit(t, now, false), now)}
	_, err = s.store.ResumeRun(ctx, leg)
	return err
}

// resumeFailed takes a task that cannot go on by itself out of the sweeps; a person may still answer it.
func (s *Sweeper) resumeFailed(ctx context.Context, t run.HumanTask, now time.Time, cause error) error {
	if errors.Is(cause, store.ErrConflict) || errors.Is(cause, store.ErrUnavailable) || errors.Is(cause, store.ErrNotFound) || ctx.Err() != nil {
		return cause
	}
	audit := runner.ContinueFailed(t.RunID, t.ID, run.Failure{Type: run.FailInternal, Message: cause.Error()}, now)
	return errors.Join(cause, s.store.EscalateTask(ctx, t.ID, now, record.EscalatedRequest(&t, run.Epoch(now)), []run.AuditEvent{audit}))
}

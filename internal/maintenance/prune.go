package maintenance

import (
	"context"
	"maps"

	"github.com/kneo-go/kneo/internal/store"
)

// pruneNow deletes old rows now and then, in bounded steps.
func (s *Sweeper) pruneNow(ctx context.Context, rep *Report) error {
	now := s.Clock.Now()
	if s.Cut == nil || now.Sub(s.pruned) < pruneEvery {
		return nil
	}
	s.pruned = now
	var err error
	rep.Pruned, err = s.prune(ctx, pruneRounds)
	return err
}

// Prune deletes everything that retention lets go, in bounded steps, and returns how many rows per table.
func (s *Sweeper) Prune(ctx context.Context) (map[string]int64, error) { return s.prune(ctx, 0) }

// prune deletes in at most that many rounds; 0 means until nothing is left.
func (s *Sweeper) prune(ctx context.Context, rounds int) (map[string]int64, error) {
	total := map[string]int64{}
	cut := s.cut()
	if cut == nil {
		return total, nil
	}
	cut.Limit = pruneRows
	for round := 1; ; round++ {
		counts, err := s.store.Prune(ctx, *cut)
		full := false
		for table, n := range counts {
			total[table] += n
			full = full || n >= pruneRows
		}
		if err != nil || !full || round == rounds {
			return total, err
		}
	}
}

// Prunable counts what Prune would delete and deletes nothing. What goes with a run is not counted on its own.
func (s *Sweeper) Prunable(ctx context.Context) (map[string]int64, error) {
	cut := s.cut()
	if cut == nil {
		return map[string]int64{}, nil
	}
	cut.DryRun, cut.Limit = true, countRows
	counts, err := s.store.Prune(ctx, *cut)
	return maps.Clone(counts), err
}

func (s *Sweeper) cut() *store.RetentionCut {
	if s.Cut == nil {
		return nil
	}
	return s.Cut(s.Clock.Now())
}

// Due tells what Sweep would do and does nothing. It looks at one batch of each kind, as Sweep does.
func (s *Sweeper) Due(ctx context.Context) (Report, error) {
	var rep Report
	now := s.Clock.Now()
	runs, err := s.store.OverdueRuns(ctx, now, batch)
	if err != nil {
		return rep, err
	}
	rep.TimedOut = len(runs)
	tasks, err := s.store.DueTasks(ctx, now, batch)
	if err != nil {
		return rep, err
	}
	for _, t := range tasks {
		switch t.OnTimeout {
		case "escalate":
			rep.Escalated++
		case "continue":
			rep.Continued++
		default:
			rep.Expired++
		}
	}
	rep.Pruned, err = s.Prunable(ctx)
	return rep, err
}

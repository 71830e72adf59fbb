package postgres

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
)

const (
	channel = "kneo_runs"
	// maxPayload is below PostgreSQL's limit of 8000 bytes for a notification.
	maxPayload = 7900
	// pollInterval replaces notifications while the listener has no connection.
	pollInterval = time.Second
	// pollWindow covers the retry between two polls and clocks that differ a little.
	pollWindow    = 5 * time.Second
	pollRows      = 1000
	retryInterval = 2 * time.Second
	beatFraction  = 4
	notifyTimeout = 5 * time.Second
	// notifyPause bounds how often other processes are told, since every notification costs them and the database a little.
	notifyPause = 15 * time.Millisecond
)

// announcer tells other processes which runs changed. One notification is on its way at a time, and what changes meanwhile shares the next, so
// commits never wait for it.
type announcer struct {
	instance string
	q        *pgdb.Queries
	log      *slog.Logger

	mu      sync.Mutex
	pending []string
	known   map[string]struct{}
	wake    bool
	signal  chan struct{}
}

func newAnnouncer(instance string, q *pgdb.Queries, log *slog.Logger) *announcer {
	return &announcer{instance: instance, q: q, log: log, known: map[string]struct{}{}, signal: make(chan struct{}, 1)}
}

func (a *announcer) add(ids []string, wake bool) {
	a.mu.Lock()
	for _, id := range ids {
		if _, ok := a.known[id]; !ok {
			a.known[id] = struct{}{}
			a.pending = append(a.pending, id)
		}
	}
	a.wake = a.wake || wake
	a.mu.Unlock()
	select {
	case a.signal <- struct{}{}:
	default:
	}
}

func (a *announcer) take() ([]string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids, wake := a.pending, a.wake
	a.pending, a.wake = nil, false
	clear(a.known)
	return ids, wake
}

func (a *announcer) run(ctx context.Context) {
	pause := time.NewTimer(notifyPause)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.signal:
		}
		ids, wake := a.take()
		for _, payload := range payloads(a.instance, ids, wake) {
			a.send(ctx, payload)
		}
		pause.Reset(notifyPause)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

func (a *announcer) send(ctx context.Context, payload string) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if err := a.q.Notify(ctx, pgdb.NotifyParams{Channel: channel, Payload: payload}); err != nil && ctx.Err() == nil {
		a.log.Warn("cannot notify other processes", "error", err)
	}
}

// payloads packs "instance wake-flag id,id,…" into as few notifications as fit.
func payloads(instance string, ids []string, wake bool) []string {
	head := instance + " - "
	if wake {
		head = instance + " w "
	}
	var out []string
	var b strings.Builder
	for _, id := range ids {
		if b.Len() > 0 && len(head)+b.Len()+len(id)+1 > maxPayload {
			out = append(out, head+b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(id)
	}
	if b.Len() > 0 || (wake && len(out) == 0) {
		out = append(out, head+b.String())
	}
	return out
}

// listen hears other processes. While it cannot, it asks the database every second.
func (s *Store) listen(ctx context.Context, cfg *pgx.ConnConfig) {
	for ctx.Err() == nil {
		err := s.hear(ctx, cfg)
		if ctx.Err() != nil {
			return
		}
		s.opts.Logger.Warn("no notifications from the database; polling", "error", err)
		s.poll(ctx)
	}
}

func (s *Store) poll(ctx context.Context) {
	retry := time.NewTimer(retryInterval)
	defer retry.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
			return
		case <-tick.C:
			s.nudge()
			s.lookAround(ctx)
		}
	}
}

// lookAround tells subscribers of runs that were written lately, by whomever; telling twice does no harm.
func (s *Store) lookAround(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, pollInterval)
	defer cancel()
	ids, err := s.q.RecentRuns(looking, pgdb.RecentRunsParams{Since: s.now().Add(-pollWindow), MaxRows: pollRows})
	if err != nil {
		s.opts.Logger.Debug("poll for changed runs", "error", err)
		return
	}
	s.hub.Publish(ids...)
}

func (s *Store) hear(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), notifyTimeout)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	// Something may have happened before the subscription.
	s.nudge()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		s.heard(n.Payload)
	}
}

func (s *Store) heard(payload string) {
	from, rest, _ := strings.Cut(payload, " ")
	flag, ids, _ := strings.Cut(rest, " ")
	if from == s.instance {
		return
	}
	if ids != "" {
		s.hub.Publish(strings.Split(ids, ",")...)
	}
	if flag == "w" {
		s.nudge()
	}
}

// owners are the names under which this process holds leases.
type owners struct {
	mu    sync.RWMutex
	known map[string]struct{}
}

func (o *owners) has(name string) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	_, ok := o.known[name]
	return ok
}

func (o *owners) add(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = map[string]struct{}{}
	}
	o.known[name] = struct{}{}
}

func (o *owners) names() []string {
	o.mu.RLock()
	defer o.mu.RUnlock()
	out := make([]string, 0, len(o.known))
	for name := range o.known {
		out = append(out, name)
	}
	return out
}

// register makes an owner known to be alive before it takes its first lease.
func (s *Store) register(ctx context.Context, owner string) error {
	if s.owners.has(owner) {
		return nil
	}
	if s.closed.Load() {
		return errClosed()
	}
	if err := s.q.BeatOwners(ctx, pgdb.BeatOwnersParams{Owners: []string{owner}, Now: s.at()}); err != nil {
		return failure(err)
	}
	s.owners.add(owner)
	return nil
}

// beat says that the owners of this process are alive, several times within the time after which they count as dead.
func (s *Store) beat(ctx context.Context) {
	tick := time.NewTicker(s.opts.OwnerTTL / beatFraction)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		names := s.owners.names()
		if len(names) == 0 {
			continue
		}
		beating, cancel := context.WithTimeout(ctx, s.opts.OwnerTTL/beatFraction)
		err := s.q.BeatOwners(beating, pgdb.BeatOwnersParams{Owners: names, Now: s.at()})
		cancel()
		if err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("cannot tell the database that this process is alive", "error", err)
		}
	}
}

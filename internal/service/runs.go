package service

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/clock"
	"github.com/kneo-go/kneo/internal/id"
	"github.com/kneo-go/kneo/internal/idempotency"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/record"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
	"github.com/kneo-go/kneo/internal/spec"
	"github.com/kneo-go/kneo/internal/store"
)

// Executor runs the legs that requests wait for; *runner.Runner is one.
type Executor interface {
	// Execute runs a claimed leg to its end or pause.
	Execute(ctx context.Context, c run.Claimed, quiet func()) runner.Outcome
	// OwnerID is the name under which this process holds leases, LeaseTime their length.
	OwnerID() string
	LeaseTime() time.Duration
	// Keeper knows the legs of this process.
	Keeper() *runner.Keeper
}

// Counters counts what happens before an executor sees a run.
type Counters interface {
	RunRejected()
}

// RunsOptions are what runs need.
type RunsOptions struct {
	Store    store.Store
	Specs    *Specs
	Executor Executor
	Clock    clock.Clock
	Log      *slog.Logger
	Counters Counters
	// MaxDepth is the backlog limit; 0 means none.
	MaxDepth int64
	// CacheEntries bounds the cache of frozen specs.
	CacheEntries int
}

// Runs creates, reads and steers runs.
type Runs struct {
	o      RunsOptions
	audit  auditor
	frozen *lru.Cache[string, json.RawMessage]
	ids    id.Sequence
}

// NewRuns returns the use case.
func NewRuns(o RunsOptions) (*Runs, error) {
	frozen, err := lru.New[string, json.RawMessage](max(o.CacheEntries, 1))
	if err != nil {
		return nil, err
	}
	return &Runs{o: o, frozen: frozen, audit: auditor{store: o.Store, now: o.Clock.Now, newID: id.New}}, nil
}

// Creation is a request to run a spec.
type Creation struct {
	SpecSource
	Input  string
	Target string
	Async  bool
	// SkillsGiven tells that the request has a skills object.
	SkillsGiven bool
	SessionID   *string
	// Metadata is the caller's object, nil when absent.
	Metadata       json.RawMessage
	TimeoutSeconds *float64
	// AuditEvent is the type of the event: run.created or spec.run.
	AuditEvent string
}

// Create starts a run. A queued one returns at once; a synchronous one when it ends or waits for a person.
func (s *Runs) Create(ctx context.Context, c Creation) (record.Reply, error) {
	b, err := s.o.Specs.gated(ctx, c.SpecSource)
	if err != nil {
		return record.Reply{}, err
	}
	if _, _, err := b.plan(ctx, true); err != nil {
		return record.Reply{}, err
	}
	snapshot, err := b.freeze()
	if err != nil {
		return record.Reply{}, storeError(err)
	}
	s.frozen.Add(snapshot.Digest, snapshot.Frozen)
	r, err := s.newRun(ctx, &c, snapshot)
	if err != nil {
		return record.Reply{}, err
	}
	create := store.CreateRun{
		Run: r, Snapshot: snapshot, Mode: run.ModeInline, Owner: s.o.Executor.OwnerID(), Lease: s.o.Executor.LeaseTime(), Claim: idempotency.FromContext(ctx),
		Checkpoints: []run.Checkpoint{s.startCheckpoint(&r)},
		Events:      []run.Event{{Kind: "started", Data: statusObject(r.Status), CreatedAt: r.CreatedAt}},
		Audit:       []run.AuditEvent{s.audit.event(ctx, c.AuditEvent, r.ID, "", c.auditMetadata())},
	}
	if c.Async {
		return s.enqueue(ctx, create)
	}
	claimed, err := s.o.Store.CreateRun(ctx, create)
	if err != nil {
		return record.Reply{}, s.createError(err)
	}
	claimed.Reply = run.ReplyCreate
	return s.execute(ctx, claimed)
}

func (s *Runs) enqueue(ctx context.Context, create store.CreateRun) (record.Reply, error) {
	reply := record.Reply{RunID: create.Run.ID, Status: run.Queued, Metadata: record.CreationMetadata(&create.Run, create.Snapshot.Frozen)}
	create.Mode, create.Owner, create.MaxDepth = run.ModeQueued, "", s.o.MaxDepth
	create.Events[0].Kind, create.Events[0].Data = "queued", statusObject(run.Queued)
	if create.Claim != nil {
		create.Response = record.CreateResponse(reply)
	}
	if _, err := s.o.Store.CreateRun(ctx, create); err != nil {
		return record.Reply{}, s.createError(err)
	}
	return reply, nil
}

func (s *Runs) createError(err error) error {
	var full *store.QueueFullError
	if errors.As(err, &full) {
		s.o.Counters.RunRejected()
	}
	return s.legError(err)
}

// legError is storeError for writes that carry a claim.
func (s *Runs) legError(err error) error {
	if errors.Is(err, store.ErrKeyExists) {
		return inProgress(err)
	}
	return storeError(err)
}

func (s *Runs) newRun(ctx context.Context, c *Creation, snapshot run.Snapshot) (run.Run, error) {
	now := s.o.Clock.Now()
	creation, err := s.creation(c)
	if err != nil {
		return run.Run{}, err
	}
	kind := c.Target
	r := run.Run{
		ID: s.ids.New(now), Status: run.Running, Target: c.Target, WorkflowKind: &kind, Input: c.Input, VisitedSteps: []string{}, VisitedNodes: []string{},
		Messages: json.RawMessage("[]"), Creation: creation, Progress: json.RawMessage("{}"), SessionID: c.SessionID, Environment: c.Environment,
		SnapshotDigest: snapshot.Digest, Principal: auth.FromContext(ctx).Name, CreatedAt: now, UpdatedAt: now, StartedAt: &now,
		TimeoutSeconds: c.TimeoutSeconds,
	}
	if c.Async {
		r.Status, r.StartedAt = run.Queued, nil
	}
	if c.TimeoutSeconds != nil {
		deadline := now.Add(time.Duration(min(*c.TimeoutSeconds, maxTimeout) * float64(time.Second))).Truncate(time.Microsecond)
		r.DeadlineAt = &deadline
	}
	return r, nil
}

// maxTimeout keeps deadlines representable: a hundred years.
const maxTimeout = 100 * 365 * 24 * 3600.0

// creation renders the metadata that a run is created with. Paths are shown resolved.
func (s *Runs) creation(c *Creation) (json.RawMessage, error) {
	resolver := s.o.Specs.compiler.o.Resolver
	var path *string
	if c.Path != "" {
		full := c.Path
		if c.Inline == nil {
			var err error
			if full, err = resolver.Resolve(c.Path, spec.LabelSpecPath); err != nil {
				return nil, err
			}
		}
		path = &full
	}
	overlays := make([]string, len(c.Overlays))
	for i, o := range c.Overlays {
		full, err := resolver.Resolve(o, spec.LabelOverlay)
		if err != nil {
			return nil, err
		}
		overlays[i] = full
	}
	var o object
	o.optional("spec_path", path)
	o.raw("spec", c.Inline)
	o.text("target", c.Target)
	o.optional("environment", c.Environment)
	o.list("overlays", overlays)
	o.raw("overrides", orEmpty(c.Overrides))
	o.raw("skills_overlay", c.skillsOverlay())
	o.raw("timeout_seconds", c.timeout())
	o.raw("caller_metadata", orEmpty(c.Metadata))
	return o.bytes(), nil
}

func (c *Creation) skillsOverlay() []byte {
	if !c.SkillsGiven {
		return nil
	}
	var o object
	o.list("add", c.Skills.Add)
	o.list("disable", c.Skills.Disable)
	return o.bytes()
}

func (c *Creation) timeout() []byte {
	if c.TimeoutSeconds == nil {
		return nil
	}
	text, err := json.Marshal(*c.TimeoutSeconds)
	if err != nil {
		return nil
	}
	return text
}

// auditMetadata is what the audit trail says about the creation. The session is shown (decision W9).
func (c *Creation) auditMetadata() []byte {
	var o object
	if c.AuditEvent == "spec.run" {
		o.text("target", c.Target)
		o.raw("spec_path", masked(c.shownPath()))
		o.boolean("inline_spec", c.Inline != nil)
		o.optional("environment", c.Environment)
		if c.Async {
			o.text("status", string(run.Queued))
			o.boolean("async_mode", true)
		} else {
			o.text("status", string(run.Running))
		}
		return o.bytes()
	}
	o.boolean("async_mode", c.Async)
	o.text("target", c.Target)
	o.raw("spec_path", masked(c.shownPath()))
	o.boolean("inline_spec", c.Inline != nil)
	o.optional("environment", c.Environment)
	o.optional("session_id", c.SessionID)
	o.raw("metadata", redact.JSON(orEmpty(c.Metadata)))
	if !c.Skills.IsZero() {
		o.raw("skills_overlay", c.skillsOverlay())
	}
	return o.bytes()
}

func masked(s *string) []byte {
	if s == nil {
		return nil
	}
	return run.AppendString(nil, redact.Text(*s))
}

func orEmpty(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}

func (s *Runs) startCheckpoint(r *run.Run) run.Checkpoint {
	var o object
	o.text("target", r.Target)
	o.optional("environment", r.Environment)
	o.raw("timeout_seconds", member(r.Creation, "timeout_seconds"))
	o.raw("deadline_at", run.AppendEpoch(nil, r.DeadlineAt))
	return run.Checkpoint{
		ID: id.New(), RunID: r.ID, Type: run.CheckpointRunStarted, Iteration: 1, State: record.State(r), TraceEvents: json.RawMessage("[]"),
		Metadata: o.bytes(), CreatedAt: r.CreatedAt,
	}
}

// inProgress is the answer to a key whose first request still runs.
func inProgress(cause error) error {
	return problem.Wrap(cause, problem.IdempotencyKeyInProgress,
		"A request with this Idempotency-Key is already in progress; retry shortly to get its result.").After(1)
}

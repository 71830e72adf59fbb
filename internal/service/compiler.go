package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/maphash"
	"slices"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/kneo-go/kneo/internal/compile"
	"github.com/kneo-go/kneo/internal/handler"
	"github.com/kneo-go/kneo/internal/plan"
	"github.com/kneo-go/kneo/internal/policy"
	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/spec"
)

// CompilerOptions bind specs to this deployment.
type CompilerOptions struct {
	Resolver *spec.Resolver
	// Handlers knows the registered code.
	Handlers handler.Catalog
	// ForceDummy binds every agent to the dummy provider.
	ForceDummy bool
	// Secrets, when not nil, must hold the key of every provider that a spec names.
	Secrets secret.Resolver
	// Signatures decide on signed bundles.
	Signatures Signatures
	// CacheEntries bounds the cache.
	CacheEntries int
}

// Compiler turns spec sources into plans. What it did for an inline spec is remembered under the text of the request. It is safe for concurrent use.
type Compiler struct {
	o     CompilerOptions
	cache *lru.Cache[uint64, *build]
	seed  maphash.Seed
	plans *lru.Cache[string, *plan.Plan]
}

// NewCompiler returns a compiler.
func NewCompiler(o CompilerOptions) (*Compiler, error) {
	if len(o.Signatures.Environments) > 0 && o.Signatures.Key == "" {
		return nil, errNoSigningKey
	}
	cache, err := lru.New[uint64, *build](max(o.CacheEntries, 1))
	if err != nil {
		return nil, err
	}
	plans, err := lru.New[string, *plan.Plan](max(o.CacheEntries, 1))
	if err != nil {
		return nil, err
	}
	return &Compiler{o: o, cache: cache, seed: maphash.MakeSeed(), plans: plans}, nil
}

// open reads the layers of a source. missing is the text of a request that names no spec.
func (c *Compiler) open(src SpecSource, missing string) (*build, error) {
	if src.Inline == nil && src.Path == "" {
		return nil, problem.New(problem.InvalidRequest, "%s", missing)
	}
	cached := src.Inline != nil && len(src.Overlays) == 0
	if cached {
		if b, ok := c.cache.Get(src.hash(c.seed)); ok && b.source.equal(&src) {
			return b, nil
		}
	}
	req := spec.Request{SpecPath: src.Path, Overlays: src.Overlays, Environment: src.environment(), SkillsOverlay: src.Skills}
	var err error
	if src.Inline != nil {
		if req.Spec, err = spec.FromJSON(src.Inline, spec.Limits{}); err != nil {
			return nil, spec.AsProblem(err)
		}
	}
	if len(src.Overrides) > 0 {
		if req.Overrides, err = spec.FromJSON(src.Overrides, spec.Limits{}); err != nil {
			return nil, spec.AsProblem(err)
		}
	}
	in, err := c.o.Resolver.Inputs(req)
	if err != nil {
		return nil, err
	}
	signed, err := c.o.Signatures.unwrap(&in)
	if err != nil {
		return nil, err
	}
	b := &build{compiler: c, in: in, signed: signed}
	if cached {
		b.source = &src
	}
	return b, nil
}

// hash is where a source without files is in the cache of a process; equal tells whether it is the one that is there.
func (s *SpecSource) hash(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range [][]byte{s.Inline, s.Overrides, []byte(s.environment())} {
		maphash.WriteComparable(&h, len(part))
		_, _ = h.Write(part)
	}
	for _, list := range [][]string{s.Skills.Add, s.Skills.Disable} {
		_, _ = h.Write(run.AppendStrings(nil, list))
	}
	return h.Sum64()
}

func (s *SpecSource) equal(o *SpecSource) bool {
	return bytes.Equal(s.Inline, o.Inline) && bytes.Equal(s.Overrides, o.Overrides) && s.environment() == o.environment() &&
		slices.Equal(s.Skills.Add, o.Skills.Add) && slices.Equal(s.Skills.Disable, o.Skills.Disable)
}

// thaw opens the inputs of a stored snapshot.
func (c *Compiler) thaw(s run.Snapshot) (*build, error) {
	frozen, err := spec.Open(s.Inputs)
	if err != nil {
		return nil, err
	}
	return &build{compiler: c, in: frozen.Inputs, skills: &frozen.Skills}, nil
}

// Plan returns the plan of a stored snapshot; one of another format is built again from the frozen inputs. The result is shared and must not be changed.
func (c *Compiler) Plan(ctx context.Context, s run.Snapshot) (*plan.Plan, error) {
	if p, ok := c.plans.Get(s.Digest); ok {
		return p, nil
	}
	p, err := plan.Parse(s.Plan)
	if err != nil {
		b, err := c.thaw(s)
		if err != nil {
			return nil, err
		}
		if p, _, err = b.plan(ctx, true); err != nil {
			return nil, err
		}
	}
	c.plans.Add(s.Digest, p)
	return p, nil
}

// build is one set of inputs and what was made of it so far.
type build struct {
	compiler *Compiler
	in       spec.Inputs
	// signed tells that a signature covers the whole spec.
	signed bool
	// skills are the frozen skills of a snapshot; nil means that they are read from disk.
	skills *spec.OrderedMap[*spec.LoadedSkill]
	// source is what the build was made of, nil when it does not belong into the cache.
	source *SpecSource

	mu       sync.Mutex
	checked  bool
	doc      *spec.Document
	found    spec.Diagnostics
	checkErr error
	planned  *plan.Plan
	built    spec.Diagnostics
	snapshot *run.Snapshot
	reported *policy.Report
}

// document returns the checked document, nil when the schema does not hold, with the diagnostics of checking.
func (b *build) document() (*spec.Document, spec.Diagnostics, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.check()
}

func (b *build) check() (*spec.Document, spec.Diagnostics, error) {
	if !b.checked {
		b.doc, b.found, b.checkErr = b.in.Check(spec.ValidateOptions{})
		b.checked = true
		// A build that reads skills is not remembered: their files may change.
		if b.source != nil && b.checkErr == nil && (b.doc == nil || b.doc.Skills.Len() == 0) {
			b.compiler.cache.Add(b.source.hash(b.compiler.seed), b)
		}
	}
	return b.doc, b.found, b.checkErr
}

// report returns the policy report; its Valid is false when the schema does not hold.
func (b *build) report() (*policy.Report, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	doc, found, err := b.check()
	if err != nil {
		return nil, err
	}
	if b.reported == nil {
		b.reported = policy.NewReport(doc, found)
	}
	return b.reported, nil
}

// plan builds the document and returns all diagnostics. strict refuses semantic errors.
func (b *build) plan(ctx context.Context, strict bool) (*plan.Plan, spec.Diagnostics, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	doc, found, err := b.check()
	switch {
	case err != nil:
		return nil, nil, err
	case doc == nil || strict && found.HasErrors():
		return nil, found, invalidSpec(found)
	}
	if err := b.compile(doc); err != nil {
		return nil, found, err
	}
	all := slices.Concat(found, b.built)
	if b.planned == nil {
		return nil, all, refused(all)
	}
	if err := b.compiler.requireSecrets(ctx, b.planned); err != nil {
		return nil, all, err
	}
	return b.planned, all, nil
}

// compile fills planned and built. A failure is tried again next time, because a handler may have come.
func (b *build) compile(doc *spec.Document) error {
	if b.planned != nil {
		return nil
	}
	if b.skills == nil {
		loaded, err := b.compiler.o.Resolver.LoadSkills(doc)
		if err != nil {
			return err
		}
		b.skills = &loaded
	}
	skills := make(map[string]compile.Skill, b.skills.Len())
	for name, s := range b.skills.All() {
		skills[name] = compile.Skill{Instructions: s.Instructions, Strict: s.Strict, Tools: skillTools(s), Defaults: s.Defaults()}
	}
	b.planned, b.built = compile.Compile(doc, compile.Options{Handlers: b.compiler.o.Handlers, Skills: skills, ForceDummy: b.compiler.o.ForceDummy})
	return nil
}

func skillTools(s *spec.LoadedSkill) []plan.SkillTool {
	if !s.Strict || s.Tools == nil {
		return nil
	}
	var out []plan.SkillTool
	for _, t := range s.Tools.Items {
		out = append(out, plan.SkillTool{Name: t.Get("name").Text(), Description: t.Get("description").Text(), Parameters: t.Get("parameters").JSON()})
	}
	return out
}

// freeze returns the snapshot of a build whose plan succeeded.
func (b *build) freeze() (run.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.snapshot != nil {
		return *b.snapshot, nil
	}
	frozen := spec.Freeze(b.in, *b.skills)
	encoded, err := b.planned.Encode()
	if err != nil {
		return run.Snapshot{}, err
	}
	s := run.Snapshot{Digest: frozen.Digest, Frozen: json.RawMessage(frozen.Snapshot.Public()), Inputs: frozen.Data, Plan: encoded}
	if b.compiler.o.ForceDummy {
		// The same inputs have another plan here, so they have another name.
		sum := sha256.Sum256([]byte("force-dummy:" + s.Digest))
		s.Digest = hex.EncodeToString(sum[:])
	}
	b.compiler.plans.Add(s.Digest, b.planned)
	b.snapshot = &s
	return s, nil
}

// requireSecrets refuses a plan whose providers lack their keys, where the deployment wants that.
func (c *Compiler) requireSecrets(ctx context.Context, p *plan.Plan) error {
	if c.o.Secrets == nil {
		return nil
	}
	agents := []*plan.Agent{p.Root}
	for _, name := range p.AgentOrder {
		agents = append(agents, p.Agents[name])
	}
	for _, a := range agents {
		rt := a.Runtime
		if rt.Provider == "dummy" || rt.Provider == "ollama" || rt.HasInlineKey || rt.BaseURL != "" && rt.APIKeyRef == "" {
			continue
		}
		ref := rt.APIKeyRef
		if ref == "" {
			ref = secret.ProviderVariable(rt.Provider)
		}
		if _, err := secret.Require(ctx, c.o.Secrets, "provider:"+rt.Provider, ref); err != nil {
			return err
		}
	}
	return nil
}

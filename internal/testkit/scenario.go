package testkit

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/kneo-go/kneo/internal/engine"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/runner"
)

// Scenario is one run with what people do and what must come out.
type Scenario struct {
	Name   string    `yaml:"name"`
	Spec   yaml.Node `yaml:"spec"`
	Input  string    `yaml:"input"`
	Target string    `yaml:"target"`
	// Usage makes every model call report that many input and output tokens.
	Usage int64 `yaml:"usage"`
	// Then are the actions after the first leg, in order.
	Then   []Act  `yaml:"then"`
	Expect Expect `yaml:"expect"`
	// Crash is false for scenarios whose outcome depends on when a process dies.
	Crash *bool `yaml:"crash"`
	// InFlight is how many calls can be in flight at once; 0 means 1.
	InFlight int `yaml:"in_flight"`
}

// Act is one action: an answer to the pending task, or a continuation.
type Act struct {
	Decide   string  `yaml:"decide"`
	Content  *string `yaml:"content"`
	Option   *string `yaml:"option"`
	Continue bool    `yaml:"continue"`
}

// Expect is what must come out; empty parts are not compared.
type Expect struct {
	Status   string   `yaml:"status"`
	Response string   `yaml:"response"`
	Output   *string  `yaml:"output"`
	Error    string   `yaml:"error"`
	Message  string   `yaml:"message"`
	Rows     []string `yaml:"rows"`
	// AnyRows compares without order, for concurrent branches.
	AnyRows  []string       `yaml:"any_rows"`
	Trace    []string       `yaml:"trace"`
	Visited  []string       `yaml:"visited"`
	Messages []string       `yaml:"messages"`
	Calls    map[string]int `yaml:"calls"`
	Meta     map[string]any `yaml:"meta"`
	Tokens   int64          `yaml:"tokens"`
	Problem  string         `yaml:"problem"`
}

// LoadScenarios reads every YAML file of a folder; each holds a list.
func LoadScenarios(t testing.TB, dir string) []Scenario {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(files)
	var all []Scenario
	for _, f := range files {
		data, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		var list []Scenario
		if err := yaml.Unmarshal(data, &list); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		base := strings.TrimSuffix(filepath.Base(f), ".yaml")
		for i := range list {
			list[i].Name = base + "/" + list[i].Name
		}
		all = append(all, list...)
	}
	return all
}

// SpecText is the spec with the standard components: functions upper, bracket, identity, classify, flaky, slow, fail, notes and noleak, and agents a, b, c.
// Agents without a model get the given one, unless it is nil.
func (s *Scenario) SpecText(t testing.TB, model map[string]any) string {
	t.Helper()
	var doc map[string]any
	if err := s.Spec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc["version"] == nil {
		doc["version"] = "v1"
	}
	if doc["agent"] == nil {
		doc["agent"] = map[string]any{"name": "root"}
	}
	components, _ := doc["components"].(map[string]any)
	if components == nil {
		components = map[string]any{}
	}
	agents, _ := components["agents"].(map[string]any)
	if agents == nil {
		agents = map[string]any{}
	}
	for _, n := range []string{"a", "b", "c"} {
		if agents[n] == nil {
			agents[n] = map[string]any{"name": n}
		}
	}
	if model != nil {
		bindModel(doc["agent"], model)
		for _, a := range agents {
			bindModel(a, model)
		}
	}
	functions := map[string]any{}
	for _, n := range []string{"upper", "bracket", "identity", "classify", "flaky", "slow", "fail", "notes", "noleak"} {
		functions[n] = map[string]any{"implementation": "kit.functions." + n}
	}
	components["agents"], components["functions"] = agents, functions
	if components["humans"] == nil {
		components["humans"] = map[string]any{"h": map[string]any{"description": "Check"}}
	}
	doc["components"] = components
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func bindModel(agent any, model map[string]any) {
	if a, ok := agent.(map[string]any); ok && a["model"] == nil && a["as_agent"] == nil {
		a["model"] = model
	}
}

// Result is what a scenario ended with.
type Result struct {
	RunID   string
	Last    runner.Outcome
	Commits int
	Calls   int
	Crashes int
}

// Play runs a scenario. Every life kills a process after that many commits, and a fresh one goes on; the last one lives on.
func (b *Bench) Play(s *Scenario, lives ...int) Result {
	b.t.Helper()
	b.Handlers.UseTokens(s.Usage)
	snapshot := b.Compile(s.SpecText(b.t, nil))
	target := s.Target
	if target == "" {
		target = "workflow"
	}
	p := &player{b: b, lives: lives}
	p.e = b.Executor(p.life())
	p.do(func() (run.Claimed, error) { return p.e.Create(snapshot, target, s.Input, run.ModeInline) })
	for _, act := range s.Then {
		p.do(func() (run.Claimed, error) {
			if act.Continue {
				return p.e.Continue(p.res.RunID)
			}
			return p.e.Resume(p.res.RunID, engine.Decision{Decision: act.Decide, Content: act.Content, SelectedOption: act.Option})
		})
	}
	p.res.Commits += p.e.Store.Commits()
	p.res.Calls = b.Handlers.Total()
	return p.res
}

type player struct {
	b     *Bench
	e     *Executor
	lives []int
	res   Result
}

// life is how many commits the next process lives; 0 is for ever.
func (p *player) life() int {
	if len(p.lives) == 0 {
		return 0
	}
	n := p.lives[0]
	p.lives = p.lives[1:]
	return n
}

// do starts a leg and sees it through, whatever dies on the way.
func (p *player) do(start func() (run.Claimed, error)) {
	p.b.t.Helper()
	ctx := context.Background()
	claimed, err := start()
	if claimed.Run.ID != "" {
		p.res.RunID = claimed.Run.ID
	}
	if err == nil {
		p.res.Last = p.e.Execute(ctx, claimed, nil)
	} else if !p.e.Store.Dead() {
		p.b.t.Fatal(err)
	}
	for p.e.Store.Dead() {
		p.res.Crashes++
		p.res.Commits += p.e.Store.Commits()
		p.e = p.b.Executor(p.life())
		legs, err := p.e.Recover()
		if err != nil {
			p.b.t.Fatal(err)
		}
		for _, c := range legs {
			p.res.RunID = c.Run.ID
			p.res.Last = p.e.Execute(ctx, c, nil)
		}
	}
	if p.res.Last.Err != nil && p.res.Crashes == 0 {
		p.b.t.Fatalf("leg: %v", p.res.Last.Err)
	}
}

// Check compares the result with what the scenario expects. A crash may add repeated calls; they are not compared then.
func (b *Bench) Check(s *Scenario, r Result) {
	b.t.Helper()
	x, row := s.Expect, b.Row(r.RunID)
	eq := func(what string, got, want any) {
		b.t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			b.t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	eq("status", row.Status, x.Status)
	if x.Response != "" && r.Crashes == 0 {
		eq("response status", r.Last.Status, x.Response)
	}
	if x.Output != nil {
		got := "<nil>"
		if row.Output != nil {
			got = *row.Output
		}
		eq("output", got, *x.Output)
	}
	failure := run.Failure{}
	if row.Error != nil {
		failure = *row.Error
	}
	eq("error type", failure.Type, x.Error)
	if x.Message != "" {
		eq("error message", failure.Message, x.Message)
	}
	b.checkHistory(&x, r, &row, eq)
	if x.Problem != "" && r.Crashes == 0 {
		if r.Last.Problem == nil {
			b.t.Errorf("no problem, want %s", x.Problem)
		} else {
			eq("problem", r.Last.Problem.Code, x.Problem)
		}
	}
	b.checkEvents(r.RunID, string(row.Status))
	if x.Tokens > 0 {
		if row.Usage == nil {
			b.t.Error("no usage")
		} else {
			eq("tokens", row.Usage.TotalTokens, x.Tokens)
		}
	}
}

// checkEvents compares the live events with what every follower may rely on, also after a crash: numbers without gaps, readable from any of them, and
// the outcome last.
func (b *Bench) checkEvents(runID, status string) {
	b.t.Helper()
	ctx := context.Background()
	all, err := b.Base.Events(ctx, runID, 0, 1000)
	if err != nil || len(all) == 0 {
		b.t.Fatalf("%d events, %v", len(all), err)
	}
	for i := range all {
		if all[i].Sequence != int64(i)+1 {
			b.t.Errorf("event %d has the number %d", i+1, all[i].Sequence)
		}
	}
	if end := all[len(all)-1].Kind; end != status {
		b.t.Errorf("the last event is %s, the run is %s", end, status)
	}
	middle := int64(len(all) / 2)
	rest, err := b.Base.Events(ctx, runID, middle, 1000)
	if err != nil || int64(len(rest)) != int64(len(all))-middle || len(rest) > 0 && rest[0].Sequence != middle+1 {
		b.t.Errorf("%d of %d events after number %d, %v", len(rest), len(all), middle, err)
	}
}

func (b *Bench) checkHistory(x *Expect, r Result, row *run.Run, eq func(string, any, any)) {
	b.t.Helper()
	if x.Rows != nil {
		eq("rows", b.Rows(r.RunID), x.Rows)
	}
	if x.AnyRows != nil {
		got, want := b.Rows(r.RunID), slices.Clone(x.AnyRows)
		slices.Sort(got)
		slices.Sort(want)
		eq("rows (any order)", got, want)
	}
	if x.Trace != nil {
		eq("trace", b.Trace(r.RunID), x.Trace)
	}
	if x.Visited != nil {
		if got := fmt.Sprint(row.VisitedNodes); got != fmt.Sprint(x.Visited) { // a nested workflow of the other kind leaves its own list
			eq("visited", row.VisitedSteps, x.Visited)
		}
	}
	if x.Messages != nil {
		var list []run.Message
		if err := json.Unmarshal(row.Messages, &list); err != nil {
			b.t.Error(err)
		}
		var got []string
		for _, m := range list {
			got = append(got, m.Role+": "+m.Content)
		}
		eq("messages", got, x.Messages)
	}
	if r.Crashes == 0 {
		for name, n := range x.Calls {
			eq("calls of "+name, b.Handlers.Calls(name), n)
		}
	}
	var progress map[string]any
	if err := json.Unmarshal(row.Progress, &progress); err != nil {
		b.t.Error(err)
	}
	for k, want := range x.Meta {
		got, err := json.Marshal(progress[k])
		if err != nil {
			b.t.Error(err)
		}
		exp, err := json.Marshal(want)
		if err != nil {
			b.t.Error(err)
		}
		eq("metadata."+k, string(got), string(exp))
	}
}

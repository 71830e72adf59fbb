package providers

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v4"

	"github.com/kneo-go/kneo/internal/llm"
	"github.com/kneo-go/kneo/internal/llm/catalog"
	"github.com/kneo-go/kneo/internal/llm/exchange"
	"github.com/kneo-go/kneo/internal/llm/llmtest"
	"github.com/kneo-go/kneo/internal/run"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/store/sqlite"
	"github.com/kneo-go/kneo/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// wires are the wire formats, whole and streamed; the first one is what others are compared with.
var wires = []wire{
	{"openai", false},
	{"anthropic", false},
	{"google", false},
	{"ollama", false},
	{"openai", true},
	{"anthropic", true},
	{"google", true},
	{"ollama", true},
}

type wire struct {
	provider string
	stream   bool
}

// String names the wire in test names.
func (w wire) String() string {
	if w.stream {
		return w.provider + " streamed"
	}
	return w.provider
}

// turn is one answer of the model.
type turn struct {
	llmtest.Turn `yaml:",inline"`
	// Fails names an error that every provider words in its own way: context_length or content_filter.
	Fails string `yaml:"fails"`
}

// scenario is a run whose agents with "model: scripted" speak to the scripted model.
type scenario struct {
	testkit.Scenario `yaml:",inline"`
	Turns            []turn `yaml:"turns"`
	// Retries is the deployment's setting for model calls.
	Retries int `yaml:"retries"`
	// Asked is the number of requests that the model gets; nil means one per turn.
	Asked *int `yaml:"asked"`
	// Shown are lines of the last request, in this order and possibly with others between them.
	Shown []string `yaml:"shown"`
}

func load(t *testing.T) []scenario {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(files)
	var all []scenario
	for _, f := range files {
		data, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		var list []scenario
		if err := yaml.Unmarshal(data, &list); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for i := range list {
			list[i].Name = strings.TrimSuffix(f, ".yaml") + "/" + list[i].Name
		}
		all = append(all, list...)
	}
	return all
}

// worded gives an error the provider's own words.
func worded(t turn, provider string) llmtest.Turn {
	length := map[string]llmtest.Turn{
		"openai":    {Status: 400, Code: "context_length_exceeded", Message: "This model's maximum context length is 10 tokens."},
		"anthropic": {Status: 400, Code: "invalid_request_error", Message: "prompt is too long: 20 tokens > 10 maximum"},
		"google":    {Status: 400, Code: "INVALID_ARGUMENT", Message: "The input token count (20) exceeds the maximum number of tokens allowed (10)."},
	}
	filter := map[string]string{"openai": "content_filter", "anthropic": "refusal", "google": "SAFETY"}
	format := provider
	if provider == "ollama" {
		format = "openai"
	}
	switch t.Fails {
	case "context_length":
		return length[format]
	case "content_filter":
		t.Finish = filter[format]
	}
	return t.Turn
}

// bind points every agent with "model: scripted" at a server.
func bind(v any, provider, url string) {
	switch v := v.(type) {
	case map[string]any:
		switch m := v["model"].(type) {
		case string:
			if m == "scripted" {
				v["model"] = map[string]any{"provider": provider, "name": "m", "extra": map[string]any{"base_url": url}}
			}
		case map[string]any:
			if m["provider"] == "scripted" {
				extra, _ := m["extra"].(map[string]any)
				if extra == nil {
					extra = map[string]any{}
				}
				extra["base_url"] = url
				m["provider"], m["name"], m["extra"] = provider, "m", extra
			}
		}
		for _, item := range v {
			bind(item, provider, url)
		}
	case []any:
		for _, item := range v {
			bind(item, provider, url)
		}
	}
}

// seen is what must be the same whichever provider answered.
type seen struct {
	Status, Output, Failure string
	Rows, Trace             []string
	Thread                  string
	Usage                   run.Usage
	Conversations           [][]string
}

// TestSameRunOnEveryProvider plays every scenario on every provider.
func TestSameRunOnEveryProvider(t *testing.T) {
	scenarios := load(t)
	if len(scenarios) < 60 {
		t.Errorf("only %d scenarios", len(scenarios))
	}
	results := make([]map[string]seen, len(wires))
	t.Run("play", func(t *testing.T) {
		for i, w := range wires {
			results[i] = map[string]seen{}
			t.Run(w.String(), func(t *testing.T) {
				t.Parallel()
				playAll(t, w, results[i])
			})
		}
	})
	for i, w := range wires[1:] {
		for name, first := range results[0] {
			if d := cmp.Diff(first, results[i+1][name]); d != "" {
				t.Errorf("%s: %s differs from %s: %s", name, w, wires[0], d)
			}
		}
	}
}

func playAll(t *testing.T, w wire, results map[string]seen) {
	t.Helper()
	db, err := sqlite.New(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "runs.sqlite"), Normal: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range load(t) {
		t.Run(s.Name, func(t *testing.T) {
			b := testkit.NewBenchOn(t, db)
			b.Watched = w.stream
			results[s.Name] = play(t, b, w.provider, &s)
		})
	}
}

func play(t *testing.T, b *testkit.Bench, provider string, s *scenario) seen {
	t.Helper()
	turns := make([]llmtest.Turn, len(s.Turns))
	for i, turn := range s.Turns {
		turns[i] = worded(turn, provider)
	}
	server := llmtest.New(t, turns...)
	var doc map[string]any
	if err := s.Spec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	bind(doc, provider, server.URL)
	if err := s.Spec.Encode(doc); err != nil {
		t.Fatal(err)
	}
	options := catalog.Options(exchange.Policy{
		Retries: s.Retries, Transient: -1, Sleep: func(context.Context, time.Duration) error { return nil },
	})
	options.Secrets = secret.Map{}
	b.Models = llm.NewRegistry(options)
	r := b.Play(&s.Scenario, 0)
	b.Check(&s.Scenario, r)
	return look(t, b, provider, s, r, server.Requests())
}

func look(t *testing.T, b *testkit.Bench, provider string, s *scenario, r testkit.Result, requests []llmtest.Request) seen {
	t.Helper()
	row := b.Row(r.RunID)
	out := seen{Status: string(row.Status), Rows: b.Rows(r.RunID), Trace: b.Trace(r.RunID), Thread: thread(t, row.Messages, provider)}
	if row.Output != nil {
		out.Output = *row.Output
	}
	if row.Error != nil && !slices.ContainsFunc(s.Turns, func(t turn) bool { return t.Fails != "" || t.Raw != "" }) {
		out.Failure = row.Error.Type + ": " + named(row.Error.Message, provider)
	}
	if row.Usage != nil {
		out.Usage = *row.Usage
	}
	for _, q := range requests {
		lines := conversation(q)
		if last := len(lines) - 1; lines[last] == urge {
			lines = lines[:last]
		}
		for i, l := range lines {
			lines[i] = named(l, provider)
		}
		out.Conversations = append(out.Conversations, lines)
	}
	if s.InFlight > 1 { // branches reach the model in any order
		sort.Slice(out.Conversations, func(i, j int) bool {
			return strings.Join(out.Conversations[i], "\n") < strings.Join(out.Conversations[j], "\n")
		})
		slices.Sort(out.Rows)
		slices.Sort(out.Trace)
	}
	asked := len(s.Turns)
	if s.Asked != nil {
		asked = *s.Asked
	}
	if len(requests) != asked {
		t.Errorf("the model was asked %d times, want %d", len(requests), asked)
	}
	if len(requests) > 0 {
		shown := out.Conversations[len(out.Conversations)-1]
		rest := shown
		for _, want := range s.Shown {
			i := slices.Index(rest, want)
			if i < 0 {
				t.Errorf("the model was not shown %q in order: %q", want, shown)
				break
			}
			rest = rest[i+1:]
		}
	}
	return out
}

// urge is the turn that adapters add for protocols in which the user must have the last word.
const urge = "user: Go on."

// named replaces the provider's name in front of its errors.
func named(text, provider string) string {
	return strings.ReplaceAll(text, provider+": ", "<provider>: ")
}

// thread renders a run's messages without the ids of calls, which providers invent, and with arguments in one order.
func thread(t *testing.T, raw json.RawMessage, provider string) string {
	t.Helper()
	var list []run.Message
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(errors.Join(err, errors.New(string(raw))))
	}
	for i := range list {
		list[i].ToolCallID = nil
		for k := range list[i].ToolCalls {
			c := &list[i].ToolCalls[k]
			c.ID, c.Arguments = "", json.RawMessage(canonical(string(c.Arguments)))
		}
	}
	return named(string(run.AppendMessages(nil, list)), provider)
}

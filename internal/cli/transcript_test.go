package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// invocations are typed one after another. $RUN, $TASK and $REQUEST are the run, task and request that the last answer with one told.
var invocations = []string{
	"--version",
	"frobnicate",
	"runs",
	"run hello.yaml",
	"run hello.yaml --input Hi --json",
	"run --input Hi hello.yaml",
	"run -i Hi --target agent --env prod pipeline.yaml --json",
	"run absent.yaml -i x",
	"run broken.yaml -i x",
	"run broken.yaml -i x --json",
	"run hello.yaml -i x --target nobody --json",
	"runs get $RUN --json",
	"runs get $RUN",
	"runs get nope",
	"runs get nope --json",
	"runs get",
	"runs trace $RUN --json",
	"runs trace $RUN",
	"runs checkpoints $RUN",
	"runs checkpoints $RUN --json",
	"runs replay $RUN --json",
	"runs replay $RUN",
	"runs checkpoint-diff $RUN --from-sequence 1 --to-sequence 2",
	"runs checkpoint-diff $RUN --json",
	"runs recovery $RUN",
	"runs graph $RUN --format mermaid",
	"runs policy-report $RUN --json",
	"runs continue $RUN",
	"runs watch $RUN",
	"runs wait $RUN --json",
	"runs cancel $RUN",
	"runs list --status completed --sort-by created_at --sort-order asc",
	"runs list --status nonsense --json",
	"run approval.yaml --input refund --json",
	"runs wait $RUN",
	"human list --json",
	"human list",
	"human get $TASK",
	"human get $TASK --json",
	"human get nope",
	"human resume $TASK --approve",
	"human resume $TASK --request-id $REQUEST",
	"human resume $TASK --request-id $REQUEST --approve --reject",
	"human resume $TASK --request-id $REQUEST --edit better --json",
	"human resume $TASK --request-id $REQUEST --approve",
	"run approval.yaml --input refund",
	"runs list --status blocked --json",
	"run approval.yaml --input again --json",
	"runs cancel $RUN --json",
	"spec validate hello.yaml",
	"spec validate hello.yaml --json",
	"spec validate broken.yaml",
	"spec validate broken.yaml --json",
	"spec validate hello.yaml broken.yaml --json",
	"spec validate -",
	"spec lint hello.yaml",
	"spec lint triage.yaml --json",
	"spec lint broken.yaml",
	"spec compile pipeline.yaml",
	"spec compile pipeline.yaml --json",
	"spec compile broken.yaml",
	"spec explain pipeline.yaml --json",
	"spec explain pipeline.yaml",
	"spec graph triage.yaml --json",
	"spec policy-report approval.yaml",
	"policy put staging --require-guardrails --block E_SCHEMA",
	"policy get staging --json",
	"policy list",
	"policy preview staging --require-human-review",
	"run hello.yaml -i x --env staging",
	"audit list --event-type policy.changed --json",
	"skills list --json",
	"credentials --provider openai --json",
}

var normal = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<id>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?`), "<time>"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d\.\d+`), "<clock>"},
	{regexp.MustCompile(`"(expires_at|created_at|escalated_at|lag|duration_ms)": \d+(\.\d+)?`), `"$1": <number>`},
	{regexp.MustCompile(`"(value|before|after)": \d+\.\d+`), `"$1": <number>`},
	{regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d\b`), "<minute>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<digest>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<address>"},
}

// normalised hides what differs from one run of the test to the next; ids and times have one length, so tables and panels stay as they are.
func normalised(m *machine, text string) string {
	text = strings.ReplaceAll(text, m.dir, "<dir>")
	for _, n := range normal {
		text = n.pattern.ReplaceAllString(text, n.to)
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

// remember takes ids out of an answer.
func remember(known map[string]string, out string) {
	var answer struct {
		RunID          string  `json:"run_id"`
		ContinuationID *string `json:"continuation_id"`
		Tasks          []struct {
			ID      string `json:"id"`
			Request struct {
				ID string `json:"id"`
			} `json:"pending_human_request"`
		} `json:"tasks"`
	}
	if json.Unmarshal([]byte(out), &answer) != nil {
		return
	}
	if answer.RunID != "" {
		known["$RUN"] = answer.RunID
	}
	if answer.ContinuationID != nil {
		known["$TASK"] = *answer.ContinuationID
	}
	if len(answer.Tasks) > 0 {
		known["$TASK"], known["$REQUEST"] = answer.Tasks[0].ID, answer.Tasks[0].Request.ID
	}
}

const brokenSpec = `version: v1
agent:
  name: a
workflow:
  type: sequential
  name: w
  steps:
    - id: one
      kind: agent
      ref: nobody
`

// transcript types all invocations; more is added to those that talk to a service.
func transcript(t *testing.T, m *machine, more ...string) string {
	t.Helper()
	m.write(t, "broken.yaml", brokenSpec)
	m.in = "version: v1\nagent: { name: typed }\n"
	known := map[string]string{}
	var b strings.Builder
	for _, line := range invocations {
		args := strings.Fields(line)
		for i, a := range args {
			if v, ok := known[a]; ok {
				args[i] = v
			}
		}
		if len(args) > 1 {
			args = append(args, more...)
		}
		r := m.kneo(t.Context(), args...)
		remember(known, r.out)
		fmt.Fprintf(&b, "$ kneo %s\n%s", line, normalised(m, r.out))
		if r.err != "" {
			fmt.Fprintf(&b, "[stderr]\n%s", normalised(m, r.err))
		}
		fmt.Fprintf(&b, "[exit %d]\n\n", r.code)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if that is meant:\n%s", path, diff)
	}
}

func TestLocalTranscript(t *testing.T) {
	golden(t, "local.txt", transcript(t, newMachine(t)))
}

func TestServiceTranscript(t *testing.T) {
	golden(t, "service.txt", transcript(t, newMachine(t), "--service-url", service(t, nil)))
}

// TestRESTTranscript talks to a proxy that knows HTTP/1 only; the transcript is that of gRPC, byte for byte.
func TestRESTTranscript(t *testing.T) {
	target, err := url.Parse(service(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	var agents []string
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		agents = append(agents, r.In.Header.Get("User-Agent"))
		r.SetURL(target)
	}, FlushInterval: -1})
	defer proxy.Close()
	got := transcript(t, newMachine(t), "--service-url", proxy.URL)
	golden(t, "service.txt", got)
	if !slices.Contains(agents, "kneo-cli/test") {
		t.Errorf("the proxy saw the clients %v", agents)
	}
}

package switching

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kneo-go/kneo/test/replica"
)

// TestSameAnswers types every line into this build and compares with what the reference said.
func TestSameAnswers(t *testing.T) {
	server := replica.Serve(t, t.TempDir(), map[string]string{"KNEO_SERV_API_KEYS": "ops:" + apiKey + ":admin", "KNEO_SERV_FORCE_DUMMY_PROVIDER": "true"})
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			want := load(t, m.name)
			got := m.transcript(t, m.open(t, project, server.URL, ours))
			if len(want) != len(got) {
				t.Fatalf("%d lines were recorded, there are %d; record again", len(want), len(got))
			}
			for i := range want {
				compare(t, m.name, want[i], got[i])
			}
		})
	}
}

func compare(t *testing.T, mode string, want, got answer) {
	t.Helper()
	known := differences[bare(want.Line)]
	if known.exit != nil {
		want.Exit = *known.exit
	}
	if want.Line != got.Line || want.Exit != got.Exit {
		t.Errorf("%s: kneo %s: exit %d, the reference's is %d", mode, got.Line, got.Exit, want.Exit)
	}
	var missing, more []string
	for _, w := range want.JSON {
		if !slices.Contains(got.JSON, w) && !match(known.missing, w) {
			missing = append(missing, w)
		}
	}
	for _, g := range got.JSON {
		if !slices.Contains(want.JSON, g) && !match(additions, g) && !match(known.more, g) {
			more = append(more, g)
		}
	}
	if len(missing)+len(more) > 0 {
		t.Errorf("%s: kneo %s:\nmissing %s\nadditional %s", mode, got.Line, strings.Join(missing, "\n  "), strings.Join(more, "\n  "))
	}
	if known.values {
		return
	}
	if diff := cmp.Diff(text(want.Values), text(got.Values)); diff != "" {
		t.Errorf("%s: kneo %s: values (-reference +this):\n%s", mode, got.Line, diff)
	}
	if diff := cmp.Diff(text(want.Wrote), text(got.Wrote)); diff != "" {
		t.Errorf("%s: kneo %s: the file (-reference +this):\n%s", mode, got.Line, diff)
	}
}

// bare is a line without the words that choose a service.
func bare(line string) string {
	for _, m := range modes {
		if m.service != "" {
			line = strings.ReplaceAll(line, " "+m.service, "")
		}
	}
	return line
}

func match(patterns []string, line string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		head, open := strings.CutSuffix(p, "*")
		return line == p || open && strings.HasPrefix(line, head)
	})
}

// difference is a known deviation of one line, and why.
type difference struct {
	why           string
	exit          *int
	missing, more []string
	values        bool
}

// additions are members that this platform adds everywhere: places of diagnostics.
var additions = []string{"$.diagnostics[].line: *", "$.diagnostics[].column: *", "$.report.diagnostics[].line: *", "$.report.diagnostics[].column: *"}

// stored are the parts of a stored record that are free-form notes of the process which executed the run, not of the run. The trace is in the trace.
var stored = []string{
	"$.metadata.trace*", "$.metadata.continuation_id*", "$.metadata.human_intervention_required*", "$.metadata.pending_step_id*", "$.metadata.request*",
	"$.metadata.step_iteration_counts.*", "$.checkpoints[].state.metadata.*", "$.session_id: *", "$.checkpoints[].state.session_id: *", "$.current_step_index: *",
}

const (
	notes      = "the notes of the executing process are not repeated in the metadata; a missing session is null, not masked (W9)"
	deletion   = "a deletion in an overlay of what is not there: the reference keeps the marker as a value and refuses the spec"
	disclosure = "the reference masks a part of its own message"
)

func exit(code int) *int { return &code }

// differences are keyed by the line without the words that choose a service.
var differences = map[string]difference{
	"runs get $RUN --json":                                        {why: notes, missing: stored, more: stored},
	"runs checkpoints $RUN --json":                                {why: notes, missing: stored, more: stored},
	"runs cancel $RUN --json":                                     {why: notes, missing: stored, more: stored},
	"spec policy-report specs/approval.yaml --env staging --json": {why: deletion, exit: exit(0), more: []string{"*"}},
	"spec bundle verify bundles/tampered.json --json":             {why: disclosure, values: true},
}

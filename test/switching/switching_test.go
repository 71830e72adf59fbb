// Package switching uses a project that the reference made (its config, profiles, specs, overlays and signed bundles) unchanged, and compares what
// the commands answer with what the reference answered. testdata was recorded once:
//
//	go test ./test/switching -run TestRecord -reference /path/to/kneo
//
// The tests themselves need neither the reference nor a network.
package switching

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/kneo-go/kneo/internal/cli"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/test/replica"
)

var reference = flag.String("reference", "", "the kneo command of the reference; records testdata again")

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

const (
	// signingKey signs the bundles of the project.
	signingKey = "a key for tests"
	// apiKey is in the profile; the service accepts it.
	apiKey = "optok"
	// recordedURL stands in the recorded profiles for the address of the service.
	recordedURL = "http://127.0.0.1:8000"
	// localConfig is the project's config without an address, so that commands work in their own process.
	localConfig = "kneo_local.yaml"
)

// answer is what one command left behind.
type answer struct {
	// Line is the command without the word kneo.
	Line string `json:"line"`
	// Exit is the exit code.
	Exit int `json:"exit"`
	// JSON lists "path: type" of standard output, when that is JSON.
	JSON []string `json:"json,omitempty"`
	// Values are the values of these, where they are the same each time.
	Values any `json:"values,omitempty"`
	// Wrote is what the command wrote into the file after -o.
	Wrote any `json:"wrote,omitempty"`
}

// place is a copy of the project, and a way to type commands in it.
type place struct {
	dir   string
	env   map[string]string
	known map[string]string
	run   func(dir string, env map[string]string, args []string) (stdout string, code int)
}

// ask types one line. "@sub " at its start stands for a folder below the project; words like $RUN for ids that were seen before.
func (p *place) ask(t *testing.T, line string) answer {
	t.Helper()
	dir, rest := p.dir, line
	if strings.HasPrefix(line, "@") {
		var sub string
		sub, rest, _ = strings.Cut(line[1:], " ")
		dir = filepath.Join(p.dir, sub)
	}
	args := strings.Fields(rest)
	for i, a := range args {
		if v, ok := p.known[a]; ok {
			args[i] = v
		}
	}
	out, code := p.run(dir, p.env, args)
	got := answer{Line: line, Exit: code}
	var v any
	if json.Unmarshal([]byte(out), &v) == nil {
		got.JSON = shape(v)
		p.remember(v)
		if constant(rest) {
			got.Values = p.neutral(v)
		}
	}
	if i := slices.Index(args, "-o"); i >= 0 && code == 0 {
		got.Wrote = p.neutral(p.read(t, filepath.Join(dir, args[i+1])))
	}
	return got
}

// constant tells whether a command answers with the same values each time.
func constant(line string) bool {
	return strings.HasPrefix(line, "config ") || strings.HasPrefix(line, "spec explain") || strings.HasPrefix(line, "spec compile") ||
		strings.HasPrefix(line, "spec migrate") || strings.HasPrefix(line, "spec bundle verify")
}

// read reads a YAML or JSON file.
func (p *place) read(t *testing.T, path string) any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(path, err)
	}
	return v
}

// neutral hides folders, addresses and times, and gives numbers one type.
func (p *place) neutral(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	clean := strings.ReplaceAll(string(text), p.dir, "<project>")
	clean = strings.ReplaceAll(clean, p.known["$URL"], "<service>")
	var out any
	if err := json.Unmarshal([]byte(clean), &out); err != nil {
		return err.Error()
	}
	if m, ok := out.(map[string]any); ok {
		if meta, ok := m["metadata"].(map[string]any); ok && meta["created_at"] != nil {
			meta["created_at"] = "<time>"
			m["signature"].(map[string]any)["value"] = "<signature>"
		}
	}
	return out
}

// remember keeps ids for the lines that follow.
func (p *place) remember(v any) {
	m, _ := v.(map[string]any)
	if id, ok := m["run_id"].(string); ok {
		p.known["$RUN"] = id
	}
	if id, ok := m["continuation_id"].(string); ok {
		p.known["$TASK"] = id
	}
	if request, ok := m["request"].(map[string]any); ok {
		p.known["$REQUEST"], _ = request["id"].(string)
	}
}

// shape lists the members of a JSON value with their types; the items of a list count together.
func shape(v any) []string {
	found := map[string]bool{}
	walk(found, "$", v)
	return slices.Sorted(maps.Keys(found))
}

func walk(found map[string]bool, path string, v any) {
	kind := "null"
	switch v := v.(type) {
	case map[string]any:
		kind = "object"
		for k, item := range v {
			walk(found, path+"."+k, item)
		}
	case []any:
		kind = "list"
		for _, item := range v {
			walk(found, path+"[]", item)
		}
	case string:
		kind = "text"
	case float64:
		kind = "number"
	case bool:
		kind = "bool"
	}
	found[path+": "+kind] = true
}

// lines are the invocations of the command reference. Where $S stands, the local transcript leaves it out and the service's says which service.
var lines = []string{
	"frobnicate", "run", "runs", "human", "spec", "config", "config profile", "service", "spec bundle",
	"config show --json", "config resolve --json", "config resolve --env prod --json", "config resolve --spec specs/route.yaml --json",
	"config secrets --json", "config secrets --env staging --json", "config init", "config show",
	"config render-spec -o out/rendered.yaml", "config render-spec -o out/rendered-prod.yaml --env prod --spec specs/route.yaml", "config render-spec",
	"config profile list --json", "config profile show --json", "config profile show --name shop --json", "config profile show --name nobody --json",
	"config profile set extra --service-url http://127.0.0.1:9/ --no-activate --json", "config profile list --json", "config profile use extra --json",
	"config profile use nobody", "config profile delete extra", "config profile delete extra", "config profile use shop --json", "config profile set x",
	"run --input Hi $S", "run --input Hi --json $S", "run --input Hi --target agent --json $S examples/research_agent.yaml", "run $S specs/route.yaml",
	"run --input Hi $S absent.yaml", "run --input Hi --json $S specs/broken.yaml", "run --input Hi --json --env staging $S",
	"run --input Hi --json --env prod $S", "run -i Hi --json $S specs/route.yaml",
	"runs get $RUN --json $S", "runs get $RUN $S", "runs get nope --json $S", "runs get $S", "runs trace $RUN --json $S", "runs trace $RUN $S",
	"runs checkpoints $RUN --json $S", "runs checkpoints $RUN $S", "runs replay $RUN --json $S", "runs replay $RUN $S", "runs replay nope $S",
	"runs checkpoint-diff $RUN --json $S", "runs checkpoint-diff $RUN --from-sequence 1 --to-sequence 2 --json $S", "runs checkpoint-diff $RUN --from-sequence x $S",
	"runs cancel $RUN $S", "runs cancel $RUN --json $S", "runs cancel nope $S", "runs frobnicate",
	"run --input refund --json $S specs/approval.yaml", "human list --json $S", "human list $S", "human get $TASK --json $S", "human get $TASK $S",
	"human get nope $S", "human resume $TASK --approve $S", "human resume $TASK --request-id $REQUEST $S",
	"human resume $TASK --request-id $REQUEST --approve --reject $S", "human resume $TASK --request-id $REQUEST --edit better --json $S",
	"human resume nope --request-id x --approve $S", "runs get $RUN --json $S",
	"run --input refund --json $S specs/approval.yaml", "human get $TASK --json $S", "human resume $TASK --request-id $REQUEST --approve $S",
	"run --input refund --json $S specs/approval.yaml", "runs cancel $RUN --json $S",
	"spec validate $S", "spec validate --json $S", "spec validate specs/broken.yaml --json $S", "spec validate specs/broken.yaml $S", "spec validate absent.yaml $S",
	"@specs spec validate specs/route.yaml --json $S", "spec lint --json $S", "spec lint specs/broken.yaml --json $S", "spec lint specs/broken.yaml $S",
	"spec compile --json $S", "spec compile --env prod --json $S", "spec compile specs/broken.yaml $S", "spec compile specs/broken.yaml --json $S",
	"spec explain --json $S", "spec explain specs/route.yaml --json $S", "spec explain specs/broken.yaml --json $S",
	"spec policy-report --json $S", "spec policy-report specs/approval.yaml --env staging --json $S",
	"spec resolve -o out/resolved.yaml", "spec resolve -o out/resolved-staging.yaml --env staging", "spec resolve -o out/resolved-prod.yaml --env prod", "spec resolve",
	"spec resolve specs/old.yaml -o out/resolved-old.yaml",
	"spec migrate specs/old.yaml --json", "spec migrate specs/old.yaml", "spec migrate specs/old.yaml --check", "spec migrate specs/old.yaml --check --json",
	"spec migrate specs/route.yaml --check --json", "spec migrate specs/old.yaml -o out/migrated.yaml --json", "spec migrate absent.yaml", "spec migrate",
	"spec bundle sign examples/research_agent.yaml -o out/bundle.json --approved-by ann --json", "spec bundle sign specs/route.yaml -o out/b.json",
	"spec bundle sign specs/old.yaml -o out/old.json --approved-by ann --env prod --key-env OTHER_KEY",
	"spec bundle sign specs/route.yaml -o out/b.json --approved-by ann --key-env UNSET_KEY",
	"spec bundle verify out/bundle.json --json", "spec bundle verify out/old.json --json", "spec bundle verify out/old.json --key-env OTHER_KEY --json",
	"spec bundle verify bundles/signed.json", "spec bundle verify bundles/signed.json --json", "spec bundle verify bundles/prod.json --json",
	"spec bundle verify bundles/tampered.json --json", "spec bundle verify bundles/tampered.json", "spec bundle verify bundles/signed.json --key-env UNSET_KEY --json",
	"spec bundle verify absent.json", "spec bundle verify",
}

// mode is one way to use the project; few says that a few lines are enough.
type mode struct {
	name, service string
	env           map[string]string
	few           bool
}

// fewLines are the lines of modes that differ from another one only in how the service is found.
var fewLines = []string{
	"run --input Hi --json $S", "runs get nope --json $S", "run --input refund --json $S specs/approval.yaml", "human get $TASK --json $S",
	"human resume $TASK --request-id $REQUEST --edit better --json $S", "spec validate specs/broken.yaml --json $S",
}

var modes = []mode{
	{name: "local", env: map[string]string{"KNEO_PROJECT_CONFIG": localConfig}},
	{name: "service", service: "--service-url $URL", env: map[string]string{"KNEO_SERV_API_KEY": apiKey}},
	{name: "profile", service: "--profile shop", few: true},
}

// transcript types all lines of a mode. What does not depend on the service is typed in the first mode only.
func (m mode) transcript(t *testing.T, p *place) []answer {
	t.Helper()
	var answers []answer
	typed := lines
	if m.few {
		typed = fewLines
	}
	for _, line := range typed {
		if m.service != "" && !strings.Contains(line, "$S") {
			continue
		}
		answers = append(answers, p.ask(t, strings.Join(strings.Fields(strings.ReplaceAll(line, "$S", m.service)), " ")))
	}
	return answers
}

// open copies the recorded project, with the address of a service in its profiles.
func (m mode) open(t *testing.T, from, url string, run func(string, map[string]string, []string) (string, int)) *place {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	profiles := filepath.Join(dir, "profiles.json")
	text, err := os.ReadFile(profiles) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(profiles, bytes.ReplaceAll(text, []byte(recordedURL), []byte(url)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"HOME": dir, "KNEO_SERV_PROFILES_PATH": profiles, "KNEO_SERV_SPEC_SIGNING_KEY": signingKey, "OTHER_KEY": "another key",
		"OPENAI_API_KEY": "sk-not-used", "KNEO_SERV_CLIENT_RETRIES": "0",
	}
	for k, v := range m.env {
		if k == "KNEO_PROJECT_CONFIG" {
			v = filepath.Join(dir, v)
		}
		env[k] = v
	}
	return &place{dir: dir, env: env, known: map[string]string{"$URL": url}, run: run}
}

// ours types commands into this build.
func ours(dir string, env map[string]string, args []string) (string, int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := maps.Clone(env)
	// The reference's bridge is always the dummy model.
	all["KNEO_SERV_FORCE_DUMMY_PROVIDER"] = "true"
	var out, errs bytes.Buffer
	code := cli.Main(ctx, cli.Process{Args: args, In: strings.NewReader(""), Out: &out, Err: &errs, Env: config.FromMap(all), Dir: dir, Version: "test"})
	return out.String(), code
}

// theirs types commands into the reference.
func theirs(dir string, env map[string]string, args []string) (string, int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, *reference, args...) //nolint:gosec // given by whoever records
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1"}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func recorded(name string) string { return filepath.Join("testdata", name+".json") }

func load(t *testing.T, name string) []answer {
	t.Helper()
	text, err := os.ReadFile(recorded(name))
	if err != nil {
		t.Fatal(err)
	}
	var answers []answer
	if err := json.Unmarshal(text, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

func save(t *testing.T, name string, answers []answer) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(answers); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recorded(name), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func text(v any) string {
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(out)
}

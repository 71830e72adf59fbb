package project

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files below a new folder and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func vars(m map[string]string) Env {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

const minimal = "project: { name: p }\n"

func TestDiscovery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files      map[string]string
		dir        string
		env        map[string]string
		root, path string
		err        string
	}{
		"no config":                          {files: map[string]string{"a/b.txt": ""}, dir: "a", root: "a"},
		"hidden folder":                      {files: map[string]string{".kneo/config.yaml": minimal}, path: ".kneo/config.yaml"},
		"from below":                         {files: map[string]string{".kneo/config.yml": minimal, "a/b/c.txt": ""}, dir: "a/b", path: ".kneo/config.yml"},
		"plain file":                         {files: map[string]string{"kneo_serv.yaml": minimal}, path: "kneo_serv.yaml"},
		"the hidden one comes first":         {files: map[string]string{"kneo_serv.yaml": minimal, ".kneo/config.yaml": minimal}, path: ".kneo/config.yaml"},
		"the nearest folder wins":            {files: map[string]string{".kneo/config.yaml": minimal, "a/kneo_serv.yml": minimal}, dir: "a", root: "a", path: "a/kneo_serv.yml"},
		"named by the environment":           {files: map[string]string{"x/other.yaml": minimal}, env: map[string]string{EnvConfig: "x/other.yaml"}, root: "x", path: "x/other.yaml"},
		"named but missing":                  {env: map[string]string{EnvConfig: "gone.yaml"}, err: "KNEO_PROJECT_CONFIG points to missing file: "},
		"a list":                             {files: map[string]string{"kneo_serv.yaml": "- a\n"}, err: "YAML root must be an object: "},
		"no name":                            {files: map[string]string{"kneo_serv.yaml": "service: {}\n"}, err: "Invalid project config "},
		"wrong type":                         {files: map[string]string{"kneo_serv.yaml": "project: { name: [] }\n"}, err: "project.name must be a text (line 1, column 18)"},
		"broken text":                        {files: map[string]string{"kneo_serv.yaml": "project: {\n"}, err: "Invalid project config "},
		"an unknown mode":                    {files: map[string]string{"kneo_serv.yaml": minimal + "runtime_defaults: { preferred_mode: magic }\n"}, err: "runtime_defaults.preferred_mode must be one of bridge, native, adapter"},
		"negative days":                      {files: map[string]string{"kneo_serv.yaml": minimal + "retention: { runs_days: -1 }\n"}, err: "retention.runs_days must be at least 0"},
		"unknown keys are not a mistake":     {files: map[string]string{"kneo_serv.yaml": minimal + "colour: red\n"}, path: "kneo_serv.yaml"},
		"several mistakes are told together": {files: map[string]string{"kneo_serv.yaml": minimal + "service: 7\nlocal: { state_path: 1 }\n"}, err: "service must be a mapping (line 2, column 10); local.state_path must be a text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := tree(t, c.files)
			p, err := Load(filepath.Join(root, c.dir), vars(c.env))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantPath := ""
			if c.path != "" {
				wantPath = filepath.Join(root, c.path)
			}
			if p.Root != filepath.Join(root, c.root) || p.ConfigPath != wantPath || p.Has() != (c.path != "") {
				t.Errorf("root %s, config %s", p.Root, p.ConfigPath)
			}
		})
	}
}

func TestEnvironmentOrder(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"kneo_serv.yaml": "project: { name: p, default_environment: blue }\n"})
	for _, c := range []struct{ flag, variable, want string }{{"f", "v", "f"}, {"", "v", "v"}, {"", "", "blue"}} {
		p, err := Load(root, vars(map[string]string{EnvEnvironment: c.variable}))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Environment(c.flag); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	bare, err := Load(t.TempDir(), vars(nil))
	if err != nil || bare.Environment("") != "dev" {
		t.Errorf("without a config the environment is %s, %v", bare.Environment(""), err)
	}
}

const layered = `project: { name: shop }
specs:
  default_spec: specs/a.yaml
  overlays:
    prod: [specs/prod.yaml, specs/gone.yaml]
runtime_defaults: { preferred_mode: native, allowed_modes: [native], native_provider: null }
model_defaults:
  prod: { provider: openai, name: gpt-4o, temperature: 1, max_tokens: 5, extra: { base_url: http://b, headers: { a: x, b: y } } }
environments:
  prod:
    defaults: { metadata: { tier: gold }, agent: { description: from defaults } }
`

const baseSpec = `version: v1
agent:
  name: a
  model: { provider: dummy, name: m, extra: { headers: { b: mine } } }
workflow:
  type: sequential
  steps:
    - { id: one, kind: agent, ref: x }
metadata: { note: keep, drop: me }
`

func TestResolve(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"kneo_serv.yaml": layered, "specs/a.yaml": baseSpec,
		"specs/prod.yaml": "metadata: { drop: null, environment: mine }\nworkflow: { __delete__: true }\n",
	})
	p, err := Load(root, vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Resolve(Source{}, "prod")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"tier":"gold","note":"keep","environment":"mine","project":"shop"},
"agent":{"description":"from defaults","name":"a","model":{"provider":"dummy","name":"m",
"extra":{"base_url":"http://b","headers":{"a":"x","b":"mine"}},"temperature":1.0,"max_tokens":5},
"runtime_preferences":{"preferred_mode":"native","allowed_modes":["native"]}},"version":"v1",
"policies":{"project_defaults":{"checkpointing":{"enabled":true,"mode":"step"},"logging":{"level":"info"},
"tracing":{"enabled":true,"include_messages":false,"include_tool_results":true},
"guardrails":{"enable_default_input_filter":false,"enable_default_output_review":false}}}}`
	if diff := cmp.Diff(strings.ReplaceAll(want, "\n", ""), string(e.Tree.JSON())); diff != "" {
		t.Error(diff)
	}
	gone := filepath.Join(root, "specs", "gone.yaml")
	if len(e.Warnings) != 1 || e.Warnings[0] != "Configured overlay path '"+gone+"' does not exist; skipping it. The overlay's settings are NOT applied." {
		t.Errorf("warnings %q", e.Warnings)
	}
	if n := e.Tree.At("agent", "name"); n.File != filepath.Join("specs", "a.yaml") || n.Line != 3 {
		t.Errorf("the name comes from %+v", n.Pos)
	}
}

func TestWithoutConfigTheSpecStaysAsItIs(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a.yaml": baseSpec})
	p, err := Load(root, vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Resolve(Source{Path: "a.yaml"}, "")
	if err != nil || e.Tree.Has("policies") || e.Environment != "dev" {
		t.Errorf("%v: %s", err, e.Tree.JSON())
	}
	if _, err := p.Resolve(Source{}, ""); !errors.Is(err, ErrNoSpec) {
		t.Errorf("without a spec: %v", err)
	}
	var missing *MissingError
	if _, err := p.Resolve(Source{Path: "b.yaml"}, ""); !errors.As(err, &missing) || missing.Path != filepath.Join(root, "b.yaml") {
		t.Errorf("a missing spec: %v", err)
	}
	if _, err := p.Resolve(Source{Name: "<stdin>", Text: []byte("- a\n")}, ""); err == nil {
		t.Error("a list was accepted")
	}
}

func TestShortModel(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"kneo_serv.yaml": "project: { name: p }\nmodel_defaults: { dev: { provider: openai, temperature: 0.5 } }\nruntime_defaults: { preferred_mode: null, allowed_modes: null }\n"})
	p, err := Load(root, vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"version: v1\nagent: { name: a }\n": `{"provider":"openai","temperature":0.5,"extra":{}}`,
		"version: v1\n":                     `{"provider":"openai","temperature":0.5,"extra":{}}`,
	} {
		e, err := p.Resolve(Source{Name: "s", Text: []byte(text)}, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.Tree.At("agent", "model").JSON()); got != want {
			t.Errorf("%q: model %s", text, got)
		}
	}
}

func TestSpecPathOrder(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"kneo_serv.yaml": minimal, "a.yaml": "", "b.yaml": "", "sub/a.yaml": ""})
	p, err := Load(filepath.Join(root, "sub"), vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{"a.yaml": "sub/a.yaml", "b.yaml": "b.yaml", "c.yaml": "c.yaml", "../a.yaml": "a.yaml"} {
		if got, err := p.SpecPath(typed); err != nil || got != filepath.Join(root, want) {
			t.Errorf("%s: %s, %v", typed, got, err)
		}
	}
}

func TestPolicyEnforcement(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"kneo_serv.yaml": `project: { name: p }
environments:
  prod: { policy_enforcement: { require_guardrails: true } }
  off: { policy_enforcement: { enabled: false, require_guardrails: true } }
  bad: { policy_enforcement: { colour: red } }
`})
	p, err := Load(root, vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	src := Source{Name: "s", Text: []byte("version: v1\nagent: { name: a }\n")}
	var blocked *PolicyError
	if _, err := p.Resolve(src, "prod"); !errors.As(err, &blocked) || !strings.HasPrefix(err.Error(), "ERROR E_ENV_POLICY_GUARDRAILS: ") {
		t.Errorf("prod: %v", err)
	}
	if _, err := p.Resolve(src, "off"); err != nil {
		t.Errorf("off: %v", err)
	}
	if _, err := p.Resolve(src, "bad"); err == nil || !strings.Contains(err.Error(), "environments.bad.policy_enforcement") {
		t.Errorf("bad: %v", err)
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{".kneo/config.yaml": strings.Replace(Template, "%s", `"a shop"`, 1)})
	p, err := Load(root, vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	if p.Config.Project.Name != "a shop" || *p.Config.Service.DefaultURL != "http://localhost:8000" {
		t.Errorf("%+v", p.Config.Project)
	}
	if err := p.Prepare(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(root, ".kneo", "cache")); err != nil || !info.IsDir() {
		t.Errorf("the cache folder: %v", err)
	}
	text, err := json.Marshal(p.Config)
	if err != nil || !strings.Contains(string(text), `"model_defaults":{"dev":{"provider":"openai","name":"gpt-4o-mini"`) {
		t.Errorf("%v: %s", err, text)
	}
}

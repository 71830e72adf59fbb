package packaging

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/kneo-go/kneo/internal/config"
)

// schema compiles a part of a file of schemas/.
func schema(t *testing.T, file, part string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("schemas", file))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(file + part)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// documents reads a YAML file as the JSON values that schemas judge.
func documents(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	var docs []map[string]any
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(path, err)
		}
		docs = append(docs, asJSON(t, v).(map[string]any))
	}
}

func asJSON(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestComposeFile(t *testing.T) {
	s := schema(t, "compose-spec.json", "")
	doc := documents(t, "deploy/compose/compose.yaml")[0]
	if err := s.Validate(doc); err != nil {
		t.Errorf("%v", err)
	}
	services := doc["services"].(map[string]any)
	volumes, _ := doc["volumes"].(map[string]any)
	for name, v := range services {
		service := v.(map[string]any)
		for needed := range mapping(service["depends_on"]) {
			if services[needed] == nil {
				t.Errorf("%s depends on %s, which is no service", name, needed)
			}
		}
		for _, v := range list(service["volumes"]) {
			source, _, _ := strings.Cut(v.(string), ":")
			if !strings.HasPrefix(source, ".") && volumes[source] == nil && !hasKey(volumes, source) {
				t.Errorf("%s uses the volume %s, which is not declared", name, source)
			}
			if _, err := os.Stat(filepath.Join(root, "deploy/compose", source)); strings.HasPrefix(source, ".") && err != nil {
				t.Error(err)
			}
		}
		if build := mapping(service["build"]); build != nil {
			if _, err := os.Stat(filepath.Join(root, "deploy/compose", build["context"].(string), build["dockerfile"].(string))); err != nil {
				t.Error(err)
			}
		}
	}
	services["kneo"].(map[string]any)["port"] = "8000"
	if s.Validate(doc) == nil {
		t.Error("a key that does not exist was accepted")
	}
}

func mapping(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func hasKey(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}

// kinds are the definitions of the resources that the manifests use.
var kinds = map[string]string{
	"apps/v1 Deployment":            "io.k8s.api.apps.v1.Deployment",
	"v1 Service":                    "io.k8s.api.core.v1.Service",
	"policy/v1 PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
}

func TestKubernetesManifests(t *testing.T) {
	docs := documents(t, "deploy/kubernetes/kneo.yaml")
	if len(docs) != len(kinds) {
		t.Errorf("there are %d resources", len(docs))
	}
	for _, doc := range docs {
		kind := doc["apiVersion"].(string) + " " + doc["kind"].(string)
		definition, ok := kinds[kind]
		if !ok {
			t.Errorf("no schema of %s", kind)
			continue
		}
		s := schema(t, "kubernetes.json", "#/$defs/"+definition)
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		doc["spec"].(map[string]any)["replica"] = json.Number("1")
		if s.Validate(doc) == nil {
			t.Errorf("%s: a key that does not exist was accepted", kind)
		}
	}
}

// TestPodsAreProbedAndUnprivileged states what the schema cannot: health, grace and rights.
func TestPodsAreProbedAndUnprivileged(t *testing.T) {
	pod := mapping(mapping(mapping(documents(t, "deploy/kubernetes/kneo.yaml")[0]["spec"])["template"])["spec"])
	if pod["terminationGracePeriodSeconds"] != json.Number("60") || mapping(pod["securityContext"])["runAsNonRoot"] != true {
		t.Errorf("the pod: %v", pod)
	}
	for _, c := range list(pod["containers"]) {
		container := mapping(c)
		for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
			if got := mapping(mapping(container[probe])["httpGet"])["path"]; got != path {
				t.Errorf("%s asks %v", probe, got)
			}
		}
		rights := mapping(container["securityContext"])
		if rights["allowPrivilegeEscalation"] != false || rights["readOnlyRootFilesystem"] != true {
			t.Errorf("rights: %v", rights)
		}
	}
}

var setting = regexp.MustCompile(`KNEO_SERV_[A-Z0-9_]+`)

// TestSettingsExist looks for every setting that a file of deploy/ names in the list of settings.
func TestSettingsExist(t *testing.T) {
	known := config.Markdown()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "*", "*"))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // a file of ours
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range setting.FindAllString(string(text), -1) {
			if !strings.Contains(known, "`"+name+"`") && name != "KNEO_SERV_" {
				t.Errorf("%s: %s is no setting", file, name)
			}
		}
	}
}

package operations

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kneo-go/kneo/test/replica"
)

// TestPathsStayInTheSpecRoot tries every way out of the folder.
func TestPathsStayInTheSpecRoot(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret.yaml")
	if err := os.WriteFile(secret, []byte("version: v1\nagent: {name: stolen}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(root, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	p := replica.Serve(t, root, map[string]string{"KNEO_SERV_SPEC_ROOT": root})
	for _, path := range []string{secret, "../" + filepath.Base(outside) + "/secret.yaml", "link.yaml", "a/../../x.yaml", "/etc/passwd", "~/secret.yaml", "file:///etc/passwd", "x\x00.yaml"} {
		for _, body := range []object{{"input": "x", "spec_path": path}, {"input": "x", "spec": greeter(), "overlays": []string{path}}} {
			status, answer, err := p.Call(t.Context(), "POST", "/v1/runs", body)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			if status < 400 || status >= 500 || strings.Contains(string(text), "stolen") || strings.Contains(string(text), "root:") {
				t.Errorf("%q: %d %s", path, status, text)
			}
		}
	}
}

// TestHeadersAndLogsCannotBeForged sends line breaks and control characters where they could end up in a header or a log line.
func TestHeadersAndLogsCannotBeForged(t *testing.T) {
	t.Parallel()
	p := replica.Serve(t, t.TempDir(), nil)
	forged := "x\",\"msg\":\"forged\"}\n{\"msg\":\"forged"
	p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": forged, "spec": greeter(), "session_id": "s\r\nX-Evil: 1"})
	status, _, err := p.Call(t.Context(), "GET", "/v1/runs/a%0d%0aX-Evil:%201", nil)
	if err != nil || status != http.StatusNotFound {
		t.Errorf("status %d, %v", status, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/v1/runs?status=%0a%7B%22msg%22%3A%22forged%22%7D", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-ID", strings.Repeat("a", 500))
	req.Header.Set("User-Agent", `"},{"msg":"forged"`)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if id := resp.Header.Get("X-Request-ID"); id == "" || strings.HasPrefix(id, "aaa") || resp.Header.Get("X-Evil") != "" {
		t.Errorf("headers %v", resp.Header)
	}
	for line := range strings.Lines(p.Log()) {
		var record struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Msg == "forged" {
			t.Errorf("line %q: %v", line, err)
		}
	}
}

// TestHostileYAML sends documents that grow, recurse or name types.
func TestHostileYAML(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var bomb strings.Builder
	bomb.WriteString("version: v1\nagent: {name: a}\nx0: &x0 [a,a,a,a,a,a,a,a,a]\n")
	for i := 1; i < 12; i++ {
		prior := "*x" + string(rune('a'+i-2))
		if i == 1 {
			prior = "*x0"
		}
		bomb.WriteString("x" + string(rune('a'+i-1)) + ": &x" + string(rune('a'+i-1)) + " [" + strings.Repeat(prior+",", 8) + prior + "]\n")
	}
	for name, text := range map[string]string{
		"bomb.yaml": bomb.String(), "deep.yaml": "version: v1\nagent: " + strings.Repeat("[", 20000), "loop.yaml": "version: v1\nagent: &a {name: x, y: *a}\n",
		"tag.yaml": "version: v1\nagent: !!python/object/apply:os.system ['true']\n", "binary.yaml": "version: v1\nagent: \"\x00\x01\xff\"\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := replica.Serve(t, root, map[string]string{"KNEO_SERV_SPEC_ROOT": root})
	for _, name := range []string{"bomb.yaml", "deep.yaml", "loop.yaml", "tag.yaml", "binary.yaml"} {
		status, answer, err := p.Call(t.Context(), "POST", "/v1/runs", object{"input": "x", "spec_path": name})
		if err != nil || status < 400 || status >= 500 {
			t.Errorf("%s: %d %v %v", name, status, answer, err)
		}
	}
	p.OK(t, http.StatusOK, "GET", "/readyz", nil)
}

// TestKeysAreNotCarriedElsewhere answers a model call with a redirect: the key must not go there.
func TestKeysAreNotCarriedElsewhere(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(redirecting.Close)
	model := &replica.Model{URL: redirecting.URL + "/v1"}
	p := replica.Serve(t, t.TempDir(), map[string]string{"HOUSE_KEY": "k"})
	run := p.OK(t, http.StatusOK, "POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1", "agent": model.Agent("a")}})
	if run["status"] != "failed" || asked.Load() != 0 {
		t.Errorf("%v, %d requests elsewhere", run["status"], asked.Load())
	}
}

// TestSpecsCannotNameAnyAddress: metadata services are never asked, and a deployment may name the only hosts.
func TestSpecsCannotNameAnyAddress(t *testing.T) {
	t.Parallel()
	model := replica.NewModel(t)
	run := func(p *replica.Process, url string) string {
		t.Helper()
		_, answer, err := p.Call(t.Context(), "POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1", "agent": (&replica.Model{URL: url}).Agent("a")}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	open := replica.Serve(t, t.TempDir(), map[string]string{"HOUSE_KEY": "k"})
	if text := run(open, "http://169.254.169.254/latest/meta-data"); !strings.Contains(text, "link-local") || strings.Contains(text, `"status":"completed"`) {
		t.Errorf("link-local: %s", text)
	}
	listed := replica.Serve(t, t.TempDir(), map[string]string{"HOUSE_KEY": "k", "KNEO_SERV_OUTBOUND_HOSTS": "api.openai.com," + strings.TrimSuffix(strings.TrimPrefix(model.URL, "http://"), "/v1")})
	if text := run(listed, model.URL); !strings.Contains(text, `"status":"completed"`) {
		t.Errorf("a listed host: %s", text)
	}
	if text := run(listed, "http://10.1.2.3/v1"); !strings.Contains(text, "KNEO_SERV_OUTBOUND_HOSTS") {
		t.Errorf("another host: %s", text)
	}
}

package switching

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const project = "testdata/project"

// making are the commands with which the reference makes the project around the specs that are there.
var making = [][]string{
	{"config", "init", "--name", "demo", "--force"},
	{"config", "profile", "set", "shop", "--service-url", recordedURL + "/", "--api-key", apiKey},
	{"config", "profile", "set", "spare", "--service-url", "http://127.0.0.1:9", "--no-activate"},
	{"spec", "bundle", "sign", "examples/research_agent.yaml", "-o", "bundles/signed.json", "--approved-by", "ann"},
	{"spec", "bundle", "sign", "specs/approval.yaml", "-o", "bundles/prod.json", "--approved-by", "Jürgen", "--env", "prod"},
	{"spec", "bundle", "sign", "specs/old.yaml", "-o", "bundles/tampered.json", "--approved-by", "ann"},
}

// TestRecord lets the reference make the project and records its answers, where their files were removed. It does nothing unless -reference says
// where the reference is.
func TestRecord(t *testing.T) {
	if *reference == "" {
		t.Skip("nothing is recorded without -reference")
	}
	if _, err := os.Stat(filepath.Join(project, "profiles.json")); err != nil {
		makeProject(t)
	}
	port := freePort(t)
	url := "http://127.0.0.1:" + port
	home := t.TempDir()
	server := exec.CommandContext(t.Context(), *reference, "service", "serve", "--port", port) //nolint:gosec // given by whoever records
	server.Dir, server.Env = home, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "KNEO_SERV_API_KEYS=ops:" + apiKey + ":admin"}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	for range time.Tick(100 * time.Millisecond) {
		if resp, err := http.Get(url + "/livez"); err == nil { //nolint:noctx // local
			_ = resp.Body.Close()
			break
		}
	}
	for _, m := range modes {
		if _, err := os.Stat(recorded(m.name)); err == nil {
			continue
		}
		save(t, m.name, m.transcript(t, m.open(t, project, url, theirs)))
	}
}

func makeProject(t *testing.T) {
	t.Helper()
	root, err := filepath.Abs(project)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HOME": root, "KNEO_SERV_PROFILES_PATH": filepath.Join(root, "profiles.json"), "KNEO_SERV_SPEC_SIGNING_KEY": signingKey}
	for _, args := range making {
		if out, code := theirs(root, env, args); code != 0 {
			t.Fatal(args, out)
		}
	}
	edit := func(from, to string, change func([]byte) []byte) {
		text, err := os.ReadFile(filepath.Join(root, from)) //nolint:gosec // a file of this test
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, to), change(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit(".kneo/config.yaml", localConfig, func(b []byte) []byte {
		return bytes.Replace(b, []byte("  default_url: http://localhost:8000\n"), nil, 1)
	})
	edit("bundles/tampered.json", "bundles/tampered.json", func(b []byte) []byte { return bytes.Replace(b, []byte("elder"), []byte("younger"), 1) })
	for _, folder := range []string{"artifacts", "logs", "cache"} {
		_ = os.Remove(filepath.Join(root, ".kneo", folder))
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strings.TrimPrefix(fmt.Sprint(l.Addr()), "127.0.0.1:")
}

// Package packaging checks the files of deploy/: it executes the steps of the image in a clean directory, without a container engine, runs the result as an
// unprivileged user, and judges the compose file and the manifests by schemas kept in the repository.
package packaging

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const root = "../.."

// instruction is one line of a Dockerfile, continuation lines joined.
type instruction struct{ word, rest string }

// stages reads a Dockerfile into its stages.
func stages(t *testing.T, path string) [][]instruction {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]instruction
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if word == "FROM" {
			all = append(all, nil)
		}
		last := len(all) - 1
		all[last] = append(all[last], instruction{word, strings.TrimSpace(rest)})
	}
	return all
}

// image is a file system in a folder: absolute paths of the Dockerfile lie below it.
type image struct {
	dir, workdir string
	args         map[string]string
}

// at is the place of a path of the image.
func (i *image) at(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(i.workdir, path)
	}
	return filepath.Join(i.dir, path)
}

// execute does one instruction of a build stage.
func (i *image) execute(t *testing.T, in instruction, ignored []string) {
	t.Helper()
	switch in.word {
	case "FROM":
	case "WORKDIR":
		i.workdir = in.rest
		if err := os.MkdirAll(i.at("."), 0o750); err != nil {
			t.Fatal(err)
		}
	case "ARG":
		name, value, _ := strings.Cut(in.rest, "=")
		if _, given := i.args[name]; !given {
			i.args[name] = value
		}
	case "COPY":
		words := strings.Fields(in.rest)
		for _, source := range words[:len(words)-1] {
			i.copy(t, source, words[len(words)-1], ignored)
		}
	case "RUN":
		i.shell(t, in.rest)
	default:
		t.Fatalf("%s is not supported in the build stage", in.word)
	}
}

// copy copies from the context, which is the repository without what .dockerignore names.
func (i *image) copy(t *testing.T, source, target string, ignored []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, source), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if slices.Contains(ignored, rel) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		to := filepath.Join(i.at(target), rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o750)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // a file of the repository
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs a command in the image's folder; the two absolute paths that it writes to are moved below it.
func (i *image) shell(t *testing.T, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", strings.ReplaceAll(command, "/out", i.at("/out"))) //nolint:gosec // a line of the Dockerfile
	cmd.Dir, cmd.Env = i.at("."), os.Environ()
	for k, v := range i.args {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("RUN %s: %v\n%s", command, err, out)
	}
}

func ignored(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			names = append(names, line)
		}
	}
	return names
}

// nonroot is the user of the image.
const nonroot = 65532

// TestImage does the steps of the build stage, then starts the result as the last stage says.
func TestImage(t *testing.T) {
	all := stages(t, "deploy/docker/Dockerfile")
	if len(all) != 2 {
		t.Fatalf("%d stages", len(all))
	}
	dir := t.TempDir()
	// The unprivileged user has to reach the program.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // a folder without secrets
		t.Fatal(err)
	}
	build := &image{dir: dir, workdir: "/", args: map[string]string{"VERSION": "7.8.9-image"}}
	skip := ignored(t)
	for _, in := range all[0] {
		build.execute(t, in, skip)
	}
	program := build.at("/out/kneo")
	static(t, program)
	data := build.at("/out/data")
	for _, folder := range []string{dir, build.at("/out")} {
		if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // a folder without secrets
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(data, nonroot, nonroot); err != nil {
			t.Fatal(err)
		}
	}
	version, err := unprivileged(t.Context(), program, data, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(version), "7.8.9-image") {
		t.Errorf("--version: %v %s", err, version)
	}
	last := map[string]string{}
	for _, in := range all[1] {
		last[in.word] = in.rest
	}
	if last["USER"] != fmt.Sprintf("%d:%d", nonroot, nonroot) || last["ENTRYPOINT"] != `["/usr/local/bin/kneo"]` || last["WORKDIR"] != "/data" {
		t.Errorf("the last stage: %v", last)
	}
	var command []string
	if err := json.Unmarshal([]byte(last["CMD"]), &command); err != nil {
		t.Fatal(err)
	}
	serve(t, program, data, command)
}

// static fails when the program needs a dynamic loader, which the image does not have.
func static(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("the program needs %v, %v", libs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a dynamic loader")
		}
	}
}

func unprivileged(ctx context.Context, program, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the program that was just built
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
	cmd.WaitDelay = 5 * time.Second
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nonroot, Gid: nonroot}}
	}
	return cmd
}

// serve starts the service with the command of the image on another port, asks it, and ends it as a container engine does.
func serve(t *testing.T, program, data string, command []string) {
	t.Helper()
	port := freePort(t)
	i := slices.Index(command, "8000")
	if i < 0 || !slices.Contains(command, "0.0.0.0") {
		t.Fatalf("CMD %v", command)
	}
	command[i] = port
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := unprivileged(ctx, program, data, command...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	url := "http://127.0.0.1:" + port
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if status, body := ask(ctx, http.MethodGet, url+path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	status, body := ask(ctx, http.MethodPost, url+"/v1/specs/run", `{"input":"hello","spec":{"version":"v1","agent":{"name":"a"}}}`)
	if status != http.StatusOK || !strings.Contains(body, "Final answer: hello") {
		t.Errorf("a run: %d %s", status, body)
	}
	stored(t, data)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the end: %v\n%s", err, log.String())
	}
}

// stored fails when the run left no database in the volume, or one of another user.
func stored(t *testing.T, data string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sqlite" {
			return err
		}
		found = true
		info, err := d.Info()
		if err == nil && os.Getuid() == 0 && info.Sys().(*syscall.Stat_t).Uid != nonroot {
			t.Errorf("%s belongs to another user", path)
		}
		return err
	})
	if err != nil || !found {
		t.Errorf("the volume has no database: %v", err)
	}
}

// ask repeats a request until somebody listens.
func ask(ctx context.Context, method, url, body string) (int, string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return 0, err.Error()
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req) //nolint:gosec // an address of this test
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			return resp.StatusCode, string(text)
		}
		select {
		case <-ctx.Done():
			return 0, err.Error()
		case <-tick.C:
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

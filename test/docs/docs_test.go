// Package docs executes the commands that the documentation shows and follows its links.
package docs

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/test/replica"
)

const root = "../.."

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

// fence matches one fenced block: its language and its text.
var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// TestPages executes the pages.
func TestPages(t *testing.T) {
	for _, path := range pages {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			play(t, path)
		})
	}
}

// play runs every sh block of a page in one shell and looks for the lines of the text block that follows it.
func play(t *testing.T, path string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, path)) //nolint:gosec // a page of ours
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	blocks := fence.FindAllStringSubmatch(strings.ReplaceAll(string(page), "8000", port), -1)
	var script strings.Builder
	script.WriteString("here=$PWD\nset -m\ntrap 'kill %1 2>/dev/null' EXIT\n")
	for i, b := range blocks {
		if b[1] == "sh" {
			fmt.Fprintf(&script, "exec > \"$here/out%d.txt\" 2>&1\n%s", i, b[2])
		}
	}
	dir := workplace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+dir, "NO_COLOR=1")
	failure := cmd.Run()
	for i, b := range blocks {
		if b[1] != "text" {
			continue
		}
		printed, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("out%d.txt", i-1)))
		if err != nil {
			t.Errorf("the block before %q was not reached: %v", b[2], err)
			continue
		}
		for line := range strings.Lines(b[2]) {
			if want := strings.TrimSpace(line); !strings.Contains(string(printed), want) {
				t.Errorf("%q is missing after\n%s\nprinted:\n%s", want, blocks[i-1][2], printed)
			}
		}
	}
	if failure != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "server.log"))
		t.Errorf("%v\n%s", failure, log)
	}
}

// TestExamples runs every example spec.
func TestExamples(t *testing.T) {
	dir := workplace(t)
	specs, err := filepath.Glob(filepath.Join(dir, "examples", "*.yaml"))
	if err != nil || len(specs) < 3 {
		t.Fatal(specs, err)
	}
	for _, spec := range specs {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "bin", "kneo"), "run", spec, "--input", "an urgent question", "--json") //nolint:gosec // a file of ours
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(out), `"status": "completed"`) && !strings.Contains(string(out), `"status": "blocked"`) {
			t.Errorf("%s: %v\n%s", filepath.Base(spec), err, out)
		}
	}
}

// workplace is a directory with the examples and a kneo command on its own path.
func workplace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := fmt.Sprintf("#!/bin/sh\nKNEO_TEST_COMMAND=run exec %q \"$@\"\n", self)
	if err := os.WriteFile(filepath.Join(dir, "bin", "kneo"), []byte(command), 0o700); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	specs, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "examples"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		data, err := os.ReadFile(s) //nolint:gosec // a file of ours
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "examples", filepath.Base(s)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
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

// link matches the target of an inline link.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows every relative link of every page to a file.
func TestLinks(t *testing.T) {
	pages := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "third_party" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		pages++
		text, err := os.ReadFile(path) //nolint:gosec // a file of ours
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
				t.Errorf("%s: broken link %s", path, m[1])
			}
		}
		return nil
	})
	if err != nil || pages < 5 {
		t.Fatal(pages, err)
	}
}

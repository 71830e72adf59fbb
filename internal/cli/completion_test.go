package cli_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestCompletionOffersWhatBeginsAsTyped(t *testing.T) {
	m := newMachine(t)
	for range 2 {
		expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x"), 0)
	}
	all := m.kneo(t.Context(), "__complete", "runs", "get", "")
	ids := strings.Split(strings.TrimSpace(all.out), "\n")
	if all.code != 0 || len(ids) != 3 || ids[2] != ":4" {
		t.Fatalf("%d %q", all.code, all.out)
	}
	id, _, _ := strings.Cut(ids[0], "\t")
	if one := m.kneo(t.Context(), "__complete", "runs", "get", id[:12]); !strings.HasPrefix(one.out, id) || strings.Count(one.out, "\n") != 2 {
		t.Errorf("%q", one.out)
	}
	if more := m.kneo(t.Context(), "__complete", "runs", "get", id, ""); more.out != ":4\n" {
		t.Errorf("a second id was offered: %q", more.out)
	}
}

func TestCompletionWithoutServiceIsSilent(t *testing.T) {
	m := newMachine(t)
	for _, args := range [][]string{{"runs", "get"}, {"human", "resume"}} {
		r := m.kneo(t.Context(), append(append([]string{"__complete"}, args...), "--service-url", "http://127.0.0.1:1", "")...)
		if r.code != 0 || r.out != ":4\n" || strings.Contains(r.err, "✗") {
			t.Errorf("%v: exit %d, %q, %q", args, r.code, r.out, r.err)
		}
	}
}

func TestCompletionKnowsServicesAndProfiles(t *testing.T) {
	m := newMachine(t)
	url := service(t, nil)
	expect(t, m.kneo(t.Context(), "run", "hello.yaml", "-i", "x", "--service-url", url), 0)
	expect(t, m.kneo(t.Context(), "__complete", "runs", "get", "--service-url", url, ""), 0, "completed")
	expect(t, m.kneo(t.Context(), "config", "profile", "set", "shop", "--service-url", url), 0)
	expect(t, m.kneo(t.Context(), "__complete", "runs", "get", "--profile", "s"), 0, "shop\t"+url)
}

// TestCompletionScripts reads the scripts of all shells, and lets bash check its own.
func TestCompletionScripts(t *testing.T) {
	m := newMachine(t)
	for shell, word := range map[string]string{"bash": "__start_kneo", "zsh": "#compdef kneo", "fish": "complete -c kneo", "powershell": "Register-ArgumentCompleter"} {
		expect(t, m.kneo(t.Context(), "completion", shell), 0, word)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("this machine has no bash")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	check := exec.CommandContext(ctx, bash, "-n") //nolint:gosec // a shell of the machine
	check.Stdin = strings.NewReader(m.kneo(t.Context(), "completion", "bash").out)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

package cli_test

import (
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/kneo-go/kneo/internal/cli"
	"github.com/kneo-go/kneo/internal/config"
)

var regexpEscape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// screen is a terminal: what is written to it, and a way to wait for words.
type screen struct {
	t    *testing.T
	mu   sync.Mutex
	cond *sync.Cond
	text strings.Builder
	done bool
}

func newScreen(t *testing.T, from io.Reader) *screen {
	s := &screen{t: t}
	s.cond = sync.NewCond(&s.mu)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.done = err != nil
			s.cond.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// wait returns what is there once the words have appeared n times.
func (s *screen) wait(words string, n int) string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := time.AfterFunc(20*time.Second, func() {
		s.mu.Lock()
		s.done = true
		s.cond.Broadcast()
		s.mu.Unlock()
	})
	defer limit.Stop()
	for strings.Count(s.text.String(), words) < n {
		if s.done {
			s.t.Fatalf("%q did not appear in\n%s", words, s.text.String())
		}
		s.cond.Wait()
	}
	return s.text.String()
}

// typed runs a command on a terminal and types lines when their prompts appear.
func typed(t *testing.T, m *machine, args []string, dialogue ...[2]string) (code int, text string) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skip("this machine has no pseudo-terminals: ", err)
	}
	defer func() { _ = master.Close() }()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 40, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	on := newScreen(t, master)
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(context.WithoutCancel(t.Context()), cli.Process{
			Args: args, In: slave, Out: slave, Err: slave, Env: config.FromMap(m.env), Dir: m.dir, Version: "test",
		})
	}()
	seen := map[string]int{}
	for _, d := range dialogue {
		seen[d[0]]++
		on.wait(d[0], seen[d[0]])
		if _, err := io.WriteString(master, d[1]+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	code = <-ended
	if _, err := slave.WriteString("\n<end>"); err != nil {
		t.Fatal(err)
	}
	text = on.wait("<end>", 1)
	_ = slave.Close()
	return code, strings.ReplaceAll(text, "\r\n", "\n")
}

func TestColoursOnATerminal(t *testing.T) {
	m := newMachine(t)
	code, text := typed(t, m, []string{"run", "hello.yaml", "--input", "Hi"})
	if code != 0 || !strings.Contains(text, "\x1b[1mRun ") || !strings.Contains(text, "Output: Final answer: Hi") {
		t.Errorf("exit %d:\n%q", code, text)
	}
	for name, set := range map[string][2]string{"NO_COLOR": {"NO_COLOR", "1"}, "a dumb terminal": {"TERM", "dumb"}} {
		plain := newMachine(t)
		plain.env[set[0]] = set[1]
		if _, text := typed(t, plain, []string{"spec", "validate", "hello.yaml"}); strings.Contains(text, "\x1b[") || !strings.Contains(text, "✓ No diagnostics.") {
			t.Errorf("%s: %q", name, text)
		}
	}
	if r := m.kneo(t.Context(), "spec", "validate", "hello.yaml"); strings.Contains(r.out, "\x1b[") {
		t.Errorf("colours in a pipe: %q", r.out)
	}
}

func TestDiagnosticsAreRedOnATerminal(t *testing.T) {
	m := newMachine(t)
	m.write(t, "broken.yaml", brokenSpec)
	code, text := typed(t, m, []string{"spec", "validate", "broken.yaml"})
	if code != 1 || !strings.Contains(text, "\x1b[31mERROR E_STEP_AGENT_REF:\x1b[0m") || !strings.Contains(text, "\x1b[31m^^^^^^\x1b[0m") {
		t.Errorf("exit %d:\n%q", code, text)
	}
}

func TestTablesFitTheTerminal(t *testing.T) {
	m := newMachine(t)
	if r := m.kneo(t.Context(), "run", "pipeline.yaml", "-i", strings.Repeat("a long story ", 30)); r.code != 0 {
		t.Fatal(r.err)
	}
	_, text := typed(t, m, []string{"runs", "list"})
	for line := range strings.SplitSeq(text, "\n") {
		plain := regexpEscape.ReplaceAllString(line, "")
		if n := len([]rune(plain)); n > 100 {
			t.Errorf("a line has %d columns: %q", n, plain)
		}
	}
}

func TestInbox(t *testing.T) {
	m := newMachine(t)
	for range 2 {
		if r := m.kneo(t.Context(), "run", "approval.yaml", "-i", "a refund"); r.code != 0 {
			t.Fatal(r.err)
		}
	}
	code, text := typed(t, m, []string{"human", "inbox"},
		[2]string{"Task (1-2, q to leave):", "7"},
		[2]string{"Task (1-2, q to leave):", "1"},
		[2]string{"[b]ack:", "x"},
		[2]string{"[b]ack:", "e"},
		[2]string{"Text:", "You get your money back."},
		[2]string{"Task (1-1, q to leave):", "1"},
		[2]string{"[b]ack:", "a"},
	)
	for _, want := range []string{"Approve the reply", "There is no such task.", "is completed.", "Final answer: You get your money back.", "Nothing waits for a person."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestLeavingTheInbox(t *testing.T) {
	m := newMachine(t)
	if r := m.kneo(t.Context(), "run", "approval.yaml", "-i", "a refund"); r.code != 0 {
		t.Fatal(r.err)
	}
	if code, text := typed(t, m, []string{"human", "inbox"}, [2]string{"Task (1-1, q to leave):", "q"}); code != 0 {
		t.Errorf("exit %d: %s", code, text)
	}
	m.in = "1\nb\n"
	if r := m.kneo(t.Context(), "human", "inbox"); r.code != 0 {
		t.Errorf("the end of the input is no failure: %d %s", r.code, r.err)
	}
}

// Command fuzzdiff sends the same random requests, valid and invalid, to the reference and to this platform, and compares the answers after dropping
// ids, times and prose. A difference that no decision explains is written to the corpus, where later runs repeat it.
//
//	fuzzdiff -kneo BIN -reference BIN [-duration 5m] [-seed N] [-corpus FOLDER]
//
// It imports the standard library only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzzdiff:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("fuzzdiff", flag.ContinueOnError)
	ours := f.String("kneo", "", "binary of the platform")
	theirs := f.String("reference", "", "the reference's kneo program")
	duration := f.Duration("duration", time.Minute, "how long to send random requests")
	seed := f.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the randomness") //nolint:gosec // any number will do
	corpus := f.String("corpus", "test/fuzzdiff/corpus", "folder of cases that once differed")
	limit := f.Int("limit", 40, "stop after this many different unexplained differences")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *ours == "" || *theirs == "" {
		return errors.New("-kneo and -reference are needed")
	}
	for _, program := range []*string{ours, theirs} { // the servers run in folders of their own
		absolute, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		*program = absolute
	}
	p, err := startPair(ctx, *ours, *theirs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	s := &session{pair: p, rng: rand.New(rand.NewPCG(*seed, 1)), out: out, corpus: *corpus, seen: map[string]bool{}, explained: map[string]int{}} //nolint:gosec // repeatable on purpose
	if err := s.replay(ctx); err != nil {
		return err
	}
	begin := time.Now()
	for time.Since(begin) < *duration && ctx.Err() == nil && len(s.found) < *limit {
		for _, c := range s.cases() {
			if err := s.try(ctx, c); err != nil {
				return err
			}
		}
	}
	_, _ = fmt.Fprintf(out, "seed %d: %d requests in %s, %d differences explained by decisions:\n", *seed, s.sent, time.Since(begin).Round(time.Second), total(s.explained))
	for _, name := range slices.Sorted(mapsKeys(s.explained)) {
		_, _ = fmt.Fprintf(out, "  %6d  %s\n", s.explained[name], name)
	}
	if len(s.found) > 0 {
		return fmt.Errorf("%d unexplained differences:\n%s", len(s.found), strings.Join(s.found, "\n"))
	}
	return nil
}

func mapsKeys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func total(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// request is what both servers get. A path may name a run or task of an earlier answer, which each server knows under another id.
type request struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
	// spec is the body of the request that began the chain.
	spec string
	// resumed tells that a human task of the chain was answered before.
	resumed bool
}

// chain is a list of requests in which {run} and {task} stand for the ids that the first answer brought.
type chain []request

type session struct {
	pair      *pair
	rng       *rand.Rand
	out       io.Writer
	corpus    string
	seen      map[string]bool
	explained map[string]int
	found     []string
	sent      int
}

// replay repeats every case of the corpus.
func (s *session) replay(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(s.corpus, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		raw, err := os.ReadFile(path) //nolint:gosec // the corpus
		if err != nil {
			return err
		}
		var c chain
		if err := json.Unmarshal(raw, &c); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := s.try(ctx, c); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(s.out, "corpus of %d cases repeated\n", len(files))
	return nil
}

// try sends a chain and judges every answer.
func (s *session) try(ctx context.Context, c chain) error {
	ids := [2]map[string]string{{}, {}}
	for i, r := range c {
		var answers [2]answer
		for side := range 2 {
			a, err := s.pair.send(ctx, side, fill(r, ids[side]))
			if err != nil {
				return fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
			}
			answers[side] = a
			a.remember(ids[side])
		}
		s.sent++
		differences := compare(answers[0], answers[1])
		if len(differences) == 0 {
			continue
		}
		r.spec = c[0].Body
		r.resumed = slices.ContainsFunc(c[:i], func(before request) bool { return strings.HasSuffix(before.Path, "/resume") })
		names, rest := explain(r, answers[0], answers[1], differences)
		if len(rest) == 0 {
			s.explained[names]++
			if answers[0].status != answers[1].status {
				return nil // the rest of the chain compares different things
			}
			continue
		}
		return s.report(c[:i+1], answers, rest)
	}
	return nil
}

// report writes a difference once per kind of difference.
func (s *session) report(c chain, answers [2]answer, differences []string) error {
	last := c[len(c)-1]
	kind := signature(last, answers, differences)
	if s.seen[kind] {
		return nil
	}
	s.seen[kind] = true
	raw, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	name := filepath.Join(s.corpus, fmt.Sprintf("%016x.json", hash(raw)))
	if err := os.MkdirAll(s.corpus, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(name, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf("%s %s: status %d, ours %d (%s)\n    %s", last.Method, last.Path, answers[0].status, answers[1].status, name,
		strings.Join(differences[:min(6, len(differences))], "\n    "))
	s.found = append(s.found, text)
	_, err = fmt.Fprintln(s.out, text)
	return err
}

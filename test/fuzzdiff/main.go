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
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
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
	s := &session{pair: p, rng: rand.New(rand.NewPCG(*seed, 1)), out: out, corpus: *corpus, seen: map[string]bool{}, explained: map[string]int{}, kinds: map[string]*tally{}} //nolint:gosec // repeatable on purpose
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
	s.summary(*seed, time.Since(begin))
	if len(s.found) > 0 {
		return fmt.Errorf("%d unexplained differences:\n%s", len(s.found), strings.Join(s.found, "\n"))
	}
	return nil
}

// request is what both servers get. A path may name a run or task of an earlier answer, which each server knows under another id.
type request struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
	// spec has the bodies of the chain so far, one of which holds the spec.
	spec string
	// resumed tells that a human task of the chain was answered before.
	resumed bool
}

// chain is a list of requests in which {run} and {task} stand for the ids that the first answer brought.
type chain []request

type session struct {
	pair   *pair
	rng    *rand.Rand
	out    io.Writer
	corpus string
	seen   map[string]bool
	// explained counts the answers that each rule had a part in, kinds the requests of each kind.
	explained map[string]int
	kinds     map[string]*tally
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
		x, err := s.exchange(ctx, r, ids)
		if err != nil {
			return err
		}
		for _, before := range c[:i+1] {
			if !strings.Contains(x.spec, before.Body) {
				x.spec += before.Body
			}
		}
		x.resumed = slices.ContainsFunc(c[:i], func(before request) bool { return strings.HasSuffix(before.Path, "/resume") })
		differences := compare(x.theirs, x.ours)
		names, rest := explain(x, differences)
		s.count(x, names, len(differences) > 0)
		switch {
		case len(rest) > 0:
			return s.report(c[:i+1], x, rest)
		case x.theirs.status != x.ours.status:
			return nil // the rest of the chain compares different things
		case x.theirs.status == 400 && strings.Contains(r.Body, `"input"`) && r.Header == nil:
			return nil // W5: the reference keeps a run that it refuses, so lists and counts differ from now on
		}
	}
	return nil
}

// exchange sends a request to both.
func (s *session) exchange(ctx context.Context, r request, ids [2]map[string]string) (exchange, error) {
	var answers [2]answer
	for side := range 2 {
		a, err := s.pair.send(ctx, side, fill(r, ids[side]))
		if err != nil {
			return exchange{}, fmt.Errorf("%s %s %s: %w", r.Method, r.Path, r.Body, err)
		}
		answers[side] = a
		a.remember(ids[side])
	}
	return exchange{r, answers[0], answers[1]}, nil
}

// count remembers what was compared and which rules had a part in it.
func (s *session) count(x exchange, names []string, differs bool) {
	s.sent++
	kind := kindOf(x)
	if s.kinds[kind] == nil {
		s.kinds[kind] = &tally{}
	}
	s.kinds[kind].sent++
	if differs {
		s.kinds[kind].differ++
	}
	for _, name := range names {
		s.explained[name]++
	}
}

// tally counts requests, and those of them whose answers differ.
type tally struct{ sent, differ int }

var idsInPath = regexp.MustCompile(`/(runs|human-tasks|policies/environment)/[^/?]+`)

// kindOf names the route of a request without ids, and how the reference answers it.
func kindOf(x exchange) string {
	path, _, _ := strings.Cut(idsInPath.ReplaceAllString(x.Path, "/$1/*"), "?")
	path = strings.TrimPrefix(path, "/v1")
	if x.theirs.status == 405 {
		path = "not allowed"
	}
	return fmt.Sprintf("%s %s %dxx", x.Method, path, x.theirs.status/100)
}

// summary prints what was compared and what the rules explained.
func (s *session) summary(seed uint64, took time.Duration) {
	differ := 0
	for _, t := range s.kinds {
		differ += t.differ
	}
	_, _ = fmt.Fprintf(s.out, "seed %d: %d requests in %s, %d answers differ, %d of them without a reason\n\nrequests    differ  kind\n", seed, s.sent, took.Round(time.Second), differ, len(s.found))
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		_, _ = fmt.Fprintf(s.out, "%8d  %8d  %s\n", s.kinds[kind].sent, s.kinds[kind].differ, kind)
	}
	_, _ = fmt.Fprint(s.out, "\n answers  rule\n")
	for _, name := range slices.Sorted(maps.Keys(s.explained)) {
		_, _ = fmt.Fprintf(s.out, "%8d  %s\n", s.explained[name], name)
	}
}

// report writes a difference once per kind of difference.
func (s *session) report(c chain, x exchange, differences []string) error {
	kind := signature(x, differences)
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
	text := fmt.Sprintf("%s %s: status %d, ours %d (%s)\n    %s", x.Method, x.Path, x.theirs.status, x.ours.status, name,
		strings.Join(differences[:min(6, len(differences))], "\n    "))
	s.found = append(s.found, text)
	_, err = fmt.Fprintln(s.out, text)
	return err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pair is the two servers: first the reference, then ours.
type pair struct{ sides [2]*process }

type process struct {
	name, dir, url string
	cmd            *exec.Cmd
	exited         chan struct{}
	client         *http.Client
}

const (
	startTimeout   = 30 * time.Second
	requestTimeout = 30 * time.Second
)

func startPair(ctx context.Context, ours, theirs string) (*pair, error) {
	p := &pair{}
	for i, program := range []string{theirs, ours} {
		s, err := start(ctx, []string{"reference", "ours"}[i], program)
		if err != nil {
			return nil, errors.Join(err, p.stop())
		}
		p.sides[i] = s
	}
	return p, nil
}

func start(ctx context.Context, name, program string) (*process, error) {
	dir, err := os.MkdirTemp("", "kneo-fuzz-")
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log")) //nolint:gosec // the folder made above
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	s := &process{name: name, dir: dir, url: "http://127.0.0.1:" + strconv.Itoa(port), exited: make(chan struct{}), client: &http.Client{
		Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	// The program is what the person at the command line wants to compare.
	s.cmd = exec.CommandContext(ctx, program, "service", "serve", "--host", "127.0.0.1", "--port", strconv.Itoa(port)) //nolint:gosec // see above
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "KNEO_SERV_REQUEST_LOGS=false", "KNEO_SERV_EXAMPLE_TOOLS=false", "PYTHONDONTWRITEBYTECODE=1"}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	limit := time.After(startTimeout)
	for {
		if a, err := s.send(ctx, request{Method: "GET", Path: "/readyz"}); err == nil && a.status == 200 {
			return s, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.exited:
			return nil, errors.Join(fmt.Errorf("%s exited; see %s", name, log.Name()))
		case <-limit:
			return nil, errors.Join(fmt.Errorf("%s is not ready", name), s.stop())
		}
	}
}

func (s *process) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		if err := s.cmd.Process.Kill(); err != nil {
			return err
		}
		<-s.exited
	}
	return os.RemoveAll(s.dir)
}

func (p *pair) stop() error {
	var errs []error
	for _, s := range p.sides {
		if s != nil {
			errs = append(errs, s.stop())
		}
	}
	return errors.Join(errs...)
}

func (p *pair) send(ctx context.Context, side int, r request) (answer, error) {
	return p.sides[side].send(ctx, r)
}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	raw    []byte
	// body is the decoded JSON, nil when it is none.
	body any
}

func (s *process) send(ctx context.Context, r request) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, s.url+r.Path, strings.NewReader(r.Body))
	if err != nil {
		return answer{}, err
	}
	if r.Body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", s.name, err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, header: resp.Header, raw: raw}
	if err := json.Unmarshal(raw, &a.body); err != nil {
		a.body = nil
	}
	return a, nil
}

// remember keeps the ids that later requests of a chain need.
func (a answer) remember(ids map[string]string) {
	o, ok := a.body.(map[string]any)
	if !ok {
		return
	}
	for name, key := range map[string]string{"{run}": "run_id", "{task}": "continuation_id"} {
		if id, ok := o[key].(string); ok {
			ids[name] = id
		}
	}
	if metadata, ok := o["metadata"].(map[string]any); ok {
		if pending, ok := metadata["request"].(map[string]any); ok {
			if id, ok := pending["id"].(string); ok {
				ids["{request}"] = id
			}
		}
	}
}

// fill puts the ids of one server into a request.
func fill(r request, ids map[string]string) request {
	for name, id := range ids {
		r.Path = strings.ReplaceAll(r.Path, name, id)
		r.Body = strings.ReplaceAll(r.Body, name, id)
	}
	return r
}

func hash(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

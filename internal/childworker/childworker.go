// Package childworker runs a worker library of another language as a child process: it holds the connection to the server, and the child gets
// its calls as lines of JSON on stdin and answers on stdout. It imports the public worker package.
package childworker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/kneo-go/kneo/worker"
)

// Options say what to start.
type Options struct {
	// Command is the program with its arguments.
	Command []string
	// Dir is its working directory; empty means this process's.
	Dir string
	// Env is its environment; nil means this process's.
	Env []string
	// Stderr gets what the child prints.
	Stderr io.Writer
	// StartTimeout bounds the wait for its registration; 60 seconds by default.
	StartTimeout time.Duration
	// Worker are the options of the connection. Name, Client and MaxConcurrency come from the child when it states them.
	Worker worker.Options
}

const (
	defaultStart = time.Minute
	// farewell bounds the wait for a child that was told to end.
	farewell = 5 * time.Second
	// maxLine bounds one message of a child.
	maxLine = 64 << 20
)

// message is one line in either direction.
type message struct {
	Type string `json:"type"`

	WorkerName     string         `json:"worker_name,omitempty"`
	Client         string         `json:"client,omitempty"`
	MaxConcurrency int            `json:"max_concurrency,omitempty"`
	Handlers       []registration `json:"handlers,omitempty"`

	ID             string          `json:"invocation_id,omitempty"`
	Attempt        int             `json:"attempt,omitempty"`
	Kind           string          `json:"kind,omitempty"`
	Name           string          `json:"name,omitempty"`
	Input          json.RawMessage `json:"input,omitempty"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	RunID          string          `json:"run_id,omitempty"`
	TraceParent    string          `json:"traceparent,omitempty"`
	Deadline       string          `json:"deadline,omitempty"`
	Reason         string          `json:"reason,omitempty"`

	Output    json.RawMessage `json:"output,omitempty"`
	Code      string          `json:"code,omitempty"`
	Message   string          `json:"message,omitempty"`
	Retryable bool            `json:"retryable,omitempty"`
	Details   json.RawMessage `json:"details,omitempty"`
}

type registration struct {
	Name        string          `json:"name"`
	Kind        string          `json:"kind"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
	Idempotent  *bool           `json:"idempotent"`
}

// Run starts the child and serves its handlers until the context ends, and then returns nil. It fails when the child cannot be started, does
// not register, or ends by itself, and when the server refuses the worker.
func Run(ctx context.Context, conn grpc.ClientConnInterface, o Options) error {
	c, err := launch(ctx, o)
	if err != nil {
		return err
	}
	defer c.end()
	first, err := c.registration(ctx, o.StartTimeout)
	if err != nil {
		return err
	}
	w := c.worker(o.Worker, first)
	served, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		c.listen()
		cancel(errChildEnded)
	}()
	err = w.Run(served, conn)
	if err == nil && ctx.Err() == nil {
		err = errChildEnded
	}
	return err
}

var errChildEnded = errors.New("the worker process ended by itself")

// child is a running process.
type child struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	lines   *bufio.Scanner
	// kill ends the process at once.
	kill context.CancelFunc

	// writing keeps lines apart; it is not mu, so that a child that reads slowly does not hold up its answers.
	writing sync.Mutex

	mu      sync.Mutex
	waiting map[answerKey]chan message
	ended   bool
}

type answerKey struct {
	id      string
	attempt int
}

func launch(ctx context.Context, o Options) (*child, error) {
	if len(o.Command) == 0 {
		return nil, errors.New("no command was given")
	}
	// The child outlives the context until it has answered what is in progress.
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(life, o.Command[0], o.Command[1:]...) //nolint:gosec // the operator's own command
	cmd.Dir, cmd.Env, cmd.Stderr = o.Dir, o.Env, o.Stderr
	cmd.WaitDelay = farewell
	stdin, err := cmd.StdinPipe()
	if err != nil {
		kill()
		return nil, fmt.Errorf("cannot start the worker process: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		kill()
		return nil, fmt.Errorf("cannot start the worker process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		kill()
		return nil, fmt.Errorf("cannot start %s: %w", o.Command[0], err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	return &child{command: cmd, stdin: stdin, lines: lines, kill: kill, waiting: map[answerKey]chan message{}}, nil
}

// registration reads the first line. A child that does not come up in time is killed.
func (c *child) registration(ctx context.Context, limit time.Duration) (message, error) {
	if limit <= 0 {
		limit = defaultStart
	}
	starting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(starting, c.kill)
	defer stop()
	var m message
	switch {
	case !c.lines.Scan():
		if starting.Err() != nil {
			return m, fmt.Errorf("the worker process did not register: %w", starting.Err())
		}
		return m, errors.New("the worker process ended before it registered")
	case json.Unmarshal(c.lines.Bytes(), &m) != nil || m.Type != "register":
		return m, errors.New("the worker process did not begin with a registration")
	}
	return m, nil
}

func (c *child) worker(o worker.Options, first message) *worker.Worker {
	if first.WorkerName != "" {
		o.Name = first.WorkerName
	}
	if first.Client != "" {
		o.Client = first.Client
	}
	if first.MaxConcurrency > 0 {
		o.MaxConcurrency = first.MaxConcurrency
	}
	w := worker.New(o)
	for _, h := range first.Handlers {
		schema := h.InputSchema
		if string(schema) == "null" {
			schema = nil
		}
		w.Handle(worker.Handler{
			Name: h.Name, Kind: h.Kind, Description: h.Description, InputSchema: schema, NotIdempotent: h.Idempotent != nil && !*h.Idempotent,
		}, c.call)
	}
	return w
}

// call passes one call to the child and waits for its answer. When the context ends the child is told, and its answer is not awaited.
func (c *child) call(ctx context.Context, in worker.Call) (json.RawMessage, error) {
	key := answerKey{in.ID, in.Attempt}
	answered, err := c.expect(key)
	if err != nil {
		return nil, err
	}
	defer c.forget(key)
	m := message{
		Type: "invocation", ID: in.ID, Attempt: in.Attempt, Kind: in.Kind, Name: in.Name, Input: in.Input,
		IdempotencyKey: in.IdempotencyKey, RunID: in.RunID, TraceParent: in.TraceParent,
	}
	if !in.Deadline.IsZero() {
		m.Deadline = in.Deadline.UTC().Format(time.RFC3339Nano)
	}
	if err := c.write(m); err != nil {
		return nil, lost()
	}
	select {
	case a, open := <-answered:
		switch {
		case !open:
			return nil, lost()
		case a.Type == "result" && len(a.Output) == 0:
			return json.RawMessage("null"), nil
		case a.Type == "result":
			return a.Output, nil
		}
		return nil, &worker.Error{Code: a.Code, Message: a.Message, Retryable: a.Retryable, Details: a.Details}
	case <-ctx.Done():
		if err := c.write(message{Type: "cancel", ID: in.ID, Attempt: in.Attempt, Reason: "The call was cancelled."}); err != nil {
			return nil, lost()
		}
		return nil, ctx.Err()
	}
}

func lost() error {
	return &worker.Error{Code: "handler_unavailable", Message: "The worker process ended during the call.", Retryable: true}
}

func (c *child) expect(key answerKey) (<-chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, lost()
	}
	ch := make(chan message, 1)
	c.waiting[key] = ch
	return ch, nil
}

func (c *child) forget(key answerKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, key)
}

func (c *child) write(m message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err = c.stdin.Write(append(line, '\n'))
	return err
}

// listen passes answers on until the child closes its stdout; then all calls in progress fail.
func (c *child) listen() {
	for c.lines.Scan() {
		var a message
		if json.Unmarshal(c.lines.Bytes(), &a) != nil || a.Type != "result" && a.Type != "error" {
			continue
		}
		c.mu.Lock()
		key := answerKey{a.ID, a.Attempt}
		if ch := c.waiting[key]; ch != nil {
			delete(c.waiting, key)
			ch <- a
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for key, ch := range c.waiting {
		delete(c.waiting, key)
		close(ch)
	}
}

// end closes the child's stdin, which tells it to leave, waits a moment and kills it.
func (c *child) end() {
	defer c.kill()
	closing := c.stdin.Close()
	limit := time.AfterFunc(farewell, c.kill)
	defer limit.Stop()
	// The exit code says nothing that the caller does not know; the child prints its reasons to stderr.
	_ = errors.Join(closing, c.command.Wait())
}

// Python is the command line that serves modules with the Python worker library.
func Python(interpreter string, modules, handlers, paths []string, maxConcurrency int, name string) []string {
	if interpreter == "" {
		interpreter = "python3"
	}
	out := []string{interpreter, "-m", "kneo_worker"}
	for _, v := range modules {
		out = append(out, "--module", v)
	}
	for _, v := range handlers {
		out = append(out, "--handler", v)
	}
	for _, v := range paths {
		out = append(out, "--path", v)
	}
	if maxConcurrency > 0 {
		out = append(out, "--max-concurrency", fmt.Sprint(maxConcurrency))
	}
	if name != "" {
		out = append(out, "--name", name)
	}
	return out
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/client"
	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/cli/restconn"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/profile"
	"github.com/kneo-go/kneo/internal/store"
)

// serviceFlags choose the service.
type serviceFlags struct{ url, profile string }

func addServiceFlags(cmd *cobra.Command, f *serviceFlags) {
	cmd.Flags().StringVar(&f.url, "service-url", "", "Address of the service (http, https, grpc or grpcs).")
	cmd.Flags().StringVar(&f.profile, "profile", "", "Name of a service profile.")
}

// target is where a command is carried out; an empty URL means this process.
type target struct{ url, key string }

// target decides by options, project config and active profile, in this order.
func (s *shell) target(f *serviceFlags) (target, error) {
	key := s.env("KNEO_SERV_API_KEY")
	if f.profile == "" && f.url != "" {
		return target{f.url, key}, nil
	}
	path, err := profile.Path(s.Env)
	if err != nil {
		return target{}, err
	}
	if f.profile != "" {
		t, err := profileTarget(path, f.profile, key)
		if f.url != "" {
			t.url = f.url
		}
		return t, err
	}
	p, err := s.project()
	if err != nil {
		return target{}, err
	}
	if u := p.Config.Service.DefaultURL; u != nil && *u != "" {
		return target{*u, key}, nil
	}
	profiles, err := profile.Load(path)
	if err != nil || profiles.Active() == "" {
		return target{}, err
	}
	return profileTarget(path, profiles.Active(), key)
}

func profileTarget(path, name, key string) (target, error) {
	profiles, err := profile.Load(path)
	if err != nil {
		return target{}, err
	}
	p, err := profiles.Get(name)
	if err != nil {
		return target{}, err
	}
	if p.APIKey != "" {
		key = p.APIKey
	}
	return target{p.ServiceURL, key}, nil
}

// access is what a command wants of a store in this process.
type access int

const (
	reading access = iota
	writing
)

// connection is a client and what must be done when it is not needed any more.
type connection struct {
	*client.Client
	// url is empty inside this process, and app is nil outside of it.
	url   string
	app   *app.App
	close func()
}

func (c *connection) remote() bool { return c.url != "" }

// fail words an error of a call for where it came from.
func (c *connection) fail(err error) error {
	if err == nil || !c.remote() {
		return err
	}
	return &remoteError{url: c.url, err: err}
}

// connect reaches the service, or builds one in this process.
func (s *shell) connect(ctx context.Context, f *serviceFlags, a access) (*connection, error) {
	t, err := s.target(f)
	if err != nil {
		return nil, err
	}
	if t.url == "" {
		return s.local(ctx, a)
	}
	return s.dial(ctx, t)
}

func (s *shell) userAgent() string { return "kneo-cli/" + s.Version }

const probeTimeout = 3 * time.Second

// dial speaks gRPC where the service does, and REST otherwise.
func (s *shell) dial(ctx context.Context, t target) (*connection, error) {
	o, err := s.clientOptions()
	if err != nil {
		return nil, err
	}
	o.APIKey = t.key
	u, err := url.Parse(t.url)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no service address; expected something like http://host:8000", t.url)
	}
	if rest := u.Scheme == "http" || u.Scheme == "https"; rest && (strings.Trim(u.Path, "/") != "" || !s.speaksGRPC(ctx, t.url)) {
		conn, err := restconn.New(t.url, s.userAgent(), &http.Client{})
		if err != nil {
			return nil, err
		}
		return &connection{Client: client.New(conn, o), url: t.url, close: func() {}}, nil
	}
	c, err := client.Dial(t.url, o)
	if err != nil {
		return nil, err
	}
	return &connection{Client: c, url: t.url, close: func() { _ = c.Close() }}, nil
}

// speaksGRPC asks a public method, once and briefly. Any answer that carries the contract's details counts.
func (s *shell) speaksGRPC(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := client.Dial(address, client.Options{Retry: client.NoRetry, UserAgent: s.userAgent()})
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_, err = c.Health().GetLiveness(ctx, &kneov1.GetLivenessRequest{})
	return err == nil || client.Code(err) != ""
}

const (
	defaultClientTimeout = 120
	defaultClientRetries = 2
	defaultClientBackoff = 0.25
)

// clientOptions reads the client's variables.
func (s *shell) clientOptions() (client.Options, error) {
	timeout, err := s.positive("KNEO_SERV_CLIENT_TIMEOUT", defaultClientTimeout)
	if err != nil {
		return client.Options{}, err
	}
	backoff, err := s.positive("KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS", defaultClientBackoff)
	if err != nil {
		return client.Options{}, err
	}
	retries := defaultClientRetries
	if text := s.env("KNEO_SERV_CLIENT_RETRIES"); text != "" {
		if retries, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			return client.Options{}, errors.New("KNEO_SERV_CLIENT_RETRIES must be an integer.") //nolint:revive,staticcheck // the documented text
		}
		if retries < 0 {
			return client.Options{}, errors.New("KNEO_SERV_CLIENT_RETRIES must be zero or greater.") //nolint:revive,staticcheck // the documented text
		}
	}
	return client.Options{
		IdempotencyKey: s.env("KNEO_SERV_IDEMPOTENCY_KEY"), UserAgent: s.userAgent(), Timeout: seconds(timeout),
		Retry: client.Retry{Attempts: retries + 1, Base: seconds(backoff), Linear: true},
	}, nil
}

func (s *shell) positive(name string, initial float64) (float64, error) {
	text := s.env(name)
	if text == "" {
		return initial, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
		return 0, fmt.Errorf("%s must be a number.", name) //nolint:revive,staticcheck // the documented text
	case f <= 0:
		return 0, fmt.Errorf("%s must be greater than zero.", name) //nolint:revive,staticcheck // the documented text
	}
	return f, nil
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// local builds the service in this process on the project's own state. Reading works beside a process that writes.
func (s *shell) local(ctx context.Context, a access) (*connection, error) {
	p, err := s.project()
	if err != nil {
		return nil, err
	}
	path := p.Path(p.Config.Local.StatePath)
	cfg, err := config.Load(s.localEnv(path, p.Root))
	if err != nil {
		return nil, err
	}
	o := app.Options{Version: s.Version, Log: io.Discard, Env: s.Env}
	if s.env("KNEO_SERV_LOG_LEVEL") != "" {
		o.Log = s.Err
	}
	built, err := app.New(ctx, cfg, o)
	var inUse *store.InUseError
	if errors.As(err, &inUse) && a == reading {
		o.ReadOnly = true
		built, err = app.New(ctx, cfg, o)
	}
	if err != nil {
		return nil, err
	}
	return &connection{Client: client.New(built.Conn(), client.Options{IdempotencyKey: s.env("KNEO_SERV_IDEMPOTENCY_KEY"), Retry: client.NoRetry}), app: built, close: localEnd(ctx, built, o.ReadOnly)}, nil
}

func localEnd(ctx context.Context, built *app.App, readOnly bool) func() {
	if readOnly {
		return built.Close
	}
	return built.Work(ctx, 0)
}

// localEnv is the environment of a service in this process: the project's state, no keys, no request lines.
func (s *shell) localEnv(state, root string) config.Env {
	fixed := map[string]string{
		"KNEO_SERV_DATABASE_URL": "", "KNEO_SERV_SQLITE_PATH": state, "KNEO_SERV_API_KEYS": "", "KNEO_SERV_ADMIN_API_KEY": "",
		"KNEO_SERV_AUTH_ENABLED": "false", "KNEO_SERV_REQUEST_LOGS": "false", "KNEO_SERV_SWEEP_SECONDS": "0", "KNEO_SERV_GRPC_ADDR": "",
		"KNEO_SERV_TLS_CERT_FILE": "", "KNEO_SERV_TLS_KEY_FILE": "", "KNEO_SERV_METRICS_ENABLED": "false",
	}
	return func(name string) (string, bool) {
		if v, ok := fixed[name]; ok {
			return v, true
		}
		if name == "KNEO_SERV_SPEC_ROOT" {
			if v, ok := s.Env(name); ok && v != "" {
				return v, true
			}
			return root, true
		}
		if name == "KNEO_SERV_LOG_LEVEL" {
			if v, ok := s.Env(name); ok && v != "" {
				return v, true
			}
			return "", false
		}
		return s.Env(name)
	}
}

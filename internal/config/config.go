// Package config declares every KNEO_SERV_* setting of the service once: name, type, default, bounds, whether it is a secret, and help. Load reads
// them from an environment, Dump shows the effective values without secrets, and Settings feeds the generated documentation. It imports only the
// standard library.
package config

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Config is the effective configuration of one process. It is plain data, read once at start.
type Config struct {
	Storage     Storage
	Auth        Auth
	Specs       Specs
	Limits      Limits
	Worker      Worker
	Listen      Listen
	Provider    Retry
	MCP         Retry
	Execution   Execution
	Observe     Observe
	Checkpoints Checkpoints
	Retention   Retention

	values map[string]string
}

// Storage says where state lives.
type Storage struct {
	// DatabaseURL selects PostgreSQL when it is not blank.
	DatabaseURL string
	// ListenURL is a direct connection for notifications when DatabaseURL leads to a pooler; blank means DatabaseURL.
	ListenURL string
	// MaxConns bounds the connection pool; 0 leaves it to the URL.
	MaxConns int64
	// SQLitePath is the database file, or ":memory:".
	SQLitePath string
	// Synchronous is FULL or NORMAL.
	Synchronous string
}

// Auth holds the raw key lists; the auth package reads them.
type Auth struct {
	APIKeys     string
	AdminAPIKey string
	// Enabled is the word as set; blank means: on when any key exists.
	Enabled string
}

// Specs says how specs are found and bound.
type Specs struct {
	// Root confines spec, overlay and skill paths; empty means the working directory.
	Root                   string
	RequireProviderSecrets bool
	ForceDummyProvider     bool
	ExampleTools           bool
	// CacheEntries bounds the cache of compiled specs.
	CacheEntries int64
	// OutboundHosts are the hosts that specs may name for models and MCP servers; none means any.
	OutboundHosts []string
	// SigningKey verifies signed spec bundles; SignedEnvironments take nothing else.
	SigningKey         string
	SignedEnvironments []string
	// TokenBudget is the deployment's token ceiling per agent run; 0 means none.
	TokenBudget int64
}

// Limits bound requests.
type Limits struct {
	BodyBytes         int64
	InputChars        int64
	HumanContentChars int64
	InlineSpecBytes   int64
	OverridesBytes    int64
	MetadataBytes     int64
	ListItems         int64
	PathChars         int64
	// IdempotencyTTL is read and checked for compatibility; a key is held by its run.
	IdempotencyTTL time.Duration
}

// Worker configures queue, pool, sweeps and drain.
type Worker struct {
	Concurrency     int64
	Lease           time.Duration
	IdlePoll        time.Duration
	MaxAttempts     int64
	MaxQueueDepth   int64
	ShutdownTimeout time.Duration
	// Sweep is the period of the leader's jobs; 0 turns them off.
	Sweep time.Duration
}

// Listen holds addresses besides the main one and TLS files.
type Listen struct {
	GRPCAddr string
	CertFile string
	KeyFile  string
	// ClientCAFile, when set, requires client certificates signed by one of its authorities.
	ClientCAFile string
	// Origins are the web origins that browsers may call from.
	Origins []string
}

// Retry is a policy for calls to something outside.
type Retry struct {
	Retries        int64
	Backoff        time.Duration
	Timeout        time.Duration
	RetryOnTimeout bool
	// ConnectTimeout applies to MCP servers; 0 means the default.
	ConnectTimeout time.Duration
}

// Execution tunes the engine.
type Execution struct {
	WorkflowRetryOnTimeout bool
	// HandlerTimeout bounds the wait for a remote worker that takes a call.
	HandlerTimeout time.Duration
	// TraceMaxEvents bounds the trace of a leg; 0 means none.
	TraceMaxEvents int64
}

// Observe configures logs, metrics, health and traces.
type Observe struct {
	RequestLogs bool
	LogLevel    string
	// LogFormat is json or text.
	LogFormat        string
	Metrics          bool
	HealthProviders  []string
	HealthMCPSecrets []string
	OTel             bool
	OTelArguments    bool
	OTelResults      bool
	AuditExport      bool
}

// Checkpoints bounds what a checkpoint stores.
type Checkpoints struct {
	CompressBytes, MaxBytes, PreviewChars, MaxListItems, MaxDictItems int64
}

// Retention says what is deleted and when; nil days keep for ever.
type Retention struct {
	Runs, Checkpoints, Queue, Continuations, Audit, Idempotency, Artifacts, Logs *int64

	RunStatuses, QueueStatuses []string
	ArtifactPath, LogPath      string
}

// Env looks a variable up, as os.LookupEnv does.
type Env func(name string) (string, bool)

// FromMap is an Env over a map.
func FromMap(m map[string]string) Env {
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// Process is the environment of this process.
func Process() Env { return os.LookupEnv }

// Load reads every setting. The first bad value is the error, in the order of the table, with the documented text.
func Load(env Env) (Config, error) {
	c := Config{values: map[string]string{}}
	for i := range settings {
		s := &settings[i]
		raw, set := env(s.Name)
		if !set || s.isUnset(raw) {
			raw = s.Default
			set = false
		}
		c.values[s.Name] = raw
		if err := s.apply(&c, raw, set); err != nil {
			return Config{}, err
		}
	}
	if (c.Listen.CertFile == "") != (c.Listen.KeyFile == "") {
		return Config{}, fmt.Errorf("%s and %s must be set together", nameTLSCert, nameTLSKey)
	}
	return c, nil
}

// Value is one effective setting as Dump shows it.
type Value struct {
	Name, Value string
	// Default tells that the value is the built-in one.
	Default bool
}

// Dump returns all effective settings in the order of the table; secrets that are set show as [REDACTED].
func (c *Config) Dump() []Value {
	out := make([]Value, 0, len(settings))
	for _, s := range settings {
		v := c.values[s.Name]
		shown := v
		if s.Secret && v != "" {
			shown = "[REDACTED]"
		}
		out = append(out, Value{Name: s.Name, Value: shown, Default: v == s.Default})
	}
	return out
}

// Setting is one row of the table of settings.
type Setting struct {
	Name string
	// Type is text, path, integer, number, boolean or list.
	Type    string
	Default string
	// Bounds is the accepted range in words, or empty.
	Bounds string
	Help   string
	Group  string
	Secret bool

	// keepEmpty treats a set but empty variable as a value.
	keepEmpty bool
	apply     func(c *Config, raw string, set bool) error
}

func (s *Setting) isUnset(raw string) bool { return !s.keepEmpty && strings.TrimSpace(raw) == "" }

// Settings returns the table, in the order of the documentation.
func Settings() []Setting { return append([]Setting(nil), settings...) }

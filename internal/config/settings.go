package config

import (
	"path/filepath"
	"time"
)

const (
	nameTLSCert = "KNEO_SERV_TLS_CERT_FILE"
	nameTLSKey  = "KNEO_SERV_TLS_KEY_FILE"
)

// Groups of settings in the documentation.
const (
	groupStorage   = "Storage"
	groupAuth      = "Authentication"
	groupSpecs     = "Specs and providers"
	groupLimits    = "Request limits"
	groupWorker    = "Queue and workers"
	groupListen    = "Listeners"
	groupReliable  = "Execution reliability"
	groupObserve   = "Observability"
	groupStore     = "Checkpoint storage"
	groupRetention = "Retention"
)

// terminal are the statuses that retention may name.
var terminal = []string{"cancelled", "completed", "expired", "failed", "timed_out"}

// settings is the one table. Its order is the order of checks at start.
var settings = concat(limitSettings, observeSettings, storageSettings, workerSettings, authSettings, specSettings, listenSettings,
	reliabilitySettings, checkpointSettings, retentionSettings)

func concat(groups ...[]Setting) []Setting {
	var out []Setting
	for _, g := range groups {
		out = append(out, g...)
	}
	return out
}

// limit is a request limit: an integer above zero.
func limit(name, def, help string, field func(*Config) *int64) Setting {
	return Setting{Name: name, Type: "integer", Default: def, Bounds: "> 0", Help: help, Group: groupLimits, apply: positive(name, field)}
}

var limitSettings = []Setting{
	limit("KNEO_SERV_MAX_BODY_BYTES", "1048576", "Largest request body, chunked ones too, and largest gRPC message.", func(c *Config) *int64 { return &c.Limits.BodyBytes }),
	limit("KNEO_SERV_MAX_INPUT_CHARS", "20000", "Longest `input` of a run, in characters.", func(c *Config) *int64 { return &c.Limits.InputChars }),
	limit("KNEO_SERV_MAX_HUMAN_CONTENT_CHARS", "20000", "Longest `content` of an answer to a human task, in characters.", func(c *Config) *int64 { return &c.Limits.HumanContentChars }),
	limit("KNEO_SERV_MAX_INLINE_SPEC_BYTES", "262144", "Largest inline `spec`, serialised.", func(c *Config) *int64 { return &c.Limits.InlineSpecBytes }),
	limit("KNEO_SERV_MAX_OVERRIDES_BYTES", "65536", "Largest `overrides`, serialised.", func(c *Config) *int64 { return &c.Limits.OverridesBytes }),
	limit("KNEO_SERV_MAX_METADATA_BYTES", "32768", "Largest `metadata` of a run or an answer, serialised.", func(c *Config) *int64 { return &c.Limits.MetadataBytes }),
	limit("KNEO_SERV_MAX_LIST_ITEMS", "100", "Most items of `overlays` and `blocked_diagnostic_codes`.", func(c *Config) *int64 { return &c.Limits.ListItems }),
	limit("KNEO_SERV_MAX_PATH_CHARS", "4096", "Longest path, environment, session id and diagnostic code, in characters.", func(c *Config) *int64 { return &c.Limits.PathChars }),
	{
		Name: "KNEO_SERV_IDEMPOTENCY_LOCK_TTL_SECONDS", Type: "integer", Default: "300", Bounds: "> 0", Group: groupLimits,
		Help: "Accepted for compatibility: a key belongs to its run and stays in progress until that leg ends, however long it takes.",
		apply: wholeSeconds("KNEO_SERV_IDEMPOTENCY_LOCK_TTL_SECONDS", 1, "KNEO_SERV_IDEMPOTENCY_LOCK_TTL_SECONDS must be greater than zero.",
			func(c *Config) *time.Duration { return &c.Limits.IdempotencyTTL }),
	},
}

var observeSettings = []Setting{
	{
		Name: "KNEO_SERV_LOG_LEVEL", Type: "text", Default: "INFO", Bounds: "DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, FATAL, NOTSET", Group: groupObserve,
		Help: "Lowest level that is logged.", keepEmpty: true, apply: logLevel,
	},
	{Name: "KNEO_SERV_REQUEST_LOGS", Type: "boolean", Default: "true", Group: groupObserve, Help: "One JSON line per request.", apply: boolean(func(c *Config) *bool { return &c.Observe.RequestLogs })},
	{Name: "KNEO_SERV_LOG_FORMAT", Type: "text", Default: "json", Bounds: "json, text", Group: groupObserve, Help: "Form of the log lines.", apply: logFormat},
	{Name: "KNEO_SERV_METRICS_ENABLED", Type: "boolean", Default: "true", Group: groupObserve, Help: "Serve /metrics.", apply: boolean(func(c *Config) *bool { return &c.Observe.Metrics })},
	{Name: "KNEO_SERV_HEALTH_PROVIDERS", Type: "list", Group: groupObserve, Help: "Providers whose keys readiness must find.", apply: list(func(c *Config) *[]string { return &c.Observe.HealthProviders })},
	{Name: "KNEO_SERV_HEALTH_MCP_SECRETS", Type: "list", Group: groupObserve, Help: "Environment variables that readiness must find.", apply: list(func(c *Config) *[]string { return &c.Observe.HealthMCPSecrets })},
	{Name: "KNEO_SERV_OTEL_ENABLED", Type: "boolean", Default: "false", Group: groupObserve, Help: "Export spans; the exporter reads the OTEL_* variables.", apply: boolean(func(c *Config) *bool { return &c.Observe.OTel })},
	{Name: "KNEO_SERV_OTEL_RECORD_ARGUMENTS", Type: "boolean", Default: "false", Group: groupObserve, Help: "Put tool arguments into spans.", apply: boolean(func(c *Config) *bool { return &c.Observe.OTelArguments })},
	{Name: "KNEO_SERV_OTEL_RECORD_RESULTS", Type: "boolean", Default: "false", Group: groupObserve, Help: "Put tool results into spans.", apply: boolean(func(c *Config) *bool { return &c.Observe.OTelResults })},
	{Name: "KNEO_SERV_AUDIT_EXPORT_ENABLED", Type: "boolean", Default: "false", Group: groupObserve, Help: "Log every audit event as a JSON line.", apply: boolean(func(c *Config) *bool { return &c.Observe.AuditExport })},
}

var storageSettings = []Setting{
	{
		Name: "KNEO_SERV_DATABASE_URL", Type: "text", Group: groupStorage, Secret: true, Help: "PostgreSQL URL or key=value DSN; blank means SQLite.",
		apply: text(func(c *Config) *string { return &c.Storage.DatabaseURL }),
	},
	{
		Name: "KNEO_SERV_DATABASE_LISTEN_URL", Type: "text", Group: groupStorage, Secret: true,
		Help:  "Direct PostgreSQL connection for notifications when KNEO_SERV_DATABASE_URL leads to a transaction pooler; blank means the same.",
		apply: text(func(c *Config) *string { return &c.Storage.ListenURL }),
	},
	{
		Name: "KNEO_SERV_DATABASE_MAX_CONNECTIONS", Type: "integer", Default: "0", Bounds: ">= 0", Group: groupStorage,
		Help:  "Most PostgreSQL connections of this process; 0 means pool_max_conns of the URL, or 12.",
		apply: atLeastZero("KNEO_SERV_DATABASE_MAX_CONNECTIONS", func(c *Config) *int64 { return &c.Storage.MaxConns }),
	},
	{
		Name: "KNEO_SERV_SQLITE_PATH", Type: "path", Default: filepath.Join(".kneo", "kneo_runs.sqlite"), Group: groupStorage,
		Help: "SQLite database file; its folder is created. `:memory:` keeps nothing.", apply: text(func(c *Config) *string { return &c.Storage.SQLitePath }),
	},
	{
		Name: "KNEO_SERV_SQLITE_SYNCHRONOUS", Type: "text", Default: "FULL", Bounds: "FULL, NORMAL", Group: groupStorage,
		Help: "FULL survives a power cut; NORMAL may lose the last commits in one.", apply: synchronous,
	},
}

var workerSettings = []Setting{
	{
		Name: "KNEO_SERV_WORKER_CONCURRENCY", Type: "integer", Default: "1", Bounds: ">= 1", Group: groupWorker, Help: "Queued runs executed at once by this process.",
		apply: integer("KNEO_SERV_WORKER_CONCURRENCY", 1, "worker_concurrency must be >= 1", func(c *Config) *int64 { return &c.Worker.Concurrency }),
	},
	{
		Name: "KNEO_SERV_WORKER_LEASE_SECONDS", Type: "integer", Default: "300", Bounds: ">= 1", Group: groupWorker, Help: "How long a claimed run is held without a heartbeat.",
		apply: wholeSeconds("KNEO_SERV_WORKER_LEASE_SECONDS", 1, "worker_lease_seconds must be >= 1", func(c *Config) *time.Duration { return &c.Worker.Lease }),
	},
	{
		Name: "KNEO_SERV_WORKER_IDLE_POLL_SECONDS", Type: "number", Default: "1.0", Bounds: "finite, > 0", Group: groupWorker, Help: "Pause of an idle worker; new runs wake it earlier.",
		apply: seconds("KNEO_SERV_WORKER_IDLE_POLL_SECONDS", false, "worker_idle_poll_seconds must be a finite number > 0", func(c *Config) *time.Duration { return &c.Worker.IdlePoll }),
	},
	{
		Name: "KNEO_SERV_QUEUE_MAX_ATTEMPTS", Type: "integer", Default: "5", Bounds: ">= 0", Group: groupWorker, Help: "Claims of one run before it is dead-lettered; 0 means no limit.",
		apply: integer("KNEO_SERV_QUEUE_MAX_ATTEMPTS", 0, "queue_max_attempts must be >= 0 (0 disables the cap)", func(c *Config) *int64 { return &c.Worker.MaxAttempts }),
	},
	{
		Name: "KNEO_SERV_MAX_QUEUE_DEPTH", Type: "integer", Default: "0", Bounds: ">= 0", Group: groupWorker, Help: "Most waiting runs; more are refused with 503 queue_full. 0 means no limit.",
		apply: integer("KNEO_SERV_MAX_QUEUE_DEPTH", 0, "max_queue_depth must be >= 0 (0 disables backpressure)", func(c *Config) *int64 { return &c.Worker.MaxQueueDepth }),
	},
	{
		Name: "KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS", Type: "integer", Default: "30", Bounds: ">= 0", Group: groupWorker, Help: "How long a stopping process waits for its runs.",
		apply: wholeSeconds("KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS", 0, "shutdown_timeout_seconds must be >= 0", func(c *Config) *time.Duration { return &c.Worker.ShutdownTimeout }),
	},
	{
		Name: "KNEO_SERV_SWEEP_SECONDS", Type: "number", Default: "5", Bounds: ">= 0", Group: groupWorker,
		Help:  "Period of the leader's jobs: overdue runs, expired human tasks, retention. 0 turns them off; `kneo service sweep` runs them once.",
		apply: seconds("KNEO_SERV_SWEEP_SECONDS", true, "KNEO_SERV_SWEEP_SECONDS must be zero or greater.", func(c *Config) *time.Duration { return &c.Worker.Sweep }),
	},
}

var authSettings = []Setting{
	{Name: "KNEO_SERV_API_KEYS", Type: "text", Group: groupAuth, Secret: true, Help: "`name:key:role_or_scope[,…]` entries separated by `;`.", apply: text(func(c *Config) *string { return &c.Auth.APIKeys })},
	{Name: "KNEO_SERV_ADMIN_API_KEY", Type: "text", Group: groupAuth, Secret: true, Help: "Key of the principal `admin` with all rights.", apply: text(func(c *Config) *string { return &c.Auth.AdminAPIKey })},
	{Name: "KNEO_SERV_AUTH_ENABLED", Type: "boolean", Group: groupAuth, Help: "Unset: on when any key is configured. An explicit false turns authentication off.", apply: text(func(c *Config) *string { return &c.Auth.Enabled })},
}

var specSettings = []Setting{
	{Name: "KNEO_SERV_SPEC_ROOT", Type: "path", Group: groupSpecs, Help: "Folder that spec, overlay and skill paths must stay in; blank means the working directory.", apply: text(func(c *Config) *string { return &c.Specs.Root })},
	{Name: "KNEO_SERV_REQUIRE_PROVIDER_SECRETS", Type: "boolean", Default: "false", Group: groupSpecs, Help: "Refuse a spec whose provider key is missing instead of failing at the first call.", apply: boolean(func(c *Config) *bool { return &c.Specs.RequireProviderSecrets })},
	{Name: "KNEO_SERV_FORCE_DUMMY_PROVIDER", Type: "boolean", Default: "false", Group: groupSpecs, Help: "Bind every agent to the built-in model that calls nobody.", apply: boolean(func(c *Config) *bool { return &c.Specs.ForceDummyProvider })},
	{Name: "KNEO_SERV_EXAMPLE_TOOLS", Type: "boolean", Default: "true", Group: groupSpecs, Help: "Register the built-in example tools.", apply: boolean(func(c *Config) *bool { return &c.Specs.ExampleTools })},
	{Name: "KNEO_SERV_OUTBOUND_HOSTS", Type: "list", Group: groupSpecs, Help: "Hosts that specs may name for models and MCP servers: `host`, `host:port` or `*.domain`; blank means any.", apply: list(func(c *Config) *[]string { return &c.Specs.OutboundHosts })},
	{Name: "KNEO_SERV_SPEC_SIGNING_KEY", Type: "text", Group: groupSpecs, Secret: true, Help: "Key that signs and verifies spec bundles.", apply: text(func(c *Config) *string { return &c.Specs.SigningKey })},
	{Name: "KNEO_SERV_SIGNED_ENVIRONMENTS", Type: "list", Group: groupSpecs, Help: "Environments that take signed spec bundles only, without overlays, overrides or skill changes; needs the signing key.", apply: list(func(c *Config) *[]string { return &c.Specs.SignedEnvironments })},
	{Name: "KNEO_SERV_SPEC_CACHE_ENTRIES", Type: "integer", Default: "256", Bounds: "> 0", Group: groupSpecs, Help: "Compiled specs kept in memory.", apply: positive("KNEO_SERV_SPEC_CACHE_ENTRIES", func(c *Config) *int64 { return &c.Specs.CacheEntries })},
	{Name: "KNEO_SERV_TOKEN_BUDGET", Type: "integer", Bounds: "> 0", Group: groupSpecs, Help: "Token ceiling of an agent run whose spec names none; anything else means none.", apply: tokenBudget},
}

var listenSettings = []Setting{
	{Name: "KNEO_SERV_GRPC_ADDR", Type: "text", Group: groupListen, Help: "Separate address for gRPC; blank means the shared port.", apply: text(func(c *Config) *string { return &c.Listen.GRPCAddr })},
	{Name: nameTLSCert, Type: "path", Group: groupListen, Help: "Certificate chain of the listeners; set together with the key.", apply: text(func(c *Config) *string { return &c.Listen.CertFile })},
	{Name: nameTLSKey, Type: "path", Group: groupListen, Help: "Private key of the listeners.", apply: text(func(c *Config) *string { return &c.Listen.KeyFile })},
	{Name: "KNEO_SERV_TLS_CLIENT_CA_FILE", Type: "path", Group: groupListen, Help: "Authorities whose client certificates are required; needs a certificate.", apply: text(func(c *Config) *string { return &c.Listen.ClientCAFile })},
	{Name: "KNEO_SERV_CORS_ORIGINS", Type: "list", Group: groupListen, Help: "Web origins that browsers may call from, or *; blank means none.", apply: list(func(c *Config) *[]string { return &c.Listen.Origins })},
}

// retry declares the four settings of one retry policy.
func retry(prefix, what string, field func(*Config) *Retry) []Setting {
	retries, backoff, timeout, onTimeout := prefix+"_RETRIES", prefix+"_RETRY_BACKOFF_SECONDS", prefix+"_TIMEOUT_SECONDS", prefix+"_RETRY_ON_TIMEOUT"
	return []Setting{
		{Name: retries, Type: "integer", Default: "0", Bounds: ">= 0", Group: groupReliable, Help: "Extra attempts of " + what + ".", apply: atLeastZero(retries, func(c *Config) *int64 { return &field(c).Retries })},
		{
			Name: backoff, Type: "number", Default: "0", Bounds: ">= 0", Group: groupReliable, Help: "Pause before an extra attempt, times its number.",
			apply: seconds(backoff, true, backoff+" must be zero or greater.", func(c *Config) *time.Duration { return &field(c).Backoff }),
		},
		{
			Name: timeout, Type: "number", Bounds: "> 0", Group: groupReliable, Help: "Time limit of one attempt; blank means none.",
			apply: seconds(timeout, false, timeout+" must be greater than zero.", func(c *Config) *time.Duration { return &field(c).Timeout }),
		},
		{Name: onTimeout, Type: "boolean", Default: "false", Group: groupReliable, Help: "Repeat after such a time limit too.", apply: strictBoolean(onTimeout, func(c *Config) *bool { return &field(c).RetryOnTimeout })},
	}
}

var reliabilitySettings = concat(
	retry("KNEO_SERV_PROVIDER", "a model call", func(c *Config) *Retry { return &c.Provider }),
	retry("KNEO_SERV_MCP", "an MCP tool call", func(c *Config) *Retry { return &c.MCP }),
	[]Setting{
		{
			Name: "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS", Type: "number", Bounds: "> 0", Group: groupReliable, Help: "Time limit of connecting to an MCP server; blank means the MCP time limit, else 30.",
			apply: seconds("KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS", false, "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS must be greater than zero.", func(c *Config) *time.Duration { return &c.MCP.ConnectTimeout }),
		},
		{
			Name: "KNEO_SERV_WORKFLOW_RETRY_ON_TIMEOUT", Type: "boolean", Default: "false", Group: groupReliable, Help: "Steps with retries repeat after their own time limit.",
			apply: strictBoolean("KNEO_SERV_WORKFLOW_RETRY_ON_TIMEOUT", func(c *Config) *bool { return &c.Execution.WorkflowRetryOnTimeout }),
		},
		{
			Name: "KNEO_SERV_HANDLER_TIMEOUT_SECONDS", Type: "number", Default: "60", Bounds: "> 0", Group: groupReliable, Help: "Longest wait for a worker that takes the call of a handler.",
			apply: seconds("KNEO_SERV_HANDLER_TIMEOUT_SECONDS", false, "KNEO_SERV_HANDLER_TIMEOUT_SECONDS must be greater than zero.", func(c *Config) *time.Duration { return &c.Execution.HandlerTimeout }),
		},
		{
			Name: "KNEO_SERV_TRACE_MAX_EVENTS", Type: "integer", Default: "10000", Bounds: ">= 0", Group: groupObserve, Help: "Trace events kept per leg; 0 means all.",
			apply: atLeastZero("KNEO_SERV_TRACE_MAX_EVENTS", func(c *Config) *int64 { return &c.Execution.TraceMaxEvents }),
		},
	},
)

func checkpoint(name, def, help string, field func(*Config) *int64) Setting {
	return Setting{Name: name, Type: "integer", Default: def, Bounds: ">= 0", Group: groupStore, Help: help, apply: atLeastZero(name, field)}
}

var checkpointSettings = []Setting{
	checkpoint("KNEO_SERV_CHECKPOINT_COMPRESS_BYTES", "65536", "Checkpoints from this size on are compressed; 0 means never.", func(c *Config) *int64 { return &c.Checkpoints.CompressBytes }),
	checkpoint("KNEO_SERV_CHECKPOINT_MAX_BYTES", "1048576", "Largest stored checkpoint; a larger one is reduced.", func(c *Config) *int64 { return &c.Checkpoints.MaxBytes }),
	checkpoint("KNEO_SERV_CHECKPOINT_PREVIEW_CHARS", "1200", "Characters kept of a long text in a reduced checkpoint.", func(c *Config) *int64 { return &c.Checkpoints.PreviewChars }),
	checkpoint("KNEO_SERV_CHECKPOINT_MAX_LIST_ITEMS", "20", "List items kept in a reduced checkpoint.", func(c *Config) *int64 { return &c.Checkpoints.MaxListItems }),
	checkpoint("KNEO_SERV_CHECKPOINT_MAX_DICT_ITEMS", "50", "Object keys kept in a reduced checkpoint.", func(c *Config) *int64 { return &c.Checkpoints.MaxDictItems }),
}

func keep(what, help string, field func(*Config) **int64) Setting {
	name := "KNEO_SERV_RETENTION_" + what + "_DAYS"
	return Setting{Name: name, Type: "integer", Bounds: ">= 0", Group: groupRetention, Help: help + " Blank keeps them.", apply: days(name, field)}
}

var retentionSettings = []Setting{
	keep("RUNS", "Days after which closed runs are deleted with all that belongs to them.", func(c *Config) **int64 { return &c.Retention.Runs }),
	keep("CHECKPOINTS", "Days after which checkpoints of closed runs are deleted.", func(c *Config) **int64 { return &c.Retention.Checkpoints }),
	keep("QUEUE", "Days after which closed queue records are deleted.", func(c *Config) **int64 { return &c.Retention.Queue }),
	keep("CONTINUATIONS", "Days after which closed human tasks are deleted.", func(c *Config) **int64 { return &c.Retention.Continuations }),
	keep("AUDIT", "Days after which audit events are deleted.", func(c *Config) **int64 { return &c.Retention.Audit }),
	keep("IDEMPOTENCY", "Days after which idempotency records are deleted.", func(c *Config) **int64 { return &c.Retention.Idempotency }),
	keep("ARTIFACTS", "Days after which artifact files are deleted.", func(c *Config) **int64 { return &c.Retention.Artifacts }),
	keep("LOGS", "Days after which log files are deleted.", func(c *Config) **int64 { return &c.Retention.Logs }),
	{
		Name: "KNEO_SERV_RETENTION_RUN_STATUSES", Type: "list", Default: "cancelled,completed,expired,failed,timed_out", Bounds: "terminal statuses", Group: groupRetention, Help: "Statuses whose runs are deleted.",
		apply: statuses("KNEO_SERV_RETENTION_RUN_STATUSES", "run_statuses", terminal, func(c *Config) *[]string { return &c.Retention.RunStatuses }),
	},
	{
		Name: "KNEO_SERV_RETENTION_QUEUE_STATUSES", Type: "list", Default: "completed,failed", Bounds: "completed, failed", Group: groupRetention, Help: "Statuses whose queue records are deleted.",
		apply: statuses("KNEO_SERV_RETENTION_QUEUE_STATUSES", "queue_statuses", []string{"completed", "failed"}, func(c *Config) *[]string { return &c.Retention.QueueStatuses }),
	},
	{Name: "KNEO_SERV_ARTIFACT_PATH", Type: "path", Group: groupRetention, Help: "Folder of artifact files.", apply: text(func(c *Config) *string { return &c.Retention.ArtifactPath })},
	{Name: "KNEO_SERV_LOG_PATH", Type: "path", Group: groupRetention, Help: "Folder of log files.", apply: text(func(c *Config) *string { return &c.Retention.LogPath })},
}

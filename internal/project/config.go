package project

// Config is the project config with all its defaults. Its JSON form is what `kneo config show` prints.
type Config struct {
	Project         Identity                 `json:"project"`
	Service         Service                  `json:"service"`
	Local           Local                    `json:"local"`
	Specs           Specs                    `json:"specs"`
	RuntimeDefaults Runtime                  `json:"runtime_defaults"`
	ModelDefaults   Map[Model]               `json:"model_defaults"`
	PolicyDefaults  PolicyDefaults           `json:"policy_defaults"`
	Secrets         Secrets                  `json:"secrets"`
	Retention       Retention                `json:"retention"`
	Environments    Map[EnvironmentSettings] `json:"environments"`
}

// Identity names the project.
type Identity struct {
	Name               string   `json:"name"`
	Owner              *string  `json:"owner"`
	Description        *string  `json:"description"`
	DefaultEnvironment string   `json:"default_environment"`
	Tags               []string `json:"tags"`
}

// Service is the service that the project talks to.
type Service struct {
	DefaultURL *string     `json:"default_url"`
	Timeout    int         `json:"timeout_seconds"`
	Headers    Map[string] `json:"headers"`
}

// Local says where runs without a service keep their state.
type Local struct {
	StatePath         string `json:"state_path"`
	ArtifactPath      string `json:"artifact_path"`
	LogPath           string `json:"log_path"`
	CachePath         string `json:"cache_path"`
	CreateMissingDirs bool   `json:"create_missing_dirs"`
}

// Specs names the spec of the project and its layers.
type Specs struct {
	DefaultSpec   *string       `json:"default_spec"`
	Overlays      Map[[]string] `json:"overlays"`
	IncludePaths  []string      `json:"include_paths"`
	ValidateOnRun bool          `json:"validate_on_run"`
}

// Runtime are the runtime preferences of agents that state none.
type Runtime struct {
	PreferredMode  *string   `json:"preferred_mode"`
	FallbackMode   *string   `json:"fallback_mode"`
	AllowedModes   *[]string `json:"allowed_modes"`
	NativeProvider *string   `json:"native_provider"`
	AdapterRef     *string   `json:"adapter_ref"`
	BridgeProvider *string   `json:"bridge_provider"`
}

// Model is the model of agents that state none, in one environment.
type Model struct {
	Provider       *string  `json:"provider"`
	Name           *string  `json:"name"`
	Temperature    *float64 `json:"temperature"`
	MaxTokens      *int     `json:"max_tokens"`
	TimeoutSeconds *int     `json:"timeout_seconds"`
	Extra          Free     `json:"extra"`
}

// PolicyDefaults are copied into the policies of resolved specs.
type PolicyDefaults struct {
	Checkpointing Checkpointing `json:"checkpointing"`
	Logging       Logging       `json:"logging"`
	Tracing       Tracing       `json:"tracing"`
	Guardrails    Guardrails    `json:"guardrails"`
}

// Checkpointing is a note on checkpoints.
type Checkpointing struct {
	Enabled bool   `json:"enabled"`
	Mode    string `json:"mode"`
}

// Logging is a note on logs.
type Logging struct {
	Level string `json:"level"`
}

// Tracing is a note on traces.
type Tracing struct {
	Enabled            bool `json:"enabled"`
	IncludeMessages    bool `json:"include_messages"`
	IncludeToolResults bool `json:"include_tool_results"`
}

// Guardrails is a note on guardrails.
type Guardrails struct {
	EnableDefaultInputFilter  bool `json:"enable_default_input_filter"`
	EnableDefaultOutputReview bool `json:"enable_default_output_review"`
}

// Secrets names environment variables that hold secrets.
type Secrets struct {
	ProviderEnv Map[string] `json:"provider_env"`
	ExtraEnv    Map[string] `json:"extra_env"`
}

// Retention keeps days; nil keeps for ever.
type Retention struct {
	Runs          *int `json:"runs_days"`
	Checkpoints   *int `json:"checkpoints_days"`
	Queue         *int `json:"queue_days"`
	Continuations *int `json:"continuations_days"`
	Audit         *int `json:"audit_days"`
	Idempotency   *int `json:"idempotency_days"`
	Artifacts     *int `json:"artifacts_days"`
	Logs          *int `json:"logs_days"`
}

// EnvironmentSettings are the rules and spec defaults of one environment.
type EnvironmentSettings struct {
	PolicyEnforcement Free `json:"policy_enforcement,omitzero"`
	Defaults          Free `json:"defaults,omitzero"`
}

const defaultTimeout = 120

func text(s string) *string { return &s }

// defaults is the config of a project that has none.
func defaults() Config {
	bridge := []string{"bridge"}
	return Config{
		Project:         Identity{DefaultEnvironment: DefaultEnvironment, Tags: []string{}},
		Service:         Service{Timeout: defaultTimeout},
		Local:           Local{StatePath: ".kneo/kneo_runs.sqlite", ArtifactPath: ".kneo/artifacts", LogPath: ".kneo/logs", CachePath: ".kneo/cache", CreateMissingDirs: true},
		Specs:           Specs{IncludePaths: []string{}, ValidateOnRun: true},
		RuntimeDefaults: Runtime{PreferredMode: text("bridge"), AllowedModes: &bridge},
		PolicyDefaults: PolicyDefaults{
			Checkpointing: Checkpointing{Enabled: true, Mode: "step"}, Logging: Logging{Level: "info"},
			Tracing: Tracing{Enabled: true, IncludeToolResults: true},
		},
	}
}

package project

// Template is the config that `kneo config init` writes; its one verb is the quoted name of the project.
const Template = `project:
  name: %s
  owner: ai-platform
  default_environment: dev

# Every command talks to this service; without the line it works in its own process.
service:
  default_url: http://localhost:8000
  timeout_seconds: 120

local:
  state_path: .kneo/kneo_runs.sqlite
  artifact_path: .kneo/artifacts
  log_path: .kneo/logs
  cache_path: .kneo/cache
  create_missing_dirs: true

specs:
  default_spec: examples/research_agent.yaml
  overlays:
    dev: [examples/research_agent.dev.yaml]
    staging: [examples/research_agent.staging.yaml]
    prod: [examples/research_agent.prod.yaml]

runtime_defaults:
  preferred_mode: bridge
  allowed_modes: [bridge, native, adapter]
  fallback_mode: native

model_defaults:
  dev: { provider: openai, name: gpt-4o-mini, temperature: 0.2 }
  staging: { provider: openai, name: gpt-4o, temperature: 0.2 }
  prod: { provider: openai, name: gpt-4o, temperature: 0.1 }

policy_defaults:
  checkpointing: { enabled: true, mode: step }
  logging: { level: info }
  tracing: { enabled: true, include_messages: false, include_tool_results: true }
  guardrails: { enable_default_input_filter: false, enable_default_output_review: false }

secrets:
  provider_env:
    openai: OPENAI_API_KEY
  extra_env:
    mcp_default: MCP_API_KEY

retention:
  runs_days: null
  checkpoints_days: null
  queue_days: null
  continuations_days: null
  artifacts_days: null
  logs_days: null

environments:
  dev:
    policy_enforcement: { enabled: false }
  staging:
    policy_enforcement:
      enabled: true
      require_tool_permissions: true
      blocked_diagnostic_codes: [E_UNSAFE_TOOL_IMPORT, E_UNSAFE_FUNCTION_IMPORT]
  prod:
    policy_enforcement:
      enabled: true
      require_tool_permissions: true
      deny_unrestricted_tools: true
      require_human_review: true
      require_guardrails: true
      blocked_diagnostic_codes: [E_UNSAFE_TOOL_IMPORT, E_UNSAFE_FUNCTION_IMPORT]
`

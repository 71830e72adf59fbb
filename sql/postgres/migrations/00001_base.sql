-- +goose Up
-- Columns have the order of the SQLite schema, so that both generate the same row types.
CREATE TABLE runs (
    id                 text NOT NULL PRIMARY KEY,
    status             text NOT NULL,
    target             text NOT NULL,
    agent_name         text,
    workflow_name      text,
    workflow_kind      text,
    session_id         text,
    environment        text,
    principal          text NOT NULL,
    snapshot_digest    text NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    started_at         timestamptz,
    completed_at       timestamptz,
    deadline_at        timestamptz,
    timeout_seconds    double precision,
    trace_parent       text NOT NULL,
    checkpoint_seq     bigint NOT NULL,
    event_seq          bigint NOT NULL,
    journal_seq        bigint NOT NULL,
    trace_count        bigint NOT NULL,
    trace_dropped      bigint NOT NULL,
    input_tokens       bigint,
    output_tokens      bigint,
    total_tokens       bigint,
    error_type         text,
    error_message      text,
    current_step_index bigint,
    current_step_id    text,
    current_node_id    text,
    continuation_id    text,
    visited_steps      json,
    visited_nodes      json,
    output             text,
    input              text NOT NULL,
    creation           json,
    progress           json,
    pending_request    json,
    messages           json
) WITH (fillfactor = 85);
CREATE INDEX runs_updated ON runs (updated_at, id);
CREATE INDEX runs_created ON runs (created_at, id);
CREATE INDEX runs_status ON runs (status, updated_at DESC, id);
CREATE INDEX runs_workflow ON runs (workflow_name, updated_at, id) WHERE workflow_name IS NOT NULL;
CREATE INDEX runs_session ON runs (session_id, updated_at, id) WHERE session_id IS NOT NULL;
CREATE INDEX runs_kind ON runs (workflow_kind, updated_at, id) WHERE workflow_kind IS NOT NULL;
CREATE INDEX runs_error ON runs (updated_at, id) WHERE error_type IS NOT NULL;
CREATE INDEX runs_snapshot ON runs (snapshot_digest);
CREATE INDEX runs_deadline ON runs (deadline_at) WHERE deadline_at IS NOT NULL AND status IN ('queued', 'running', 'blocked');

-- created_at moves on when the snapshot is used again; retention keeps recent ones.
CREATE TABLE snapshots (
    digest     text NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL,
    frozen     json,
    inputs     json,
    plan       json
);

-- One row per run: the lease of its current leg and the counters that number its history.
CREATE TABLE run_queue (
    run_id         text NOT NULL PRIMARY KEY,
    is_open        boolean NOT NULL,
    state          text NOT NULL,
    mode           text NOT NULL,
    reply          text NOT NULL,
    resumed_from   text NOT NULL,
    attempt        bigint NOT NULL,
    released       bigint NOT NULL,
    lease_owner    text,
    lease_until    timestamptz,
    checkpoint_seq bigint NOT NULL,
    event_seq      bigint NOT NULL,
    journal_seq    bigint NOT NULL,
    available_at   timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX run_queue_open ON run_queue (available_at) WHERE is_open;
CREATE INDEX run_queue_closed ON run_queue (updated_at) WHERE NOT is_open;
CREATE INDEX run_queue_failed ON run_queue (mode) WHERE state = 'failed';

CREATE TABLE checkpoints (
    run_id        text NOT NULL,
    sequence      bigint NOT NULL,
    id            text NOT NULL,
    type          text NOT NULL,
    workflow_name text,
    step_id       text,
    node_id       text,
    iteration     bigint NOT NULL,
    created_at    timestamptz NOT NULL,
    state         json,
    trace_events  json,
    metadata      json,
    packed        bytea,
    PRIMARY KEY (run_id, sequence)
);
CREATE INDEX checkpoints_created ON checkpoints (created_at);

CREATE TABLE journal (
    run_id   text NOT NULL,
    kind     text NOT NULL,
    key      text NOT NULL,
    sequence bigint NOT NULL,
    data     json,
    PRIMARY KEY (run_id, kind, key)
);

CREATE TABLE run_events (
    run_id     text NOT NULL,
    sequence   bigint NOT NULL,
    kind       text NOT NULL,
    created_at timestamptz NOT NULL,
    data       json,
    PRIMARY KEY (run_id, sequence)
);

CREATE TABLE human_tasks (
    id                 text NOT NULL PRIMARY KEY,
    run_id             text NOT NULL,
    state              text NOT NULL,
    workflow_name      text,
    workflow_kind      text NOT NULL,
    current_step_index bigint,
    current_node_id    text,
    step_key           text NOT NULL,
    request_id         text NOT NULL,
    assignee           text,
    on_timeout         text NOT NULL,
    timeout_seconds    bigint NOT NULL,
    expires_at         timestamptz,
    escalated_at       timestamptz,
    created_at         timestamptz NOT NULL,
    decided_at         timestamptz,
    decided_by         text,
    decision           json,
    visited_steps      json,
    visited_nodes      json,
    current_input      text NOT NULL,
    request            json,
    metadata           json,
    messages           json
);
CREATE INDEX human_tasks_request ON human_tasks (request_id);
CREATE INDEX human_tasks_run ON human_tasks (run_id);
CREATE INDEX human_tasks_pending ON human_tasks (created_at) WHERE state = 'pending';
CREATE INDEX human_tasks_open ON human_tasks (run_id) WHERE state = 'pending';
CREATE INDEX human_tasks_due ON human_tasks (expires_at) WHERE state = 'pending' AND escalated_at IS NULL AND expires_at IS NOT NULL;

CREATE TABLE audit_events (
    sequence        bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id              text NOT NULL,
    type            text NOT NULL,
    run_id          text,
    continuation_id text,
    actor           text,
    created_at      timestamptz NOT NULL,
    metadata        json
);
CREATE INDEX audit_events_created ON audit_events (created_at);
CREATE INDEX audit_events_type ON audit_events (type, created_at);
CREATE INDEX audit_events_run ON audit_events (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    scope       text NOT NULL,
    key         text NOT NULL,
    hash        text NOT NULL,
    done        boolean NOT NULL,
    status_code bigint NOT NULL,
    run_id      text NOT NULL,
    updated_at  timestamptz NOT NULL,
    response    json,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_open ON idempotency_keys (run_id) WHERE NOT done;
CREATE INDEX idempotency_keys_updated ON idempotency_keys (updated_at);

CREATE TABLE leases (
    name  text NOT NULL PRIMARY KEY,
    owner text NOT NULL,
    until timestamptz NOT NULL
);

-- One row per process that executes runs; an owner whose row is old is dead, whatever its leases say.
CREATE TABLE owners (
    owner   text NOT NULL PRIMARY KEY,
    beat_at timestamptz NOT NULL
);

CREATE TABLE project_metadata (
    key        text NOT NULL PRIMARY KEY,
    updated_at timestamptz NOT NULL,
    value      json
);

-- +goose Down
DROP TABLE project_metadata;
DROP TABLE owners;
DROP TABLE leases;
DROP TABLE idempotency_keys;
DROP TABLE audit_events;
DROP TABLE human_tasks;
DROP TABLE run_events;
DROP TABLE journal;
DROP TABLE checkpoints;
DROP TABLE run_queue;
DROP TABLE snapshots;
DROP TABLE runs;

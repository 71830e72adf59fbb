-- +goose Up
-- Small columns come first so that filters and indexes never walk the overflow pages of a large message thread.
CREATE TABLE runs (
    id                 TEXT     NOT NULL PRIMARY KEY,
    status             TEXT     NOT NULL,
    target             TEXT     NOT NULL,
    agent_name         TEXT,
    workflow_name      TEXT,
    workflow_kind      TEXT,
    session_id         TEXT,
    environment        TEXT,
    principal          TEXT     NOT NULL,
    snapshot_digest    TEXT     NOT NULL,
    created_at         DATETIME NOT NULL,
    updated_at         DATETIME NOT NULL,
    started_at         DATETIME,
    completed_at       DATETIME,
    deadline_at        DATETIME,
    timeout_seconds    REAL,
    trace_parent       TEXT     NOT NULL,
    checkpoint_seq     INTEGER  NOT NULL,
    event_seq          INTEGER  NOT NULL,
    journal_seq        INTEGER  NOT NULL,
    trace_count        INTEGER  NOT NULL,
    trace_dropped      INTEGER  NOT NULL,
    input_tokens       INTEGER,
    output_tokens      INTEGER,
    total_tokens       INTEGER,
    error_type         TEXT,
    error_message      TEXT,
    current_step_index INTEGER,
    current_step_id    TEXT,
    current_node_id    TEXT,
    continuation_id    TEXT,
    visited_steps      JSONTEXT,
    visited_nodes      JSONTEXT,
    output             TEXT,
    input              TEXT     NOT NULL,
    creation           JSONTEXT,
    progress           JSONTEXT,
    pending_request    JSONTEXT,
    messages           JSONTEXT
);
CREATE INDEX runs_updated ON runs (updated_at);
CREATE INDEX runs_created ON runs (created_at);
CREATE INDEX runs_status ON runs (status, updated_at DESC);
CREATE INDEX runs_workflow ON runs (workflow_name, updated_at) WHERE workflow_name IS NOT NULL;
CREATE INDEX runs_session ON runs (session_id, updated_at) WHERE session_id IS NOT NULL;
CREATE INDEX runs_kind ON runs (workflow_kind, updated_at) WHERE workflow_kind IS NOT NULL;
CREATE INDEX runs_error ON runs (updated_at) WHERE error_type IS NOT NULL;
CREATE INDEX runs_snapshot ON runs (snapshot_digest);
CREATE INDEX runs_deadline ON runs (deadline_at) WHERE deadline_at IS NOT NULL AND status IN ('queued', 'running', 'blocked');

-- created_at moves on when the snapshot is used again; retention keeps recent ones.
CREATE TABLE snapshots (
    digest     TEXT     NOT NULL PRIMARY KEY,
    created_at DATETIME NOT NULL,
    frozen     JSONTEXT,
    inputs     JSONTEXT,
    plan       JSONTEXT
);

-- One row per run: the lease of its current leg and the counters that number its history.
CREATE TABLE run_queue (
    run_id         TEXT     NOT NULL PRIMARY KEY,
    is_open        BOOLEAN  NOT NULL,
    state          TEXT     NOT NULL,
    mode           TEXT     NOT NULL,
    reply          TEXT     NOT NULL,
    resumed_from   TEXT     NOT NULL,
    attempt        INTEGER  NOT NULL,
    released       INTEGER  NOT NULL,
    lease_owner    TEXT,
    lease_until    DATETIME,
    checkpoint_seq INTEGER  NOT NULL,
    event_seq      INTEGER  NOT NULL,
    journal_seq    INTEGER  NOT NULL,
    available_at   DATETIME NOT NULL,
    updated_at     DATETIME NOT NULL
);
CREATE INDEX run_queue_open ON run_queue (available_at) WHERE is_open;
CREATE INDEX run_queue_closed ON run_queue (updated_at) WHERE NOT is_open;
CREATE INDEX run_queue_failed ON run_queue (mode) WHERE state = 'failed';

CREATE TABLE checkpoints (
    run_id        TEXT     NOT NULL,
    sequence      INTEGER  NOT NULL,
    id            TEXT     NOT NULL,
    type          TEXT     NOT NULL,
    workflow_name TEXT,
    step_id       TEXT,
    node_id       TEXT,
    iteration     INTEGER  NOT NULL,
    created_at    DATETIME NOT NULL,
    state         JSONTEXT,
    trace_events  JSONTEXT,
    metadata      JSONTEXT,
    packed        BLOB,
    PRIMARY KEY (run_id, sequence)
);
CREATE INDEX checkpoints_created ON checkpoints (created_at);

CREATE TABLE journal (
    run_id   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    data     JSONTEXT,
    PRIMARY KEY (run_id, kind, key)
);

CREATE TABLE run_events (
    run_id     TEXT     NOT NULL,
    sequence   INTEGER  NOT NULL,
    kind       TEXT     NOT NULL,
    created_at DATETIME NOT NULL,
    data       JSONTEXT,
    PRIMARY KEY (run_id, sequence)
);

CREATE TABLE human_tasks (
    id                 TEXT     NOT NULL PRIMARY KEY,
    run_id             TEXT     NOT NULL,
    state              TEXT     NOT NULL,
    workflow_name      TEXT,
    workflow_kind      TEXT     NOT NULL,
    current_step_index INTEGER,
    current_node_id    TEXT,
    step_key           TEXT     NOT NULL,
    request_id         TEXT     NOT NULL,
    assignee           TEXT,
    on_timeout         TEXT     NOT NULL,
    timeout_seconds    INTEGER  NOT NULL,
    expires_at         DATETIME,
    escalated_at       DATETIME,
    created_at         DATETIME NOT NULL,
    decided_at         DATETIME,
    decided_by         TEXT,
    decision           JSONTEXT,
    visited_steps      JSONTEXT,
    visited_nodes      JSONTEXT,
    current_input      TEXT     NOT NULL,
    request            JSONTEXT,
    metadata           JSONTEXT,
    messages           JSONTEXT
);
CREATE INDEX human_tasks_request ON human_tasks (request_id);
CREATE INDEX human_tasks_run ON human_tasks (run_id);
CREATE INDEX human_tasks_pending ON human_tasks (created_at) WHERE state = 'pending';
CREATE INDEX human_tasks_open ON human_tasks (run_id) WHERE state = 'pending';
CREATE INDEX human_tasks_due ON human_tasks (expires_at) WHERE state = 'pending' AND escalated_at IS NULL AND expires_at IS NOT NULL;

CREATE TABLE audit_events (
    sequence        INTEGER  NOT NULL PRIMARY KEY,
    id              TEXT     NOT NULL,
    type            TEXT     NOT NULL,
    run_id          TEXT,
    continuation_id TEXT,
    actor           TEXT,
    created_at      DATETIME NOT NULL,
    metadata        JSONTEXT
);
CREATE INDEX audit_events_created ON audit_events (created_at);
CREATE INDEX audit_events_type ON audit_events (type, created_at);
CREATE INDEX audit_events_run ON audit_events (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    scope       TEXT     NOT NULL,
    key         TEXT     NOT NULL,
    hash        TEXT     NOT NULL,
    done        BOOLEAN  NOT NULL,
    status_code INTEGER  NOT NULL,
    run_id      TEXT     NOT NULL,
    updated_at  DATETIME NOT NULL,
    response    JSONTEXT,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_open ON idempotency_keys (run_id) WHERE NOT done;
CREATE INDEX idempotency_keys_updated ON idempotency_keys (updated_at);

CREATE TABLE leases (
    name  TEXT     NOT NULL PRIMARY KEY,
    owner TEXT     NOT NULL,
    until DATETIME NOT NULL
);

CREATE TABLE project_metadata (
    key        TEXT     NOT NULL PRIMARY KEY,
    updated_at DATETIME NOT NULL,
    value      JSONTEXT
);

-- +goose Down
DROP TABLE project_metadata;
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

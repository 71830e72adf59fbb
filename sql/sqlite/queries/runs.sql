-- name: InsertRun :exec
INSERT INTO runs (
    id, status, target, agent_name, workflow_name, workflow_kind, session_id, environment, principal, snapshot_digest,
    created_at, updated_at, started_at, completed_at, deadline_at, timeout_seconds, trace_parent,
    checkpoint_seq, event_seq, journal_seq, trace_count, trace_dropped, input_tokens, output_tokens, total_tokens,
    error_type, error_message, current_step_index, current_step_id, current_node_id, continuation_id,
    visited_steps, visited_nodes, output, input, creation, progress, pending_request, messages
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: GetRun :one
SELECT * FROM runs WHERE id = ?;

-- name: GetRunDeadline :one
SELECT status, deadline_at FROM runs WHERE id = ?;

-- name: UpdateRun :execrows
UPDATE runs SET
    status = ?, agent_name = ?, workflow_name = ?, workflow_kind = ?, updated_at = ?, started_at = ?, completed_at = ?, deadline_at = ?,
    checkpoint_seq = ?, event_seq = ?, journal_seq = ?, trace_count = ?, trace_dropped = ?,
    input_tokens = ?, output_tokens = ?, total_tokens = ?, error_type = ?, error_message = ?,
    current_step_index = ?, current_step_id = ?, current_node_id = ?, continuation_id = ?,
    visited_steps = ?, visited_nodes = ?, output = ?, progress = ?, pending_request = ?, messages = ?
WHERE id = ?;

-- name: OverdueRuns :many
SELECT * FROM runs
WHERE deadline_at IS NOT NULL AND status IN ('queued', 'running', 'blocked') AND deadline_at < sqlc.arg('now')
ORDER BY deadline_at LIMIT sqlc.arg('max_rows');

-- name: InsertSnapshot :exec
INSERT INTO snapshots (digest, created_at, frozen, inputs, plan) VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at;

-- name: GetSnapshot :one
SELECT * FROM snapshots WHERE digest = ?;

-- name: GetSnapshots :many
SELECT * FROM snapshots WHERE digest IN (sqlc.slice('digests'));

-- name: InsertCheckpoint :exec
INSERT INTO checkpoints (
    run_id, sequence, id, type, workflow_name, step_id, node_id, iteration, created_at, state, trace_events, metadata, packed
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: ListCheckpoints :many
SELECT * FROM checkpoints WHERE run_id = ? ORDER BY sequence;

-- name: LastCheckpoints :many
SELECT * FROM checkpoints WHERE run_id = ? ORDER BY sequence DESC LIMIT ?;

-- name: PutJournalEntry :exec
INSERT INTO journal (run_id, kind, key, sequence, data) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run_id, kind, key) DO UPDATE SET sequence = excluded.sequence, data = excluded.data;

-- name: ListJournal :many
SELECT * FROM journal WHERE run_id = ? ORDER BY sequence;

-- name: InsertEvent :exec
INSERT INTO run_events (run_id, sequence, kind, created_at, data) VALUES (?, ?, ?, ?, ?);

-- name: ListEvents :many
SELECT * FROM run_events WHERE run_id = sqlc.arg('run_id') AND sequence > sqlc.arg('after') ORDER BY sequence LIMIT sqlc.arg('max_rows');

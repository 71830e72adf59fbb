-- name: InsertRun :exec
INSERT INTO runs (
    id, status, target, agent_name, workflow_name, workflow_kind, session_id, environment, principal, snapshot_digest,
    created_at, updated_at, started_at, completed_at, deadline_at, timeout_seconds, trace_parent,
    checkpoint_seq, event_seq, journal_seq, trace_count, trace_dropped, input_tokens, output_tokens, total_tokens,
    error_type, error_message, current_step_index, current_step_id, current_node_id, continuation_id,
    visited_steps, visited_nodes, output, input, creation, progress, pending_request, messages
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39);

-- name: GetRun :one
SELECT * FROM runs WHERE id = $1;

-- name: UpdateRun :exec
UPDATE runs SET
    status = $1, agent_name = $2, workflow_name = $3, workflow_kind = $4, updated_at = $5, started_at = $6, completed_at = $7, deadline_at = $8,
    checkpoint_seq = $9, event_seq = $10, journal_seq = $11, trace_count = $12, trace_dropped = $13,
    input_tokens = $14, output_tokens = $15, total_tokens = $16, error_type = $17, error_message = $18,
    current_step_index = $19, current_step_id = $20, current_node_id = $21, continuation_id = $22,
    visited_steps = $23, visited_nodes = $24, output = $25, progress = $26, pending_request = $27, messages = $28
WHERE id = $29;

-- name: OverdueRuns :many
SELECT * FROM runs
WHERE deadline_at IS NOT NULL AND status IN ('queued', 'running', 'blocked') AND deadline_at < sqlc.arg('now')
ORDER BY deadline_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: InsertSnapshot :exec
INSERT INTO snapshots (digest, created_at, frozen, inputs, plan) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at;

-- name: GetSnapshot :one
SELECT * FROM snapshots WHERE digest = $1;

-- name: GetSnapshots :many
SELECT * FROM snapshots WHERE digest = ANY(sqlc.arg('digests')::text[]);

-- name: InsertCheckpoint :exec
INSERT INTO checkpoints (
    run_id, sequence, id, type, workflow_name, step_id, node_id, iteration, created_at, state, trace_events, metadata, packed
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: ListCheckpoints :many
SELECT * FROM checkpoints WHERE run_id = $1 ORDER BY sequence;

-- name: LastCheckpoints :many
SELECT * FROM checkpoints WHERE run_id = sqlc.arg('run_id') ORDER BY sequence DESC LIMIT sqlc.arg('max_rows')::bigint;

-- name: PutJournalEntry :exec
INSERT INTO journal (run_id, kind, key, sequence, data) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (run_id, kind, key) DO UPDATE SET sequence = excluded.sequence, data = excluded.data;

-- name: ListJournal :many
SELECT * FROM journal WHERE run_id = $1 ORDER BY sequence;

-- name: InsertEvent :exec
INSERT INTO run_events (run_id, sequence, kind, created_at, data) VALUES ($1, $2, $3, $4, $5);

-- name: ListEvents :many
SELECT * FROM run_events WHERE run_id = sqlc.arg('run_id') AND sequence > sqlc.arg('after') ORDER BY sequence LIMIT sqlc.narg('max_rows')::bigint;

-- name: GetRuns :many
SELECT * FROM runs WHERE id = ANY(sqlc.arg('ids')::text[]);

-- name: RecentRuns :many
SELECT id FROM runs WHERE updated_at >= sqlc.arg('since') ORDER BY updated_at DESC LIMIT sqlc.arg('max_rows')::bigint;

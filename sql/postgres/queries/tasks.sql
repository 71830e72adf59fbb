-- name: InsertTask :exec
INSERT INTO human_tasks (
    id, run_id, state, workflow_name, workflow_kind, current_step_index, current_node_id, step_key, request_id, assignee,
    on_timeout, timeout_seconds, expires_at, escalated_at, created_at, decided_at, decided_by, decision,
    visited_steps, visited_nodes, current_input, request, metadata, messages
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24);

-- name: GetTask :one
SELECT * FROM human_tasks WHERE id = $1;

-- name: GetTaskByRequest :one
SELECT * FROM human_tasks WHERE request_id = $1 ORDER BY created_at DESC LIMIT 1;

-- name: PendingTasks :many
SELECT * FROM human_tasks
WHERE state = 'pending'
  AND (sqlc.narg('run_id')::text IS NULL OR run_id = sqlc.narg('run_id'))
  AND (sqlc.narg('workflow_kind')::text IS NULL OR workflow_kind = sqlc.narg('workflow_kind'))
  AND (sqlc.narg('escalated')::boolean IS NULL OR (escalated_at IS NOT NULL) = sqlc.narg('escalated')::boolean)
ORDER BY created_at, id LIMIT sqlc.narg('max_rows')::bigint;

-- name: DueTasks :many
SELECT * FROM human_tasks
WHERE state = 'pending' AND escalated_at IS NULL AND expires_at IS NOT NULL AND expires_at < sqlc.arg('now')
ORDER BY expires_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: DecideTask :execrows
UPDATE human_tasks SET state = $1, decided_at = $2, decided_by = $3, decision = $4 WHERE id = $5 AND state = 'pending';

-- name: ReopenTask :execrows
UPDATE human_tasks SET state = 'pending', decided_at = NULL, decided_by = NULL, decision = NULL WHERE id = $1 AND run_id = $2;

-- name: CancelTasks :exec
UPDATE human_tasks SET state = 'cancelled', decided_at = $1 WHERE run_id = $2 AND state = 'pending';

-- name: EscalateTask :execrows
UPDATE human_tasks SET escalated_at = $1, request = $2 WHERE id = $3 AND state = 'pending';

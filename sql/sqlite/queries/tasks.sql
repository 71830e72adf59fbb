-- name: InsertTask :exec
INSERT INTO human_tasks (
    id, run_id, state, workflow_name, workflow_kind, current_step_index, current_node_id, step_key, request_id, assignee,
    on_timeout, timeout_seconds, expires_at, escalated_at, created_at, decided_at, decided_by, decision,
    visited_steps, visited_nodes, current_input, request, metadata, messages
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: GetTask :one
SELECT * FROM human_tasks WHERE id = ?;

-- name: GetTaskByRequest :one
SELECT * FROM human_tasks WHERE request_id = ? ORDER BY created_at DESC LIMIT 1;

-- name: PendingTasks :many
SELECT * FROM human_tasks
WHERE state = 'pending'
  AND (CAST(sqlc.narg('run_id') AS TEXT) IS NULL OR run_id = sqlc.narg('run_id'))
  AND (CAST(sqlc.narg('workflow_kind') AS TEXT) IS NULL OR workflow_kind = sqlc.narg('workflow_kind'))
  AND (CAST(sqlc.narg('escalated') AS INTEGER) IS NULL OR (escalated_at IS NOT NULL) = CAST(sqlc.narg('escalated') AS INTEGER))
ORDER BY created_at, id LIMIT sqlc.arg('max_rows');

-- name: DueTasks :many
SELECT * FROM human_tasks
WHERE state = 'pending' AND escalated_at IS NULL AND expires_at IS NOT NULL AND expires_at < sqlc.arg('now')
ORDER BY expires_at LIMIT sqlc.arg('max_rows');

-- name: DecideTask :execrows
UPDATE human_tasks SET state = ?, decided_at = ?, decided_by = ?, decision = ? WHERE id = ? AND state = 'pending';

-- name: ReopenTask :execrows
UPDATE human_tasks SET state = 'pending', decided_at = NULL, decided_by = NULL, decision = NULL WHERE id = ? AND run_id = ?;

-- name: CancelTasks :exec
UPDATE human_tasks SET state = 'cancelled', decided_at = ? WHERE run_id = ? AND state = 'pending';

-- name: EscalateTask :execrows
UPDATE human_tasks SET escalated_at = ?, request = ? WHERE id = ? AND state = 'pending';

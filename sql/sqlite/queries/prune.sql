-- name: OldRuns :many
SELECT id FROM runs
WHERE updated_at < sqlc.arg('before') AND instr(CAST(sqlc.arg('statuses') AS TEXT), ',' || status || ',') > 0
ORDER BY updated_at LIMIT sqlc.arg('max_rows');

-- name: DeleteRuns :execrows
DELETE FROM runs WHERE id IN (sqlc.slice('ids'));

-- name: DeleteCheckpointsOf :execrows
DELETE FROM checkpoints WHERE run_id IN (sqlc.slice('ids'));

-- name: DeleteJournalOf :execrows
DELETE FROM journal WHERE run_id IN (sqlc.slice('ids'));

-- name: DeleteEventsOf :execrows
DELETE FROM run_events WHERE run_id IN (sqlc.slice('ids'));

-- name: DeleteQueueOf :execrows
DELETE FROM run_queue WHERE run_id IN (sqlc.slice('ids'));

-- name: DeleteTasksOf :execrows
DELETE FROM human_tasks WHERE run_id IN (sqlc.slice('ids'));

-- name: DeleteAuditOf :execrows
DELETE FROM audit_events WHERE run_id IN (sqlc.slice('ids'));

-- name: OldCheckpoints :many
SELECT c.run_id, c.sequence FROM checkpoints c
WHERE c.created_at < sqlc.arg('before')
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = c.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out', 'expired'))
ORDER BY c.created_at LIMIT sqlc.arg('max_rows');

-- name: DeleteCheckpoint :execrows
DELETE FROM checkpoints WHERE run_id = ? AND sequence = ?;

-- name: OldQueueRows :many
SELECT q.run_id FROM run_queue q
WHERE NOT q.is_open AND instr(CAST(sqlc.arg('states') AS TEXT), ',' || q.state || ',') > 0 AND q.updated_at < sqlc.arg('before')
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = q.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out', 'expired'))
ORDER BY q.updated_at LIMIT sqlc.arg('max_rows');

-- name: OldTasks :many
SELECT t.id FROM human_tasks t
WHERE t.created_at < sqlc.arg('before') AND (t.decided_at IS NULL OR t.decided_at < sqlc.arg('before'))
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = t.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out', 'expired'))
LIMIT sqlc.arg('max_rows');

-- name: DeleteTasks :execrows
DELETE FROM human_tasks WHERE id IN (sqlc.slice('ids'));

-- name: OldAudit :many
SELECT sequence FROM audit_events WHERE created_at < sqlc.arg('before') ORDER BY created_at LIMIT sqlc.arg('max_rows');

-- name: DeleteAudit :execrows
DELETE FROM audit_events WHERE sequence IN (sqlc.slice('ids'));

-- name: OldKeys :many
SELECT scope, key FROM idempotency_keys WHERE done AND updated_at < sqlc.arg('before') ORDER BY updated_at LIMIT sqlc.arg('max_rows');

-- name: DeleteKey :execrows
DELETE FROM idempotency_keys WHERE scope = ? AND key = ?;

-- name: DeleteUnusedSnapshots :execrows
DELETE FROM snapshots
WHERE snapshots.created_at < sqlc.arg('before') AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.snapshot_digest = snapshots.digest);

-- name: OldRuns :many
SELECT id FROM runs
WHERE status = ANY(sqlc.arg('statuses')::text[]) AND updated_at < sqlc.arg('before')
ORDER BY updated_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: DeleteRuns :execrows
DELETE FROM runs WHERE id = ANY(sqlc.arg('ids')::text[]);

-- name: DeleteCheckpointsOf :execrows
DELETE FROM checkpoints WHERE run_id = ANY(sqlc.arg('ids')::text[]);

-- name: DeleteJournalOf :execrows
DELETE FROM journal WHERE run_id = ANY(sqlc.arg('ids')::text[]);

-- name: DeleteEventsOf :execrows
DELETE FROM run_events WHERE run_id = ANY(sqlc.arg('ids')::text[]);

-- name: DeleteQueueOf :execrows
DELETE FROM run_queue WHERE run_id = ANY(sqlc.arg('ids')::text[]);

-- name: DeleteTasksOf :execrows
DELETE FROM human_tasks WHERE run_id = ANY(sqlc.arg('ids')::text[]);

-- name: DeleteAuditOf :execrows
DELETE FROM audit_events WHERE run_id = ANY(sqlc.arg('ids')::text[]);

-- name: OldCheckpoints :many
SELECT c.run_id, c.sequence FROM checkpoints c
WHERE c.created_at < sqlc.arg('before')
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = c.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out', 'expired'))
ORDER BY c.created_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: DeleteCheckpoint :execrows
DELETE FROM checkpoints WHERE run_id = $1 AND sequence = $2;

-- name: OldQueueRows :many
SELECT q.run_id FROM run_queue q
WHERE NOT q.is_open AND q.state = ANY(sqlc.arg('states')::text[]) AND q.updated_at < sqlc.arg('before')
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = q.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out', 'expired'))
ORDER BY q.updated_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: OldTasks :many
SELECT t.id FROM human_tasks t
WHERE t.created_at < sqlc.arg('before') AND (t.decided_at IS NULL OR t.decided_at < sqlc.arg('before'))
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = t.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out', 'expired'))
LIMIT sqlc.narg('max_rows')::bigint;

-- name: DeleteTasks :execrows
DELETE FROM human_tasks WHERE id = ANY(sqlc.arg('ids')::text[]);

-- name: OldAudit :many
SELECT sequence FROM audit_events WHERE created_at < sqlc.arg('before') ORDER BY created_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: DeleteAudit :execrows
DELETE FROM audit_events WHERE sequence = ANY(sqlc.arg('ids')::bigint[]);

-- name: OldKeys :many
SELECT scope, key FROM idempotency_keys WHERE done AND updated_at < sqlc.arg('before') ORDER BY updated_at LIMIT sqlc.narg('max_rows')::bigint;

-- name: DeleteKey :execrows
DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2;

-- name: DeleteUnusedSnapshots :execrows
DELETE FROM snapshots
WHERE snapshots.created_at < sqlc.arg('before') AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.snapshot_digest = snapshots.digest);

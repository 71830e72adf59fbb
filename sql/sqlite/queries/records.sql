-- name: InsertAudit :exec
INSERT INTO audit_events (id, type, run_id, continuation_id, actor, created_at, metadata) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: ClaimKey :execrows
INSERT INTO idempotency_keys (scope, key, hash, done, status_code, run_id, updated_at, response) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, key) DO UPDATE SET
    hash = excluded.hash, done = excluded.done, status_code = excluded.status_code, run_id = excluded.run_id,
    updated_at = excluded.updated_at, response = excluded.response
WHERE NOT idempotency_keys.done
  AND NOT EXISTS (SELECT 1 FROM run_queue q WHERE q.run_id = idempotency_keys.run_id AND q.is_open);

-- name: GetKey :one
SELECT * FROM idempotency_keys WHERE scope = ? AND key = ?;

-- name: CompleteKeys :exec
UPDATE idempotency_keys SET done = 1, response = ?, status_code = ?, updated_at = ? WHERE run_id = ? AND NOT done;

-- name: DropOpenKeys :exec
DELETE FROM idempotency_keys WHERE run_id = ? AND NOT done;

-- name: DropKey :exec
DELETE FROM idempotency_keys WHERE scope = ? AND key = ? AND NOT done;

-- name: GetMetadata :one
SELECT * FROM project_metadata WHERE key = ?;

-- name: ListMetadata :many
SELECT * FROM project_metadata WHERE substr(key, 1, length(CAST(sqlc.arg('prefix') AS TEXT))) = CAST(sqlc.arg('prefix') AS TEXT) ORDER BY key;

-- name: PutMetadata :exec
INSERT INTO project_metadata (key, updated_at, value) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET updated_at = excluded.updated_at, value = excluded.value;

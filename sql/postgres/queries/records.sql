-- name: InsertAudit :exec
INSERT INTO audit_events (id, type, run_id, continuation_id, actor, created_at, metadata) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: InsertKey :execrows
INSERT INTO idempotency_keys (scope, key, hash, done, status_code, run_id, updated_at, response) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (scope, key) DO NOTHING;

-- name: DropStaleKey :execrows
DELETE FROM idempotency_keys k WHERE k.scope = $1 AND k.key = $2 AND NOT k.done
  AND NOT EXISTS (SELECT 1 FROM run_queue q WHERE q.run_id = k.run_id AND q.is_open);

-- name: GetKey :one
SELECT * FROM idempotency_keys WHERE scope = $1 AND key = $2;

-- name: CompleteKeys :exec
UPDATE idempotency_keys SET done = true, response = $1, status_code = $2, updated_at = $3 WHERE run_id = $4 AND NOT done;

-- name: DropOpenKeys :exec
DELETE FROM idempotency_keys WHERE run_id = $1 AND NOT done;

-- name: DropKey :exec
DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND NOT done;

-- name: GetMetadata :one
SELECT * FROM project_metadata WHERE key = $1 FOR UPDATE;

-- name: ListMetadata :many
SELECT * FROM project_metadata WHERE starts_with(key, sqlc.arg('prefix')::text) ORDER BY key;

-- name: PutMetadata :exec
INSERT INTO project_metadata (key, updated_at, value) VALUES ($1, $2, $3)
ON CONFLICT (key) DO UPDATE SET updated_at = excluded.updated_at, value = excluded.value;

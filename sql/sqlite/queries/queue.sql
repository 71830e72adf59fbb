-- name: InsertQueueRow :exec
INSERT INTO run_queue (
    run_id, is_open, state, mode, reply, resumed_from, attempt, released, lease_owner, lease_until,
    checkpoint_seq, event_seq, journal_seq, available_at, updated_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: AdvanceLeg :one
UPDATE run_queue SET
    checkpoint_seq = checkpoint_seq + sqlc.arg('checkpoints'), event_seq = event_seq + sqlc.arg('events'),
    journal_seq = journal_seq + sqlc.arg('entries')
WHERE run_id = sqlc.arg('run_id') AND is_open AND lease_owner = sqlc.arg('owner') AND attempt = sqlc.arg('attempt')
RETURNING checkpoint_seq, event_seq, journal_seq;

-- name: StartClaimedLeg :one
UPDATE run_queue SET
    state = 'running', checkpoint_seq = checkpoint_seq + sqlc.arg('checkpoints'), event_seq = event_seq + sqlc.arg('events'),
    journal_seq = journal_seq + sqlc.arg('entries')
WHERE run_id = sqlc.arg('run_id') AND is_open AND lease_owner = sqlc.arg('owner') AND attempt = sqlc.arg('attempt')
RETURNING checkpoint_seq, event_seq, journal_seq;

-- name: CloseLeg :one
UPDATE run_queue SET
    is_open = 0, state = sqlc.arg('state'), lease_owner = NULL, lease_until = NULL, updated_at = sqlc.arg('updated_at'),
    checkpoint_seq = run_queue.checkpoint_seq + sqlc.arg('checkpoints'), event_seq = run_queue.event_seq + sqlc.arg('events'),
    journal_seq = run_queue.journal_seq + sqlc.arg('entries')
WHERE run_queue.run_id = sqlc.arg('run_id') AND run_queue.is_open AND run_queue.lease_owner = sqlc.arg('owner') AND run_queue.attempt = sqlc.arg('attempt')
RETURNING run_queue.checkpoint_seq, run_queue.event_seq, run_queue.journal_seq,
    (SELECT count(*) FROM idempotency_keys k WHERE k.run_id = run_queue.run_id AND NOT k.done) AS keyed,
    (SELECT count(*) FROM human_tasks h WHERE h.run_id = run_queue.run_id AND h.state = 'pending') AS waiting;

-- name: CloseRun :one
UPDATE run_queue SET
    is_open = 0, state = sqlc.arg('state'), lease_owner = NULL, lease_until = NULL, updated_at = sqlc.arg('updated_at'),
    checkpoint_seq = checkpoint_seq + sqlc.arg('checkpoints'), event_seq = event_seq + sqlc.arg('events'),
    journal_seq = journal_seq + sqlc.arg('entries')
WHERE run_id = sqlc.arg('run_id')
RETURNING checkpoint_seq, event_seq, journal_seq;

-- name: OpenLeg :one
INSERT INTO run_queue (
    run_id, is_open, state, mode, reply, resumed_from, attempt, released, lease_owner, lease_until,
    checkpoint_seq, event_seq, journal_seq, available_at, updated_at
) VALUES (?, 1, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET
    is_open = 1, state = excluded.state, mode = excluded.mode, reply = excluded.reply, resumed_from = excluded.resumed_from,
    attempt = run_queue.attempt + excluded.attempt, released = run_queue.attempt,
    lease_owner = excluded.lease_owner, lease_until = excluded.lease_until,
    available_at = excluded.available_at, updated_at = excluded.updated_at
WHERE NOT run_queue.is_open
RETURNING *;

-- name: BumpCounters :exec
UPDATE run_queue SET checkpoint_seq = ?, event_seq = ?, journal_seq = ? WHERE run_id = ?;

-- name: ReleaseLeg :execrows
UPDATE run_queue SET
    state = 'queued', released = released + 1, lease_owner = NULL, lease_until = NULL, available_at = sqlc.arg('now'), updated_at = sqlc.arg('now')
WHERE run_id = sqlc.arg('run_id') AND is_open AND lease_owner = sqlc.arg('owner') AND attempt = sqlc.arg('attempt');

-- name: ClaimDue :many
UPDATE run_queue SET
    state = 'claimed', attempt = attempt + 1, lease_owner = sqlc.arg('owner'), lease_until = sqlc.arg('until')
WHERE run_id IN (
    SELECT q.run_id FROM run_queue q
    WHERE q.is_open AND q.available_at <= sqlc.arg('now') AND (q.lease_until IS NULL OR q.lease_until < sqlc.arg('now'))
    ORDER BY q.available_at, q.rowid LIMIT sqlc.arg('max_rows')
)
RETURNING *;

-- name: ExtendLease :execrows
UPDATE run_queue SET lease_until = sqlc.arg('until')
WHERE run_id = sqlc.arg('run_id') AND is_open AND lease_owner = sqlc.arg('owner') AND attempt = sqlc.arg('attempt');

-- name: FreeOtherOwners :execrows
UPDATE run_queue SET state = 'queued', lease_owner = NULL, lease_until = NULL
WHERE is_open AND lease_owner IS NOT NULL AND lease_owner <> sqlc.arg('owner');

-- name: CountWaiting :one
SELECT count(*) FROM (
    SELECT 1 FROM run_queue WHERE is_open AND mode = 'queued' AND state IN ('queued', 'claimed') LIMIT sqlc.arg('max_rows')
);

-- name: OpenQueueStats :many
SELECT state, count(*) AS rows_in_state FROM run_queue WHERE is_open AND mode = 'queued' GROUP BY state;

-- name: CountFailedQueueRows :one
SELECT count(*) FROM run_queue WHERE state = 'failed' AND mode = 'queued';

-- name: OldestWaiting :one
SELECT available_at FROM run_queue
WHERE is_open AND mode = 'queued' AND state IN ('queued', 'claimed') ORDER BY available_at LIMIT 1;

-- name: TakeLease :execrows
UPDATE leases SET owner = sqlc.arg('owner'), until = sqlc.arg('until')
WHERE name = sqlc.arg('name') AND (owner = sqlc.arg('owner') OR until < sqlc.arg('now'));

-- name: InsertLease :execrows
INSERT INTO leases (name, owner, until) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING;

-- name: DeleteLease :exec
DELETE FROM leases WHERE name = ? AND owner = ?;

-- name: DeleteOtherLeases :exec
DELETE FROM leases WHERE owner <> ?;

-- The clock of leases is the database's; the parameter "now" replaces it in tests.

-- name: InsertQueueRow :exec
INSERT INTO run_queue (
    run_id, is_open, state, mode, reply, resumed_from, attempt, released, lease_owner, lease_until,
    checkpoint_seq, event_seq, journal_seq, available_at, updated_at
) VALUES (
    sqlc.arg('run_id'), sqlc.arg('is_open'), sqlc.arg('state'), sqlc.arg('mode'), sqlc.arg('reply'), '', sqlc.arg('attempt'), 0,
    sqlc.narg('lease_owner'), coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) + sqlc.narg('lease_micros')::bigint * interval '1 microsecond',
    sqlc.arg('checkpoint_seq'), sqlc.arg('event_seq'), sqlc.arg('journal_seq'),
    coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()), coalesce(sqlc.narg('now')::timestamptz, clock_timestamp())
);

-- name: LockQueueRow :exec
SELECT run_id FROM run_queue WHERE run_id = $1 FOR UPDATE;

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
UPDATE run_queue AS q SET
    is_open = false, state = sqlc.arg('state'), lease_owner = NULL, lease_until = NULL,
    updated_at = coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()),
    checkpoint_seq = q.checkpoint_seq + sqlc.arg('checkpoints'), event_seq = q.event_seq + sqlc.arg('events'),
    journal_seq = q.journal_seq + sqlc.arg('entries')
WHERE q.run_id = sqlc.arg('run_id') AND q.is_open AND q.lease_owner = sqlc.arg('owner') AND q.attempt = sqlc.arg('attempt')
RETURNING q.checkpoint_seq, q.event_seq, q.journal_seq,
    EXISTS (SELECT 1 FROM idempotency_keys k WHERE k.run_id = q.run_id AND NOT k.done) AS keyed,
    EXISTS (SELECT 1 FROM human_tasks h WHERE h.run_id = q.run_id AND h.state = 'pending') AS waiting;

-- name: CloseRun :one
UPDATE run_queue SET
    is_open = false, state = sqlc.arg('state'), lease_owner = NULL, lease_until = NULL,
    updated_at = coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()),
    checkpoint_seq = checkpoint_seq + sqlc.arg('checkpoints'), event_seq = event_seq + sqlc.arg('events'),
    journal_seq = journal_seq + sqlc.arg('entries')
WHERE run_id = sqlc.arg('run_id')
RETURNING checkpoint_seq, event_seq, journal_seq;

-- name: OpenLeg :one
INSERT INTO run_queue (
    run_id, is_open, state, mode, reply, resumed_from, attempt, released, lease_owner, lease_until,
    checkpoint_seq, event_seq, journal_seq, available_at, updated_at
) VALUES (
    sqlc.arg('run_id'), true, sqlc.arg('state'), sqlc.arg('mode'), sqlc.arg('reply'), sqlc.arg('resumed_from'), sqlc.arg('attempt'), 0,
    sqlc.narg('lease_owner'), coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) + sqlc.narg('lease_micros')::bigint * interval '1 microsecond',
    sqlc.arg('checkpoint_seq'), sqlc.arg('event_seq'), sqlc.arg('journal_seq'),
    coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()), coalesce(sqlc.narg('now')::timestamptz, clock_timestamp())
)
ON CONFLICT (run_id) DO UPDATE SET
    is_open = true, state = excluded.state, mode = excluded.mode, reply = excluded.reply, resumed_from = excluded.resumed_from,
    attempt = run_queue.attempt + excluded.attempt, released = run_queue.attempt,
    lease_owner = excluded.lease_owner, lease_until = excluded.lease_until,
    available_at = excluded.available_at, updated_at = excluded.updated_at
WHERE NOT run_queue.is_open
RETURNING *;

-- name: BumpCounters :exec
UPDATE run_queue SET checkpoint_seq = $1, event_seq = $2, journal_seq = $3 WHERE run_id = $4;

-- name: ReleaseLeg :execrows
UPDATE run_queue SET
    state = 'queued', released = released + 1, lease_owner = NULL, lease_until = NULL,
    available_at = coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()), updated_at = coalesce(sqlc.narg('now')::timestamptz, clock_timestamp())
WHERE run_id = sqlc.arg('run_id') AND is_open AND lease_owner = sqlc.arg('owner') AND attempt = sqlc.arg('attempt');

-- An array is looked up by the primary key whatever the planner believes of the table's size; a subquery may become a scan of it right after it grew.
-- name: ClaimDue :many
UPDATE run_queue SET
    state = 'claimed', attempt = attempt + 1, lease_owner = sqlc.arg('owner'),
    lease_until = coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) + sqlc.arg('lease_micros')::bigint * interval '1 microsecond'
WHERE run_id = ANY(ARRAY(
    SELECT q.run_id FROM run_queue q
    WHERE q.is_open AND q.available_at <= coalesce(sqlc.narg('now')::timestamptz, clock_timestamp())
      AND (q.lease_until IS NULL OR q.lease_until < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp())
        OR q.lease_owner IN (
            SELECT o.owner FROM owners o WHERE o.owner <> sqlc.arg('owner')
              AND o.beat_at < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) - sqlc.arg('ttl_micros')::bigint * interval '1 microsecond'))
    ORDER BY q.available_at, q.run_id LIMIT sqlc.arg('max_rows')::bigint
    FOR UPDATE SKIP LOCKED
))
RETURNING *;

-- name: ExtendLeases :many
UPDATE run_queue SET
    lease_until = coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) + sqlc.arg('lease_micros')::bigint * interval '1 microsecond'
WHERE run_id = ANY(ARRAY(
    SELECT q.run_id FROM run_queue q
    WHERE q.is_open AND q.lease_owner = ANY(sqlc.arg('owners')::text[])
      AND (q.run_id, q.attempt) IN (SELECT unnest(sqlc.arg('ids')::text[]), unnest(sqlc.arg('attempts')::bigint[]))
    ORDER BY q.run_id FOR UPDATE SKIP LOCKED
))
RETURNING run_id;

-- name: HeldLegs :many
SELECT q.run_id, q.is_open, q.attempt, q.lease_owner, r.status,
    (r.deadline_at IS NOT NULL AND r.deadline_at < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()))::boolean AS overdue
FROM run_queue q JOIN runs r ON r.id = q.run_id WHERE q.run_id = ANY(sqlc.arg('ids')::text[]);

-- name: FreeDeadOwners :execrows
UPDATE run_queue SET state = 'queued', lease_owner = NULL, lease_until = NULL
WHERE run_id = ANY(ARRAY(
    SELECT q.run_id FROM run_queue q WHERE q.is_open AND q.lease_owner IN (
        SELECT o.owner FROM owners o WHERE o.owner <> sqlc.arg('owner')
          AND o.beat_at < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) - sqlc.arg('ttl_micros')::bigint * interval '1 microsecond')
    ORDER BY q.run_id FOR UPDATE SKIP LOCKED
));

-- name: DeleteDeadLeases :exec
DELETE FROM leases WHERE owner IN (
    SELECT o.owner FROM owners o WHERE o.owner <> sqlc.arg('owner')
      AND o.beat_at < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) - sqlc.arg('ttl_micros')::bigint * interval '1 microsecond');

-- name: DeleteDeadOwners :exec
DELETE FROM owners o
WHERE o.beat_at < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) - interval '1 day'
  AND NOT EXISTS (SELECT 1 FROM run_queue q WHERE q.is_open AND q.lease_owner = o.owner);

-- name: BeatOwners :exec
INSERT INTO owners (owner, beat_at)
SELECT unnest(sqlc.arg('owners')::text[]), coalesce(sqlc.narg('now')::timestamptz, clock_timestamp())
ON CONFLICT (owner) DO UPDATE SET beat_at = excluded.beat_at;

-- name: RetireOwners :exec
UPDATE owners SET beat_at = '-infinity' WHERE owner = ANY(sqlc.arg('owners')::text[]);

-- name: CountWaiting :one
SELECT count(*) FROM (
    SELECT 1 FROM run_queue WHERE is_open AND mode = 'queued' AND state IN ('queued', 'claimed') LIMIT sqlc.arg('max_rows')::bigint
) AS waiting;

-- name: LockDepth :exec
SELECT pg_advisory_xact_lock(sqlc.arg('key')::bigint);

-- name: OpenQueueStats :many
SELECT state, count(*) AS rows_in_state FROM run_queue WHERE is_open AND mode = 'queued' GROUP BY state;

-- name: CountFailedQueueRows :one
SELECT count(*) FROM run_queue WHERE state = 'failed' AND mode = 'queued';

-- name: OldestWaiting :one
SELECT (extract(epoch FROM coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) - available_at) * 1000000)::bigint AS age_micros FROM run_queue
WHERE is_open AND mode = 'queued' AND state IN ('queued', 'claimed') ORDER BY available_at LIMIT 1;

-- name: PutLease :execrows
INSERT INTO leases (name, owner, until)
VALUES (sqlc.arg('name'), sqlc.arg('owner'), coalesce(sqlc.narg('now')::timestamptz, clock_timestamp()) + sqlc.arg('ttl_micros')::bigint * interval '1 microsecond')
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE leases.owner = excluded.owner OR leases.until < coalesce(sqlc.narg('now')::timestamptz, clock_timestamp());

-- name: DeleteLease :exec
DELETE FROM leases WHERE name = $1 AND owner = $2;

-- name: Notify :exec
SELECT pg_notify(sqlc.arg('channel'), sqlc.arg('payload'));

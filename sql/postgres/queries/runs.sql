-- name: GetRun :one
SELECT * FROM runs WHERE id = $1;

package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kneo-go/kneo/gen/sqlc/pgdb"
	"github.com/kneo-go/kneo/internal/store/rows"
)

// PostgreSQL stores no NUL in text, but a model or a caller may produce one. A private character stands for it, and is doubled where it occurs
// itself, so every text comes back as it was.
const (
	private = "\ue000"
	nulMark = private + "0"
)

func escape(s string) string {
	if strings.IndexByte(s, 0) < 0 && !strings.Contains(s, private) {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.ToValidUTF8(strings.NewReplacer(private, private+private, "\x00", nulMark).Replace(s), "\ufffd")
}

func unescape(s string) string {
	if !strings.Contains(s, private) {
		return s
	}
	return strings.NewReplacer(private+private, private, nulMark, "\x00").Replace(s)
}

func unescapeTo(texts ...*string) {
	for _, t := range texts {
		if t != nil {
			*t = unescape(*t)
		}
	}
}

// plainRun restores the texts of a row.
func plainRun(r rows.Run) rows.Run {
	unescapeTo(&r.Input, r.Output, r.ErrorMessage, r.SessionID, r.WorkflowName, r.AgentName, r.Environment, r.CurrentStepID, r.CurrentNodeID,
		&r.Principal, &r.TraceParent)
	return r
}

// plainTask restores the texts of a row.
func plainTask(t rows.Task) rows.Task {
	unescapeTo(&t.CurrentInput, t.WorkflowName, t.CurrentNodeID, &t.StepKey, &t.RequestID, t.Assignee, t.DecidedBy)
	return t
}

// escaping passes queries on with their texts made storable.
type escaping struct{ db pgdb.DBTX }

// Exec implements pgdb.DBTX.
func (e escaping) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	return e.db.Exec(ctx, query, escapeArgs(args)...)
}

// Query implements pgdb.DBTX.
func (e escaping) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	return e.db.Query(ctx, query, escapeArgs(args)...)
}

// QueryRow implements pgdb.DBTX.
func (e escaping) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return e.db.QueryRow(ctx, query, escapeArgs(args)...)
}

func escapeArgs(args []any) []any {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			args[i] = escape(v)
		case *string:
			if v != nil {
				// A copy, since the caller's text must stay as it is.
				text := escape(*v)
				args[i] = &text
			}
		}
	}
	return args
}

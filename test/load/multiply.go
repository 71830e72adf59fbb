package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver
)

// multiply copies every run of a SQLite database, with all its rows, until there are times as many.
func multiply(ctx context.Context, path string, times int) (err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	names, err := texts(ctx, tx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyRows(ctx, tx, name, times); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return tx.Commit()
}

func texts(ctx context.Context, tx *sql.Tx, query string) (out []string, err error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// copyRows copies the rows of a table. Every id in them becomes another one, the same for the same id and copy in all tables.
func copyRows(ctx context.Context, tx *sql.Tx, table string, times int) error {
	columns, rows, err := all(ctx, tx, table)
	if err != nil || len(rows) == 0 {
		return err
	}
	insert := "INSERT OR IGNORE INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) + ")" //nolint:gosec // names of the database itself
	stmt, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for n := 1; n < times; n++ {
		for _, row := range rows {
			if _, err := stmt.ExecContext(ctx, renamed(row, n)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func all(ctx context.Context, tx *sql.Tx, table string) (columns []string, out [][]any, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table) //nolint:gosec // a name of the database itself
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if columns, err = rows.Columns(); err != nil {
		return nil, nil, err
	}
	for rows.Next() {
		row := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		out = append(out, row)
	}
	return columns, out, rows.Err()
}

// renamed replaces every UUID in the texts of a row.
func renamed(row []any, copyNumber int) []any {
	out := make([]any, len(row))
	for i, v := range row {
		if s, ok := v.(string); ok {
			v = renameIDs(s, copyNumber)
		}
		out[i] = v
	}
	return out
}

// idLength is the length of a UUID as text.
const idLength = 36

func renameIDs(s string, copyNumber int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if i+idLength <= len(s) && s[i+8] == '-' && s[i+13] == '-' {
			if u, err := uuid.Parse(s[i : i+idLength]); err == nil {
				b.WriteString(uuid.NewSHA1(u, fmt.Append(nil, copyNumber)).String())
				i += idLength
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

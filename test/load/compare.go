package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// CompareOptions say what is compared and for how long.
type CompareOptions struct {
	// Kneo and Before are binaries of the platform, Reference the program of the reference; an empty one is left out.
	Kneo, Before, Reference string
	// Postgres measures on PostgreSQL beside SQLite.
	Postgres bool
	Rounds   int
	Duration time.Duration
	ListRuns int
	// Only are the letters of the rows to measure; none means all.
	Only     []string
	Progress io.Writer
}

// Table is the result of a comparison.
type Table struct {
	Columns []string
	Rows    []TableRow
	Facts   []string
}

// TableRow is a figure of every column: the median of its rounds, NaN where it was not measured.
type TableRow struct {
	Row    string
	figure figure
	Rounds [][]float64
}

// Compare measures every scenario on every kind of server in turns, so that all of them see the same machine.
func Compare(ctx context.Context, o CompareOptions) (t Table, err error) {
	kinds, stop, err := o.kinds(ctx)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	t.Facts = machineFacts(ctx)
	for _, k := range kinds {
		t.Columns = append(t.Columns, k.name)
	}
	for _, sc := range scenarios {
		if len(o.Only) > 0 && !slices.Contains(o.Only, sc.row) {
			continue
		}
		rows := make([]TableRow, len(sc.figures))
		for i, f := range sc.figures {
			rows[i] = TableRow{Row: sc.row, figure: f, Rounds: make([][]float64, len(kinds))}
		}
		for round := range o.Rounds {
			for k, kind := range kinds {
				values, err := sc.run(ctx, &bench{kind: kind, duration: o.Duration, listRuns: o.ListRuns})
				if errors.Is(err, errSkip) {
					continue
				}
				if err != nil {
					return t, fmt.Errorf("row %s on %s: %w", sc.row, kind.name, err)
				}
				for i, v := range values {
					rows[i].Rounds[k] = append(rows[i].Rounds[k], v)
				}
				o.say("row %s round %d %s: %s\n", sc.row, round+1, kind.name, shown(sc.figures, values))
			}
		}
		t.Rows = append(t.Rows, rows...)
	}
	return t, nil
}

func (o *CompareOptions) say(format string, args ...any) {
	if o.Progress != nil {
		_, _ = fmt.Fprintf(o.Progress, format, args...)
	}
}

func shown(figures []figure, values []float64) string {
	var parts []string
	for i, v := range values {
		parts = append(parts, fmt.Sprintf("%s %s", figures[i].name, number(v)))
	}
	return strings.Join(parts, "; ")
}

// kinds are the servers to compare. The one that is measured comes first.
func (o *CompareOptions) kinds(ctx context.Context) ([]serverKind, func() error, error) {
	var kinds []serverKind
	stop := func() error { return nil }
	var database func(context.Context) (string, func() error, error)
	if o.Postgres {
		p, err := startPostgres(ctx)
		if err != nil {
			return nil, nil, err
		}
		stop, database = p.Close, p.database
	}
	for _, program := range []serverKind{
		{name: "Kneo", program: o.Kneo}, {name: "before", program: o.Before}, {name: "reference", program: o.Reference, reference: true},
	} {
		if program.program == "" {
			continue
		}
		onSQLite := program
		onSQLite.name += ", SQLite"
		kinds = append(kinds, onSQLite)
		if database != nil {
			onPostgres := program
			onPostgres.name += ", PostgreSQL"
			onPostgres.database = database
			kinds = append(kinds, onPostgres)
		}
	}
	if len(kinds) == 0 {
		return nil, nil, errors.Join(errors.New("nothing to measure: give -kneo or -reference"), stop())
	}
	return kinds, stop, nil
}

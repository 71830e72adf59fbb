package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kneo-go/kneo/internal/store/postgres"
)

const dumpHeader = "PGDMP"

// Postgres dumps a database with pg_dump in its custom format, which pg_restore reads. The service may run.
func Postgres(ctx context.Context, dsn, destination string, overwrite bool) (r Report, err error) {
	target, env, err := connection(dsn)
	if err != nil {
		return r, err
	}
	r = Report{Kind: "postgres", Source: target, Destination: destination}
	if r.SchemaVersion, err = postgresVersion(ctx, dsn); err != nil {
		return r, err
	}
	if r.SchemaVersion == 0 {
		return r, fmt.Errorf("%s has no schema of this service in it; is it the right database", target)
	}
	if _, err := os.Stat(destination); err == nil && !overwrite {
		return r, existsError(destination)
	}
	if err := os.MkdirAll(filepath.Dir(destination), 0o750); err != nil {
		return r, err
	}
	temporary := destination + ".partial"
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	if _, err := tool(ctx, env, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file="+temporary); err != nil {
		return r, err
	}
	if err := os.Chmod(temporary, 0o600); err != nil {
		return r, err
	}
	r.BytesCopied = size(temporary)
	return r, settle(temporary, destination)
}

// RestorePostgres brings a dump of Postgres into a database that no service uses. Tables that are there already are only replaced with overwrite. It
// happens in one transaction.
func RestorePostgres(ctx context.Context, dump, dsn string, overwrite bool) (r Report, err error) {
	target, env, err := connection(dsn)
	if err != nil {
		return r, err
	}
	r = Report{Kind: "postgres", Source: dump, Destination: target, BytesCopied: size(dump)}
	start, err := head(dump, len(dumpHeader))
	if errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("Backup source does not exist: %s", dump) //nolint:staticcheck // the documented text
	}
	if err != nil {
		return r, err
	}
	if start != dumpHeader {
		return r, fmt.Errorf("not a pg_dump file in custom format: %s", dump)
	}
	if r.SchemaVersion, err = dumpVersion(ctx, env, dump); err != nil {
		return r, err
	}
	if err := postgres.VersionError(dump, r.SchemaVersion); err != nil {
		return r, err
	}
	present, err := postgresVersion(ctx, dsn)
	if err != nil {
		return r, err
	}
	if present > 0 && !overwrite {
		return r, existsError("the schema of this service in " + target)
	}
	if err := noService(ctx, dsn, present > 0); err != nil {
		return r, err
	}
	_, err = tool(ctx, env, "pg_restore", "--dbname="+database(env), "--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", dump)
	if err != nil {
		return r, err
	}
	return r, forget(ctx, dsn)
}

// forget removes the processes that were alive when the dump was made: they do not use this database, and their leases are free.
func forget(ctx context.Context, dsn string) (err error) {
	conn, err := postgres.Inspect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, "UPDATE owners SET beat_at = '-infinity'")
	return err
}

// noService refuses while a process of the service is alive on the database.
func noService(ctx context.Context, dsn string, present bool) (err error) {
	if !present {
		return nil
	}
	conn, err := postgres.Inspect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var alive int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM owners WHERE beat_at > now() - interval '10 seconds'").Scan(&alive); err != nil {
		return err
	}
	if alive > 0 {
		return fmt.Errorf("stop the service first: %d process(es) use the database", alive)
	}
	return nil
}

func postgresVersion(ctx context.Context, dsn string) (version int64, err error) {
	conn, err := postgres.Inspect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return postgres.Version(ctx, conn)
}

// dumpVersion reads the schema version out of a dump without a database.
func dumpVersion(ctx context.Context, env []string, dump string) (int64, error) {
	text, err := tool(ctx, env, "pg_restore", "--data-only", "--table=goose_db_version", "--file=-", dump)
	if err != nil {
		return 0, err
	}
	var version int64
	rows := false
	for line := range strings.SplitSeq(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "COPY "):
			rows = true
		case line == `\.`:
			rows = false
		case rows:
			// id, version_id, is_applied, tstamp
			if fields := strings.Split(line, "\t"); len(fields) >= 3 && fields[2] == "t" {
				if v, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
					version = max(version, v)
				}
			}
		}
	}
	if version == 0 {
		return 0, fmt.Errorf("%w? (%s)", errForeign, dump)
	}
	return version, nil
}

// tool runs a program of PostgreSQL and returns what it prints.
func tool(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed here; install the PostgreSQL client programs, or run %s yourself as docs/operators/backup.md says", name, name)
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // a fixed program with the operator's file
	cmd.Env = append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}

// connection turns a DSN into the environment of libpq, so that no password is on a command line, and into a name without one.
func connection(dsn string) (target string, env []string, err error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return "", nil, err
	}
	c := cfg.ConnConfig
	set := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	set("PGHOST", c.Host)
	set("PGPORT", strconv.Itoa(int(c.Port)))
	set("PGUSER", c.User)
	set("PGPASSWORD", c.Password)
	set("PGDATABASE", c.Database)
	for key, name := range map[string]string{"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"} {
		set(name, option(dsn, key))
	}
	return fmt.Sprintf("postgres://%s:%d/%s", c.Host, c.Port, c.Database), env, nil
}

// option reads one setting of a DSN in either of its forms.
func option(dsn, key string) string {
	if strings.Contains(dsn, "://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return ""
		}
		return u.Query().Get(key)
	}
	for field := range strings.FieldsSeq(dsn) {
		if value, ok := strings.CutPrefix(field, key+"="); ok {
			return strings.Trim(value, "'")
		}
	}
	return ""
}

func database(env []string) string {
	for _, e := range env {
		if name, ok := strings.CutPrefix(e, "PGDATABASE="); ok {
			return name
		}
	}
	return "postgres"
}

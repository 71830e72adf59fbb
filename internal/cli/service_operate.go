package cli

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/backup"
	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/doctor"
	"github.com/kneo-go/kneo/internal/maintenance"
)

// serviceOperations are the commands that look after a service and its database.
func (s *shell) serviceOperations() []*cobra.Command {
	return []*cobra.Command{s.serviceSweep(), s.servicePrune(), s.serviceMigrate(), s.serviceBackup(), s.serviceRestore(), s.serviceDoctor()}
}

// opened builds the configured service without opening a port; for reading it works beside a service on the same file.
func (s *shell) opened(cmd *cobra.Command, reading bool) (*app.App, error) {
	cfg, err := config.Load(s.Env)
	if err != nil {
		return nil, err
	}
	return app.New(cmd.Context(), cfg, app.Options{Version: s.Version, Log: s.Err, Env: s.Env, ReadOnly: reading})
}

func dryFlag(cmd *cobra.Command, dry *bool) *cobra.Command {
	cmd.Flags().BoolVar(dry, "dry-run", false, "Only count; change nothing.")
	return jsonFlag(cmd)
}

func (s *shell) serviceSweep() *cobra.Command {
	var dry bool
	cmd := leaf("sweep", "Do once what the service does periodically: overdue runs, expired tasks, retention", nil, func(cmd *cobra.Command, _ []string) error {
		a, err := s.opened(cmd, dry)
		if err != nil {
			return err
		}
		defer a.Close()
		work := a.Sweep
		if dry {
			work = a.Due
		}
		report, err := work(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON(cmd) {
			return s.value(sweepReport(report, dry))
		}
		rows := [][]string{
			{"runs timed out", fmt.Sprint(report.TimedOut)},
			{"tasks expired", fmt.Sprint(report.Expired)},
			{"tasks continued", fmt.Sprint(report.Continued)},
			{"tasks escalated", fmt.Sprint(report.Escalated)},
			{"leases freed", fmt.Sprint(report.Recovered)},
		}
		s.counted(append(rows, countRows("deleted: ", report.Pruned)...), dry)
		return nil
	})
	cmd.Long = `Ends runs whose deadline has passed, treats human tasks that nobody answered in time, frees the leases of dead processes and deletes what
KNEO_SERV_RETENTION_* lets go. A running service does all this by itself every KNEO_SERV_SWEEP_SECONDS; this command is for deployments that turn
that off. On SQLite only --dry-run works beside a running service.`
	return dryFlag(cmd, &dry)
}

func sweepReport(r maintenance.Report, dry bool) any {
	return struct {
		DryRun    bool             `json:"dry_run"`
		TimedOut  int              `json:"timed_out"`
		Expired   int              `json:"expired"`
		Continued int              `json:"continued"`
		Escalated int              `json:"escalated"`
		Recovered int64            `json:"recovered"`
		Pruned    map[string]int64 `json:"pruned"`
	}{dry, r.TimedOut, r.Expired, r.Continued, r.Escalated, r.Recovered, r.Pruned}
}

func countRows(prefix string, counts map[string]int64) [][]string {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		rows = append(rows, []string{prefix + strings.ReplaceAll(name, "_", " "), fmt.Sprint(counts[name])})
	}
	return rows
}

func (s *shell) counted(rows [][]string, dry bool) {
	what := "Count"
	if dry {
		what = "Would be"
	}
	s.out.Table(term.Table{Headers: []string{"What", what}, Rows: rows})
}

func (s *shell) servicePrune() *cobra.Command {
	var dry bool
	cmd := leaf("prune", "Delete what retention lets go", nil, func(cmd *cobra.Command, _ []string) error {
		a, err := s.opened(cmd, dry)
		if err != nil {
			return err
		}
		defer a.Close()
		counts, err := a.Prune(cmd.Context(), dry)
		if err != nil {
			return err
		}
		if asJSON(cmd) {
			return s.value(struct {
				DryRun bool             `json:"dry_run"`
				Pruned map[string]int64 `json:"pruned"`
			}{dry, counts})
		}
		if len(counts) == 0 {
			s.out.Success("Nothing to delete.")
			return nil
		}
		s.counted(countRows("", counts), dry)
		return nil
	})
	cmd.Long = `Deletes rows and files that are older than KNEO_SERV_RETENTION_*_DAYS says, in bounded steps. Runs that are not closed are never deleted.
A run goes with everything that belongs to it. On SQLite only --dry-run works beside a running service, which deletes by itself.`
	return dryFlag(cmd, &dry)
}

func (s *shell) serviceMigrate() *cobra.Command {
	var status bool
	cmd := leaf("migrate", "Bring the database schema up to this release", nil, func(cmd *cobra.Command, _ []string) error {
		before, err := s.schema(cmd)
		if err != nil {
			return err
		}
		if !status {
			a, err := s.opened(cmd, false)
			if err != nil {
				return err
			}
			a.Close()
			after, err := s.schema(cmd)
			if err != nil {
				return err
			}
			return s.told(cmd, fmt.Sprintf("The schema is at version %d (was %d).", after.Version, before.Version), after)
		}
		return s.told(cmd, fmt.Sprintf("The schema is at version %d; this release has %d.", before.Version, before.Known), before)
	})
	cmd.Long = `Brings the database schema up to this release. The service does that at its start as well; the command is for deployments that migrate first, with
another role. Migrations only go forward: back the database up before. A database of a newer release is refused.`
	cmd.Flags().BoolVar(&status, "status", false, "Only show the versions.")
	return jsonFlag(cmd)
}

type schemaVersions struct {
	Kind    string `json:"kind"`
	Version int64  `json:"version"`
	Known   int64  `json:"known"`
}

func (s *shell) schema(cmd *cobra.Command) (schemaVersions, error) {
	cfg, err := config.Load(s.Env)
	if err != nil {
		return schemaVersions{}, err
	}
	kind, version, known, err := app.SchemaVersion(cmd.Context(), &cfg)
	return schemaVersions{kind, version, known}, err
}

// told prints one line, or the value as JSON.
func (s *shell) told(cmd *cobra.Command, line string, value any) error {
	if asJSON(cmd) {
		return s.value(value)
	}
	s.out.Success(line)
	return nil
}

// backupName is the file of a backup that was given none.
func backupName(kind string, now time.Time) string {
	suffix := ".db"
	if kind == "postgres" {
		suffix = ".dump"
	}
	return "kneo-" + now.UTC().Format("20060102-150405") + suffix
}

func (s *shell) serviceBackup() *cobra.Command {
	var force bool
	cmd := leaf("backup", "Copy the database to a file while the service runs", []string{"[FILE]"}, func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(s.Env)
		if err != nil {
			return err
		}
		var r backup.Report
		if dsn := cfg.Storage.DatabaseURL; dsn != "" {
			r, err = backup.Postgres(cmd.Context(), dsn, s.backupFile(args, "postgres"), force)
		} else {
			r, err = backup.SQLite(cmd.Context(), s.here(cfg.Storage.SQLitePath), s.backupFile(args, "sqlite"), force)
		}
		if err != nil {
			return err
		}
		return s.told(cmd, fmt.Sprintf("%s: %d bytes, schema version %d.", r.Destination, r.BytesCopied, r.SchemaVersion), r)
	})
	cmd.Long = `Copies the database to a new file while the service runs. SQLite is copied by itself, checked, and gets its name when it is complete; for PostgreSQL
the command runs pg_dump in its custom format. Without FILE the copy is named after the time, in the working folder.`
	cmd.Flags().BoolVar(&force, "force", false, "Write over FILE.")
	return jsonFlag(cmd)
}

func (s *shell) backupFile(args []string, kind string) string {
	if len(args) > 0 {
		return s.here(args[0])
	}
	return s.here(backupName(kind, time.Now()))
}

func (s *shell) serviceRestore() *cobra.Command {
	var force bool
	cmd := leaf("restore", "Bring a backup back; the service must be stopped", []string{"FILE"}, func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(s.Env)
		if err != nil {
			return err
		}
		var r backup.Report
		if dsn := cfg.Storage.DatabaseURL; dsn != "" {
			r, err = backup.RestorePostgres(cmd.Context(), s.here(args[0]), dsn, force)
		} else {
			r, err = backup.RestoreSQLite(cmd.Context(), s.here(args[0]), s.here(cfg.Storage.SQLitePath), force)
		}
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s is back, schema version %d.", r.Destination, r.SchemaVersion)
		if r.Kept != "" {
			line += " What was there is in " + r.Kept + "."
		}
		return s.told(cmd, line, r)
	})
	cmd.Long = `Brings a backup back into the configured database. It refuses while a service runs, a file that is no backup of this service or is damaged, a backup of
a newer release, and, without --force, a database that has something in it. A SQLite database that is replaced is kept beside the new one.
For PostgreSQL the command runs pg_restore in one transaction.`
	cmd.Flags().BoolVar(&force, "force", false, "Replace what is in the database.")
	return jsonFlag(cmd)
}

func (s *shell) serviceDoctor() *cobra.Command {
	cmd := leaf("doctor", "Look for what is wrong with settings, keys, certificates and database", nil, func(cmd *cobra.Command, _ []string) error {
		found := doctor.Examine(cmd.Context(), s.Env, os.Environ(), time.Now())
		if asJSON(cmd) {
			if err := s.value(struct {
				OK       bool             `json:"ok"`
				Findings []doctor.Finding `json:"findings"`
			}{!doctor.Failed(found), found}); err != nil {
				return err
			}
		} else {
			s.findings(found)
		}
		if doctor.Failed(found) {
			return verdict{}
		}
		return nil
	})
	cmd.Long = `Looks at settings, API keys, provider secrets, certificates, folders, the database, its schema and its queue, without changing anything, also beside a
running service. The exit code is 1 when something would keep the service from starting or working.`
	return jsonFlag(cmd)
}

func (s *shell) findings(list []doctor.Finding) {
	for _, f := range list {
		line := f.Check + ": " + f.Detail
		switch f.Verdict {
		case doctor.Fail:
			s.out.Fail(line)
		case doctor.Warn:
			s.out.Warn(line)
		default:
			s.out.Success(line)
		}
		if f.Hint != "" && f.Verdict != doctor.OK {
			s.out.Println(s.out.Paint(term.Dim, "  "+f.Hint))
		}
	}
}

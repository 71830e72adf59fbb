package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/store"
	"github.com/kneo-go/kneo/internal/store/postgres"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

const (
	// oldestPostgres is the first version that is supported, as server_version_num.
	oldestPostgres = 130000
	// skew is how far the clock of the database may differ before it is worth a word.
	skew = 5 * time.Second
	// roomLeft is how many bytes a disk should have free.
	roomLeft = 256 << 20
)

func (e *examination) version(found, known int64) {
	switch {
	case found == 0:
		e.add("schema", OK, "", "the database has no schema yet; the first start or `kneo service migrate` makes it")
	case found > known:
		e.add("schema", Fail, "run the newer release, or restore a backup that was made before the upgrade", "the database has schema version %d, this release knows %d", found, known)
	case found < known:
		e.add("schema", Warn, "back the database up, then start the service or run `kneo service migrate`", "the database has schema version %d, this release brings %d", found, known)
	default:
		e.add("schema", OK, "", "version %d", found)
	}
}

// elsewhere tells of database files that this service would not read, the usual reason for rows that seem to be missing.
func (e *examination) elsewhere() {
	path := filepath.Join(".kneo", "kneo_runs.sqlite")
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return
	}
	if e.cfg.Storage.DatabaseURL != "" || filepath.Clean(e.cfg.Storage.SQLitePath) != path {
		e.add("database", Warn, "compare the settings of the processes that should share a database; files of kneo-serv are not taken over", "%s lies here too and is not read", path)
	}
}

func (e *examination) sqlite(ctx context.Context) {
	path := e.cfg.Storage.SQLitePath
	if path == sqlite.Memory {
		e.add("database", Warn, "set KNEO_SERV_SQLITE_PATH or KNEO_SERV_DATABASE_URL", "everything is lost when the process ends")
		return
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, os.ErrNotExist) {
		e.add("database", OK, "", "%s does not exist yet; the first start makes it", path)
		return
	}
	if release, err := sqlite.Own(path); err != nil {
		var used *store.InUseError
		if !errors.As(err, &used) {
			e.add("database", Fail, "the folder of KNEO_SERV_SQLITE_PATH must be writable for the service", "%v", err)
			return
		}
		e.add("database", OK, "", "%s is in use by process %s", path, used.Holder)
	} else {
		_ = release()
	}
	e.room(filepath.Dir(path))
	db, err := sqlite.Inspect(ctx, path)
	if errors.Is(err, store.ErrNotFound) {
		e.add("database", OK, "", "%s does not exist yet; the first start makes it", path)
		return
	}
	if err != nil {
		e.add("database", Fail, "is this the right file? a backup is brought back with `kneo service restore`", "%v", err)
		return
	}
	defer func() { _ = db.Close() }()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil || verdict != "ok" {
		e.add("database", Fail, "stop the service, keep the file, and bring a backup back with `kneo service restore`", "%s is damaged: %s %v", path, verdict, err)
		return
	}
	e.add("database", OK, "", "%s is sound", path)
	found, err := sqlite.Version(ctx, db)
	if err != nil {
		e.add("schema", Fail, "", "%v", err)
		return
	}
	e.version(found, sqlite.KnownVersion())
	if found != sqlite.KnownVersion() {
		return
	}
	var queued, oldest int64
	err = db.QueryRowContext(ctx, `SELECT count(*), coalesce(min(available_at), 0) FROM run_queue WHERE is_open AND mode = 'queued' AND state IN ('queued', 'claimed')`).Scan(&queued, &oldest)
	if err != nil {
		e.add("queue", Fail, "", "%v", err)
		return
	}
	e.queue(queued, e.now.Sub(time.UnixMicro(oldest)), -1)
}

func (e *examination) room(folder string) {
	free, ok := freeBytes(folder)
	if !ok {
		return
	}
	if free < roomLeft {
		e.add("disk", Fail, "make room; a full disk refuses every write", "%d MiB are free in %s", free>>20, folder)
		return
	}
	e.add("disk", OK, "", "%d MiB are free in %s", free>>20, folder)
}

// waiting is how long a run may wait before somebody should look.
const waiting = time.Minute

// queue judges a backlog; alive is the number of live processes, -1 when that is not known.
func (e *examination) queue(queued int64, oldest time.Duration, alive int64) {
	switch {
	case queued == 0:
		e.add("queue", OK, "", "no run is waiting")
	case alive == 0:
		e.add("queue", Fail, "start `kneo service serve` or `kneo service worker`", "%d runs are waiting and no process of the service is alive", queued)
	case oldest > waiting:
		e.add("queue", Warn, "start more workers, raise KNEO_SERV_WORKER_CONCURRENCY, or look for processes with --no-worker only", "%d runs are waiting, the oldest for %s", queued, oldest.Round(time.Second))
	default:
		e.add("queue", OK, "", "%d runs are waiting", queued)
	}
}

func (e *examination) postgres(ctx context.Context) {
	conn, err := postgres.Inspect(ctx, e.cfg.Storage.DatabaseURL)
	if err != nil {
		e.add("database", Fail, "check address, name, user, password and network of KNEO_SERV_DATABASE_URL", "%s", redact.Text(err.Error()))
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var number, most int64
	var version string
	var now time.Time
	begun := time.Now()
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), current_setting('max_connections')::bigint, clock_timestamp()`).
		Scan(&number, &version, &most, &now)
	if err != nil {
		e.add("database", Fail, "", "%v", err)
		return
	}
	trip := time.Since(begun)
	if number < oldestPostgres {
		e.add("database", Fail, "PostgreSQL 13 is the oldest that works", "PostgreSQL %s", version)
	} else {
		e.add("database", OK, "", "PostgreSQL %s, %d connections, %s away", version, most, trip.Round(time.Microsecond))
	}
	if d := time.Since(now.Add(trip / 2)).Abs(); d > skew {
		e.add("clock", Warn, "leases use the clock of the database, but deadlines, logs and traces use that of the host: synchronise both", "the database's clock differs by %s", d.Round(time.Millisecond))
	}
	found, err := postgres.Version(ctx, conn)
	if err != nil {
		e.add("schema", Fail, "", "%v", err)
		return
	}
	e.version(found, postgres.KnownVersion())
	e.notifications(ctx)
	if found == postgres.KnownVersion() {
		e.backlog(ctx, conn)
	}
}

func (e *examination) backlog(ctx context.Context, conn *pgx.Conn) {
	var queued, alive int64
	var oldest float64
	err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM owners WHERE beat_at > clock_timestamp() - interval '10 seconds'), count(*),
		coalesce(extract(epoch FROM clock_timestamp() - min(available_at)), 0)::float8
		FROM run_queue WHERE is_open AND mode = 'queued' AND state IN ('queued', 'claimed')`).Scan(&alive, &queued, &oldest)
	if err != nil {
		e.add("queue", Fail, "", "%v", err)
		return
	}
	e.add("processes", OK, "", "%d processes of the service are alive", alive)
	e.queue(queued, time.Duration(oldest*float64(time.Second)), alive)
}

// notifications tries whether one session hears what another says, which a transaction-mode pooler prevents.
func (e *examination) notifications(ctx context.Context) {
	dsn := e.cfg.Storage.ListenURL
	if dsn == "" {
		dsn = e.cfg.Storage.DatabaseURL
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	hear := func() error {
		listener, err := postgres.Inspect(ctx, dsn)
		if err != nil {
			return err
		}
		defer func() { _ = listener.Close(context.WithoutCancel(ctx)) }()
		speaker, err := postgres.Inspect(ctx, e.cfg.Storage.DatabaseURL)
		if err != nil {
			return err
		}
		defer func() { _ = speaker.Close(context.WithoutCancel(ctx)) }()
		if _, err := listener.Exec(ctx, "LISTEN kneo_doctor"); err != nil {
			return err
		}
		if _, err := speaker.Exec(ctx, "NOTIFY kneo_doctor"); err != nil {
			return err
		}
		_, err = listener.WaitForNotification(ctx)
		return err
	}
	if err := hear(); err != nil {
		e.add("notifications", Warn, "behind a pooler in transaction mode, set KNEO_SERV_DATABASE_LISTEN_URL to a direct connection; until then idle workers look every KNEO_SERV_WORKER_IDLE_POLL_SECONDS",
			"notifications do not arrive: %s", redact.Text(err.Error()))
		return
	}
	e.add("notifications", OK, "", "arrive")
}

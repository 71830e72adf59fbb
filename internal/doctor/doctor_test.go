package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/store/sqlite"
)

func text(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		b.WriteString(f.Verdict + " " + f.Check + ": " + f.Detail + "\n")
	}
	return b.String()
}

func TestExamine(t *testing.T) {
	dir := t.TempDir()
	sound := filepath.Join(dir, "sound.db")
	s, err := sqlite.New(t.Context(), sqlite.Options{Path: sound})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.db")
	if err := os.WriteFile(damaged, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want string
		fail bool
	}{
		"nothing set":        {nil, "warn auth: authentication is off", false},
		"typing error":       {map[string]string{"KNEO_SERV_WORKER_CONCURENCY": "4"}, "warn settings: KNEO_SERV_WORKER_CONCURENCY", false},
		"bad value":          {map[string]string{"KNEO_SERV_LOG_LEVEL": "LOUD"}, "fail settings: ", true},
		"bad keys":           {map[string]string{"KNEO_SERV_API_KEYS": "a:b"}, "fail auth: Invalid", true},
		"missing secret":     {map[string]string{"KNEO_SERV_HEALTH_PROVIDERS": "openai"}, "fail provider secrets: openai is missing", true},
		"no spec root":       {map[string]string{"KNEO_SERV_SPEC_ROOT": filepath.Join(dir, "none")}, "fail spec root: ", true},
		"bad certificate":    {map[string]string{"KNEO_SERV_TLS_CERT_FILE": damaged, "KNEO_SERV_TLS_KEY_FILE": damaged}, "fail tls: ", true},
		"sound database":     {map[string]string{"KNEO_SERV_SQLITE_PATH": sound}, "ok schema: version", false},
		"damaged database":   {map[string]string{"KNEO_SERV_SQLITE_PATH": damaged}, "fail database: ", true},
		"database in memory": {map[string]string{"KNEO_SERV_SQLITE_PATH": ":memory:"}, "warn database: everything is lost", false},
		"no PostgreSQL":      {map[string]string{"KNEO_SERV_DATABASE_URL": "postgres://ann:topsecret@127.0.0.1:1/kneo"}, "fail database: ", true},
		"no collector":       {map[string]string{"KNEO_SERV_OTEL_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "warn telemetry: no collector", false},
		"files without root": {map[string]string{"KNEO_SERV_RETENTION_LOGS_DAYS": "3"}, "warn retention: log files", false},
	} {
		env := map[string]string{"KNEO_SERV_SQLITE_PATH": filepath.Join(dir, "fresh", "kneo.db")}
		var environ []string
		for k, v := range c.env {
			env[k] = v
			environ = append(environ, k+"="+v)
		}
		found := Examine(context.Background(), config.FromMap(env), environ, time.Now())
		if got := text(found); !strings.Contains(got, c.want) || strings.Contains(got, "topsecret") || Failed(found) != c.fail {
			t.Errorf("%s: failed %v\n%s", name, Failed(found), got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "fresh")); !os.IsNotExist(err) {
		t.Error("looking made a folder")
	}
}

// TestAnotherDatabaseLiesHere: rows that seem to be missing are in a file that this service does not read.
func TestAnotherDatabaseLiesHere(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir(".kneo", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(".kneo", "kneo_runs.sqlite"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := text(Examine(t.Context(), config.FromMap(map[string]string{"KNEO_SERV_SQLITE_PATH": "state.db"}), nil, time.Now())); !strings.Contains(got, "kneo_runs.sqlite lies here too") {
		t.Error(got)
	}
}

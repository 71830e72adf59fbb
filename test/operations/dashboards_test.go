package operations

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/kneo-go/kneo/internal/testkit/pgtest"
	"github.com/kneo-go/kneo/test/replica"
)

var metricName = regexp.MustCompile(`\bkneo_[a-z_]+`)

// TestDashboardsUseWhatExists reads dashboard, rules and the page of metrics and looks for every name in a scrape of a service that was used.
func TestDashboardsUseWhatExists(t *testing.T) {
	t.Parallel()
	db, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	model := replica.NewModel(t)
	p := replica.Serve(t, t.TempDir(), map[string]string{"KNEO_SERV_DATABASE_URL": db.DSN("postgres"), "HOUSE_KEY": "k"})
	queued := p.OK(t, http.StatusAccepted, "POST", "/v1/runs", object{"input": "x", "spec": object{"version": "v1", "agent": model.Agent("a")}, "async_mode": true}, "Idempotency-Key", "k")
	p.OK(t, http.StatusOK, "GET", "/v1/runs/"+queued["run_id"].(string)+"/wait?timeout_seconds=20", nil)
	scrape, _ := p.OK(t, http.StatusOK, "GET", "/metrics", nil)["text"].(string)
	for _, file := range []string{"../../deploy/grafana/kneo.json", "../../deploy/prometheus/kneo-rules.yaml", "../../docs/operators/metrics.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed any
		switch {
		case strings.HasSuffix(file, ".json"):
			err = json.Unmarshal(text, &parsed)
		case strings.HasSuffix(file, ".yaml"):
			err = yaml.Unmarshal(text, &parsed)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		names := metricName.FindAllString(string(text), -1)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if !strings.Contains(scrape, "\n"+name) {
				t.Errorf("%s: no metric %s", file, name)
			}
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kneo-go/kneo/test/replica"
)

func TestMain(m *testing.M) {
	replica.Play()
	os.Exit(m.Run())
}

// TestThreeDoors runs the same spec over gRPC, REST and the command line: output and trace are the same.
func TestThreeDoors(t *testing.T) {
	var out, trace bytes.Buffer
	dir := t.TempDir()
	err := chat(t.Context(), &out, func(url, spec string) error {
		file := filepath.Join(dir, "spec.json")
		if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
			return err
		}
		printed, complaint, code := replica.Command(t, dir, nil, "run", file, "--input", "What is a lease?", "--json", "--service-url", url)
		id := regexp.MustCompile(`"run_id": "([^"]+)"`).FindStringSubmatch(printed)
		if code != 0 || id == nil || !strings.Contains(printed, "A lease says who works on a run, and until when.") {
			return fmt.Errorf("exit code %d\n%s\n%s", code, printed, complaint)
		}
		return traceOf(t, &trace, url, id[1])
	})
	if err != nil {
		t.Fatal(err)
	}
	const answer = "completed A lease says who works on a run, and until when.\n"
	const events = "  trace: run_started\n  trace: run_completed\n"
	if want := "gRPC: " + answer + events + "REST: " + answer + events; out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
	if trace.String() != events {
		t.Errorf("the command's run has the trace\n%s", trace.String())
	}
}

func traceOf(t *testing.T, out *bytes.Buffer, url, id string) error {
	return trace(t.Context(), out, url, id)
}

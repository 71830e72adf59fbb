package packaging

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// keys are the settings of systemd.unit(5), systemd.service(5) and systemd.exec(5) that the unit may use.
var keys = map[string][]string{
	"Unit": {"Description", "Documentation", "After", "Wants"},
	"Service": {
		"Type", "User", "Group", "StateDirectory", "WorkingDirectory", "EnvironmentFile", "ExecStart", "Restart", "RestartSec", "TimeoutStopSec",
		"KillSignal", "LimitNOFILE", "NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables",
		"ProtectKernelModules", "ProtectControlGroups", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute", "RestrictAddressFamilies",
	},
	"Install": {"WantedBy"},
}

func TestUnit(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy/systemd/kneo.service"))
	if err != nil {
		t.Fatal(err)
	}
	section, seen := "", map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || !slices.Contains(keys[section], key) {
			t.Errorf("[%s]: %q is not known", section, line)
		}
		seen[key] = value
	}
	for key, want := range map[string]string{"User": "kneo", "KillSignal": "SIGTERM", "WorkingDirectory": "/var/lib/" + seen["StateDirectory"], "NoNewPrivileges": "true"} {
		if seen[key] != want {
			t.Errorf("%s=%s, want %s", key, seen[key], want)
		}
	}
}

// TestSystemdAcceptsTheUnit asks systemd itself, where it is installed.
func TestSystemdAcceptsTheUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("this machine has no systemd-analyze; TestUnit has checked the keys")
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy/systemd/kneo.service"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The program must exist for systemd-analyze; here it is not installed.
	unit := filepath.Join(t.TempDir(), "kneo.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/kneo", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, "verify", unit).CombinedOutput() //nolint:gosec // a tool of the machine
	if err != nil || strings.Contains(string(out), "kneo.service:") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Package doctor looks at a deployment from outside the service and says what is wrong with it and what to do. It changes nothing: it migrates no
// schema, takes no lease and may run beside a service. It may import the store's adapters.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kneo-go/kneo/internal/auth"
	"github.com/kneo-go/kneo/internal/config"
	"github.com/kneo-go/kneo/internal/secret"
)

// Verdicts of a finding.
const (
	OK   = "ok"
	Warn = "warn"
	Fail = "fail"
)

// Finding is the result of one check.
type Finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	// Hint says what to do, and is empty when nothing is.
	Hint string `json:"hint,omitempty"`
}

// Failed tells whether a service would not start or not work.
func Failed(list []Finding) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Verdict == Fail })
}

type examination struct {
	cfg  config.Config
	env  config.Env
	now  time.Time
	list []Finding
}

func (e *examination) add(check, verdict, hint, format string, args ...any) {
	e.list = append(e.list, Finding{Check: check, Verdict: verdict, Detail: fmt.Sprintf(format, args...), Hint: hint})
}

// Examine looks at settings, keys, secrets, certificates, folders and the database. Environ are the "name=value" pairs of the environment.
func Examine(ctx context.Context, env config.Env, environ []string, now time.Time) []Finding {
	e := &examination{env: env, now: now}
	e.names(environ)
	var err error
	if e.cfg, err = config.Load(env); err != nil {
		e.add("settings", Fail, "correct the variable; the service does not start with it", "%v", err)
		return e.list
	}
	e.add("settings", OK, "", "%d differ from their defaults", e.changed())
	e.keys()
	e.secrets(ctx)
	e.certificate()
	e.folders()
	e.elsewhere()
	if e.cfg.Storage.DatabaseURL != "" {
		e.postgres(ctx)
	} else {
		e.sqlite(ctx)
	}
	e.collector(ctx)
	return e.list
}

func (e *examination) changed() int {
	n := 0
	for _, v := range e.cfg.Dump() {
		if !v.Default {
			n++
		}
	}
	return n
}

// names finds variables that look like settings and are none.
func (e *examination) names(environ []string) {
	known := map[string]bool{"KNEO_SERV_URL": true, "KNEO_SERV_API_KEY": true}
	for _, s := range config.Settings() {
		known[s.Name] = true
	}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "KNEO_SERV_") && !known[name] {
			e.add("settings", Warn, "look for a typing error; `kneo service config --all` lists all settings", "%s is no setting of this release and has no effect", name)
		}
	}
}

func (e *examination) keys() {
	keys, err := auth.New(auth.Settings{APIKeys: e.cfg.Auth.APIKeys, AdminAPIKey: e.cfg.Auth.AdminAPIKey, Enabled: e.cfg.Auth.Enabled})
	if err != nil {
		e.add("auth", Fail, "correct KNEO_SERV_API_KEYS, KNEO_SERV_ADMIN_API_KEY or KNEO_SERV_AUTH_ENABLED", "%v", err)
		return
	}
	for _, w := range keys.Warnings() {
		e.add("auth", Warn, "", "%s", w)
	}
	if !keys.Enabled() {
		e.add("auth", Warn, "set KNEO_SERV_API_KEYS before anybody else can reach the port", "authentication is off: every caller may do everything")
		return
	}
	e.add("auth", OK, "", "authentication is on")
}

func (e *examination) secrets(ctx context.Context) {
	look := func(check string, names []string, variable func(string) string) {
		for _, name := range names {
			v, _ := e.env(variable(name))
			if strings.TrimSpace(v) == "" {
				e.add(check, Fail, "set "+variable(name)+", or take it out of the list that readiness checks", "%s is missing from %s", name, variable(name))
				continue
			}
			e.add(check, OK, "", "%s is set", variable(name))
		}
	}
	look("provider secrets", e.cfg.Observe.HealthProviders, secret.ProviderVariable)
	look("MCP secrets", e.cfg.Observe.HealthMCPSecrets, func(name string) string { return name })
	if ctx.Err() == nil && len(e.cfg.Observe.HealthProviders) == 0 {
		e.add("provider secrets", OK, "name the providers in KNEO_SERV_HEALTH_PROVIDERS to have readiness watch their keys", "none are watched")
	}
}

// renewal is how long before its end a certificate is worth a warning.
const renewal = 14 * 24 * time.Hour

func (e *examination) certificate() {
	l := e.cfg.Listen
	if l.CertFile == "" {
		e.add("tls", OK, "leave TLS to a proxy, or set KNEO_SERV_TLS_CERT_FILE and KNEO_SERV_TLS_KEY_FILE", "off")
		return
	}
	pair, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		e.add("tls", Fail, "the files must be a PEM chain and its key, readable by the service", "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	switch {
	case err != nil:
		e.add("tls", Fail, "", "%v", err)
	case e.now.After(leaf.NotAfter):
		e.add("tls", Fail, "renew it; the service takes the new files without a restart", "the certificate ended at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case e.now.Add(renewal).After(leaf.NotAfter):
		e.add("tls", Warn, "renew it; the service takes the new files without a restart", "the certificate ends at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	default:
		e.add("tls", OK, "", "the certificate is good until %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if l.ClientCAFile == "" {
		return
	}
	text, err := os.ReadFile(l.ClientCAFile)
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
		e.add("tls", Fail, "KNEO_SERV_TLS_CLIENT_CA_FILE must be a PEM file of authorities", "client authorities cannot be read")
	}
}

func (e *examination) folders() {
	root := e.cfg.Specs.Root
	if root == "" {
		root = "."
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		e.add("spec root", Fail, "create the folder or correct KNEO_SERV_SPEC_ROOT", "%s is no folder", root)
	} else {
		e.add("spec root", OK, "", "%s", root)
	}
	r := e.cfg.Retention
	for _, f := range []struct {
		name, path, variable string
		days                 *int64
	}{{"artifact", r.ArtifactPath, "KNEO_SERV_ARTIFACT_PATH", r.Artifacts}, {"log", r.LogPath, "KNEO_SERV_LOG_PATH", r.Logs}} {
		if f.days != nil && f.path == "" {
			e.add("retention", Warn, "set "+f.variable, "%s files have a retention but no folder", f.name)
		}
	}
	if r.Runs == nil && r.Audit == nil && r.Checkpoints == nil {
		e.add("retention", OK, "set KNEO_SERV_RETENTION_*_DAYS to bound the size of the database", "nothing is ever deleted")
	}
}

// dialTime bounds a look at something on the network.
const dialTime = 2 * time.Second

// collector tries the address that spans go to.
func (e *examination) collector(ctx context.Context) {
	if !e.cfg.Observe.OTel {
		return
	}
	endpoint := ""
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if v, ok := e.env(name); ok && v != "" {
			endpoint = v
			break
		}
	}
	address := "localhost:4317"
	if endpoint != "" {
		address = endpoint
		if _, rest, ok := strings.Cut(endpoint, "://"); ok {
			address = rest
		}
		address, _, _ = strings.Cut(address, "/")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "4317")
	}
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		e.add("telemetry", Warn, "start the collector or correct OTEL_EXPORTER_OTLP_ENDPOINT; the service works without it", "no collector answers at %s", address)
		return
	}
	_ = conn.Close()
	e.add("telemetry", OK, "", "a collector answers at %s", address)
}

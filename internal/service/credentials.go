package service

import (
	"context"
	"time"

	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/secret"
	"github.com/kneo-go/kneo/internal/store"
)

// knownProviders are the providers of an inventory that names none, with their variables.
var knownProviders = []string{"openai", "openai-agents", "anthropic", "google", "google-adk"}

// serviceVariables hold the keys of the service itself.
var serviceVariables = []string{"KNEO_SERV_API_KEY", "KNEO_SERV_API_KEYS", "KNEO_SERV_ADMIN_API_KEY"}

// Lookup reads an environment variable.
type Lookup func(name string) (string, bool)

func (l Lookup) present(name string) bool {
	v, ok := l(name)
	return ok && v != ""
}

// Credential is the state of one variable, never its value.
type Credential struct {
	// Key is the name asked for, Name the one with its section in front.
	Key, Name, Variable string
	Present             bool
}

// Inventory tells which credentials are configured.
type Inventory struct{ Providers, Extra, ServiceTokens []Credential }

// CredentialQuery selects what an inventory looks at.
type CredentialQuery struct {
	Providers, Extras    []string
	IncludeServiceTokens bool
}

// Credentials reads which credentials are configured.
type Credentials struct {
	env   Lookup
	audit auditor
}

// NewCredentials returns the use case over an environment.
func NewCredentials(env Lookup, s store.Audit, now func() time.Time, newID func() string) *Credentials {
	return &Credentials{env: env, audit: auditor{store: s, now: now, newID: newID}}
}

// Inventory lists the credentials and records that somebody looked.
func (c *Credentials) Inventory(ctx context.Context, q CredentialQuery) (Inventory, error) {
	names := q.Providers
	if len(names) == 0 {
		names = knownProviders
	}
	var inv Inventory
	for _, p := range distinct(names) {
		inv.Providers = append(inv.Providers, c.entry("provider:", p, secret.ProviderVariable(p)))
	}
	for _, e := range distinct(q.Extras) {
		inv.Extra = append(inv.Extra, c.entry("extra:", e, e))
	}
	if q.IncludeServiceTokens {
		for _, v := range serviceVariables {
			inv.ServiceTokens = append(inv.ServiceTokens, c.entry("service:", v, v))
		}
	}
	return inv, c.audit.append(ctx, c.audit.event(ctx, "credential.inventory_accessed", "", "", inv.metadata(q)))
}

func (c *Credentials) entry(section, key, variable string) Credential {
	return Credential{Key: key, Name: section + key, Variable: variable, Present: c.env.present(variable)}
}

func (inv *Inventory) metadata(q CredentialQuery) []byte {
	var o object
	o.texts("providers_requested", q.Providers)
	o.texts("extras_requested", q.Extras)
	o.boolean("include_service_references", q.IncludeServiceTokens)
	for _, s := range []struct {
		name string
		list []Credential
	}{{"provider", inv.Providers}, {"extra", inv.Extra}, {"service_reference", inv.ServiceTokens}} {
		o.number(s.name+"_count", int64(len(s.list)))
	}
	for _, s := range []struct {
		name string
		list []Credential
	}{{"providers", inv.Providers}, {"extras", inv.Extra}, {"service_references", inv.ServiceTokens}} {
		n := int64(0)
		for _, e := range s.list {
			if e.Present {
				n++
			}
		}
		o.number(s.name+"_present", n)
	}
	return redact.JSON(o.bytes())
}

func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	var out []string
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// Package auth knows who calls: API keys, the principals they stand for, roles and scopes. It is a table in memory, read once at start.
//
// It imports only the standard library.
package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Wildcard is the scope that satisfies every check.
const Wildcard = "*"

// Anonymous is the name of the principal when authentication is off.
const Anonymous = "anonymous"

// Principal is an authenticated caller; its name is the actor of audit events.
type Principal struct {
	Name   string
	Roles  []string
	Scopes []string
}

// Allows reports whether the principal holds a scope. No scope implies another; only the wildcard satisfies all.
func (p Principal) Allows(scope string) bool {
	return slices.Contains(p.Scopes, scope) || slices.Contains(p.Scopes, Wildcard)
}

// roles maps a role to its scopes.
var roles = map[string][]string{
	"admin": {Wildcard},
	"operator": {
		"runs:read", "runs:write", "specs:read", "human:read", "audit:read", "credentials:read", "policies:read", "policies:write",
	},
	"reviewer": {"runs:read", "human:read", "human:write", "audit:read"},
	"service": {
		"runs:read", "runs:write", "specs:read", "human:read", "human:write", "audit:read", "audit:write", "credentials:read",
		"policies:read", "workers:connect",
	},
	"viewer": {"runs:read", "specs:read", "human:read", "audit:read"},
}

// scopes are the names that a key may carry besides roles.
var scopes = []string{
	Wildcard, "runs:read", "runs:write", "specs:read", "human:read", "human:write", "audit:read", "audit:write", "credentials:read",
	"policies:read", "policies:write", "workers:connect",
}

// KnownScope reports whether a key may carry the scope.
func KnownScope(scope string) bool { return slices.Contains(scopes, scope) }

// Settings are the values of the three variables, as they are in the environment.
type Settings struct {
	// APIKeys is KNEO_SERV_API_KEYS: `name:key:role_or_scope[,role_or_scope]` entries separated by `;`.
	APIKeys string
	// AdminAPIKey is KNEO_SERV_ADMIN_API_KEY; it is used as it is, empty means unset.
	AdminAPIKey string
	// Enabled is KNEO_SERV_AUTH_ENABLED; blank means: on when there is a key.
	Enabled string
}

// Authenticator finds the principal of a token. It is immutable and safe for concurrent use.
type Authenticator struct {
	enabled  bool
	records  []record
	warnings []string
}

type record struct {
	key       []byte
	principal Principal
}

// Refusals of a configuration, in the words of the operator's guide.
var (
	errNoKeys = errors.New("KNEO service auth is enabled but no API keys are configured. Set KNEO_SERV_API_KEYS or KNEO_SERV_ADMIN_API_KEY.")
	errParts  = errors.New("Invalid KNEO_SERV_API_KEYS entry. Expected 'name:key:role_or_scope[,role_or_scope]'.")
)

// New reads the settings. A malformed entry, an unknown role or scope, and authentication that is switched on without keys are errors whose
// text is meant for the operator.
func New(s Settings) (*Authenticator, error) {
	a := &Authenticator{}
	for entry := range strings.SplitSeq(s.APIKeys, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		r, err := parse(entry)
		if err != nil {
			return nil, err
		}
		a.records = append(a.records, r)
	}
	if s.AdminAPIKey != "" {
		if other := a.find([]byte(s.AdminAPIKey)); other != nil {
			a.warnings = append(a.warnings, fmt.Sprintf(
				"KNEO_SERV_ADMIN_API_KEY equals the key of %q in KNEO_SERV_API_KEYS; the scoped entry wins", other.principal.Name))
		}
		a.records = append(a.records, record{[]byte(s.AdminAPIKey), newPrincipal("admin", []string{"admin"}, nil)})
	}
	word := strings.ToLower(strings.TrimSpace(s.Enabled))
	switch {
	case word == "":
		a.enabled = len(a.records) > 0
	case truthy(word):
		a.enabled = true
	case len(a.records) > 0:
		a.warnings = append(a.warnings, "KNEO_SERV_AUTH_ENABLED is false: the configured API keys are ignored and every caller may do everything")
	}
	if a.enabled && len(a.records) == 0 {
		return nil, errNoKeys
	}
	return a, nil
}

// Enabled reports whether callers need a key.
func (a *Authenticator) Enabled() bool { return a.enabled }

// Warnings are lines for the log at start.
func (a *Authenticator) Warnings() []string { return a.warnings }

// Authenticate returns the principal of a token. When authentication is off every caller is anonymous and may do everything.
func (a *Authenticator) Authenticate(token string) (Principal, bool) {
	if !a.enabled {
		return Principal{Name: Anonymous, Roles: []string{Anonymous}, Scopes: []string{Wildcard}}, true
	}
	if r := a.find([]byte(token)); token != "" && r != nil {
		return r.principal, true
	}
	return Principal{}, false
}

// find compares with every record, so that the time does not tell which one is close.
func (a *Authenticator) find(token []byte) *record {
	var found *record
	for i := range a.records {
		if subtle.ConstantTimeCompare(a.records[i].key, token) == 1 && found == nil {
			found = &a.records[i]
		}
	}
	return found
}

// Token picks the token out of the two headers: a non-empty bearer credential wins, even a wrong one.
func Token(authorization, apiKey string) string {
	scheme, credentials, _ := strings.Cut(authorization, " ")
	if credentials = strings.TrimSpace(credentials); strings.EqualFold(scheme, "bearer") && credentials != "" {
		return credentials
	}
	return apiKey
}

func parse(entry string) (record, error) {
	parts := strings.SplitN(entry, ":", 3)
	if len(parts) < 3 {
		return record{}, errParts
	}
	name, key := strings.TrimSpace(parts[0]), strings.TrimSpace(parts[1])
	var hasRoles, hasScopes []string
	for token := range strings.SplitSeq(parts[2], ",") {
		token = strings.TrimSpace(token)
		_, isRole := roles[token]
		switch {
		case token == "":
		case isRole:
			hasRoles = append(hasRoles, token)
		case KnownScope(token):
			hasScopes = append(hasScopes, token)
		default:
			return record{}, fmt.Errorf("Invalid KNEO_SERV_API_KEYS entry for '%s': '%s' is neither a known role "+
				"(admin, operator, reviewer, service, viewer) nor a known scope. Check for a typo, or a stray ':' in the API key value "+
				"(':' is the field delimiter; keys must not contain it).", name, token)
		}
	}
	return record{[]byte(key), newPrincipal(name, hasRoles, hasScopes)}, nil
}

func newPrincipal(name string, hasRoles, hasScopes []string) Principal {
	all := slices.Clone(hasScopes)
	for _, role := range hasRoles {
		all = append(all, roles[role]...)
	}
	slices.Sort(all)
	return Principal{Name: name, Roles: hasRoles, Scopes: slices.Compact(all)}
}

func truthy(word string) bool { return slices.Contains([]string{"1", "true", "yes", "on"}, word) }

type contextKey struct{}

// NewContext returns a context that carries the principal.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the principal of the call; outside a call it is the zero value, which holds no scope.
func FromContext(ctx context.Context) Principal {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p
}

package llm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sort"
	"strings"
	"sync"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/secret"
)

// Endpoint says where a provider is and how to be let in.
type Endpoint struct {
	// Provider is the name in the spec.
	Provider string
	// BaseURL is empty for the provider's own service.
	BaseURL string
	// APIKey may be empty for servers that want none.
	APIKey string
}

// Factory opens a provider at an endpoint. It makes no network call.
type Factory func(Endpoint) (Provider, error)

// Definition is how a provider name is served; adding a provider is one package and one Definition.
type Definition struct {
	Open Factory
	// KeyFree providers need no key (a local server, the dummy).
	KeyFree bool
	// DefaultBaseURL replaces an empty base URL.
	DefaultBaseURL string
}

// Binding is what an agent's runtime block asks for.
type Binding struct {
	Provider string
	BaseURL  string
	// APIKeyRef names the variable with the key; InlineKey is the key itself. Both may be empty.
	APIKeyRef string
	InlineKey string
}

// Placeholder is the key sent to servers of a custom base URL when the spec names none.
const Placeholder = "kneo-local-llm"

// Registry opens providers by name and keeps their clients, so that connections are shared. It is safe for concurrent use.
type Registry struct {
	definitions map[string]Definition
	fallback    *Definition
	secrets     secret.Resolver
	forceDummy  bool
	requireKeys bool
	allowURL    func(url string) error

	mu   sync.Mutex
	open map[string]Provider
}

// RegistryOptions configure a registry.
type RegistryOptions struct {
	// Definitions by provider name; "dummy" must be there.
	Definitions map[string]Definition
	// Compatible serves any other provider name that has a base URL; nil refuses them.
	Compatible *Definition
	Secrets    secret.Resolver
	// ForceDummy binds every agent to the dummy (KNEO_SERV_FORCE_DUMMY_PROVIDER).
	ForceDummy bool
	// RequireKeys wants the provider's own variable to be set even for a custom base URL (KNEO_SERV_REQUIRE_PROVIDER_SECRETS).
	RequireKeys bool
	// AllowURL, when not nil, refuses base URLs that specs may not name (KNEO_SERV_OUTBOUND_HOSTS).
	AllowURL func(url string) error
}

// maxOpen bounds the clients that are kept; a spec can name any number of base URLs.
const maxOpen = 256

// NewRegistry returns a registry.
func NewRegistry(o RegistryOptions) *Registry {
	if o.Secrets == nil {
		o.Secrets = secret.Env{}
	}
	return &Registry{
		definitions: o.Definitions, fallback: o.Compatible, secrets: o.Secrets, forceDummy: o.ForceDummy,
		requireKeys: o.RequireKeys, allowURL: o.AllowURL, open: map[string]Provider{},
	}
}

// Names lists the providers that have a definition, sorted.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.definitions))
	for n := range r.definitions {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Bind returns the provider for b. A missing key is a missing_secret error that names the variable.
func (r *Registry) Bind(ctx context.Context, b Binding) (Provider, error) {
	name := strings.ToLower(strings.TrimSpace(b.Provider))
	if r.forceDummy || name == "" || name == "default" {
		name = Dummy
	}
	d, ok := r.definitions[name]
	if !ok {
		if r.fallback == nil || b.BaseURL == "" {
			return nil, problem.New(problem.SpecInvalid, "Provider '%s' is not known; give model.extra.base_url for an OpenAI-compatible server.", b.Provider)
		}
		d = *r.fallback
	}
	e := Endpoint{Provider: name, BaseURL: b.BaseURL}
	if name != Dummy && b.BaseURL != "" && r.allowURL != nil {
		if err := r.allowURL(b.BaseURL); err != nil {
			return nil, problem.Wrap(err, problem.SpecInvalid, "Provider '%s' may not be called: %v.", name, err)
		}
	}
	if name != Dummy {
		key, err := r.key(ctx, name, d, b)
		if err != nil {
			return nil, err
		}
		e.APIKey = key
	}
	if e.BaseURL == "" {
		e.BaseURL = d.DefaultBaseURL
	}
	return r.client(d, e)
}

// CheckKeys returns the missing_secret error that Bind would return, without opening anything.
func (r *Registry) CheckKeys(ctx context.Context, b Binding) error {
	_, err := r.Bind(ctx, b)
	return err
}

// key never sends the provider's own key to a base URL that the spec chose.
func (r *Registry) key(ctx context.Context, name string, d Definition, b Binding) (string, error) {
	purpose := "provider:" + name
	own := secret.ProviderVariable(name)
	if r.requireKeys && !d.KeyFree {
		if _, err := secret.Require(ctx, r.secrets, purpose, own); err != nil {
			return "", err
		}
	}
	switch {
	case b.APIKeyRef != "":
		return secret.Require(ctx, r.secrets, purpose, b.APIKeyRef)
	case b.InlineKey != "":
		return b.InlineKey, nil
	case b.BaseURL != "" || d.KeyFree:
		return Placeholder, nil
	}
	return secret.Require(ctx, r.secrets, purpose, own)
}

func (r *Registry) client(d Definition, e Endpoint) (Provider, error) {
	sum := sha256.Sum256([]byte(e.Provider + "\x00" + e.BaseURL + "\x00" + e.APIKey))
	id := hex.EncodeToString(sum[:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.open[id]; ok {
		return p, nil
	}
	p, err := d.Open(e)
	if err != nil {
		return nil, err
	}
	if len(r.open) >= maxOpen {
		clear(r.open)
	}
	r.open[id] = p
	return p, nil
}

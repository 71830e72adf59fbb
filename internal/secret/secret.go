// Package secret resolves references to secrets. A reference is the name of an environment variable; values are never logged, stored or put in an
// error. It imports problem.
package secret

import (
	"context"
	"os"
	"strings"

	"github.com/kneo-go/kneo/internal/problem"
)

// Resolver looks secrets up. It is safe for concurrent use.
type Resolver interface {
	// Lookup returns the value behind ref; a missing or empty one is reported as false. An error means that the source could not be asked.
	Lookup(ctx context.Context, ref string) (string, bool, error)
}

// Env resolves references against the process environment.
type Env struct{}

// Lookup reads the variable of exactly that name.
func (Env) Lookup(_ context.Context, ref string) (string, bool, error) {
	v, ok := os.LookupEnv(ref)
	v = strings.TrimSpace(v)
	return v, ok && v != "", nil
}

// Map is a fixed set of secrets, for tests and embedding.
type Map map[string]string

// Lookup reads the map.
func (m Map) Lookup(_ context.Context, ref string) (string, bool, error) {
	v := m[ref]
	return v, v != "", nil
}

// Require returns the value behind ref, or a missing_secret error that names purpose and ref.
func Require(ctx context.Context, r Resolver, purpose, ref string) (string, error) {
	v, ok, err := r.Lookup(ctx, ref)
	if err != nil {
		return "", problem.Wrap(err, problem.MissingSecret, "Required secret '%s' could not be read from %s.", purpose, ref)
	}
	if !ok {
		return "", Missing(purpose, ref)
	}
	return v, nil
}

// Missing returns the error for an absent secret; purpose is for example "provider:openai", ref the variable.
func Missing(purpose, ref string) *problem.Error {
	return problem.New(problem.MissingSecret, "Required secret '%s' is missing from %s.", purpose, ref)
}

// ProviderVariable names the environment variable that holds a provider's key.
func ProviderVariable(provider string) string {
	switch provider {
	case "openai", "openai-agents":
		return "OPENAI_API_KEY"
	case "google", "google-adk", "gemini":
		return "GOOGLE_API_KEY"
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(provider)) + "_API_KEY"
}

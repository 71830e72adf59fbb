package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kneo-go/kneo/internal/problem"
	"github.com/kneo-go/kneo/internal/spec"
)

// Signatures say which environments take signed bundles only, and how bundles are checked.
type Signatures struct {
	// Key verifies bundles; without one none is accepted.
	Key string
	// Environments take nothing but signed bundles.
	Environments []string
}

// CodeUnsigned is the code of the diagnostic that refuses an unsigned spec.
const CodeUnsigned = "E_ENV_POLICY_UNSIGNED"

// errNoSigningKey ends the start: nothing could ever run in the environments.
var errNoSigningKey = problem.New(problem.InvalidRequest, "KNEO_SERV_SIGNED_ENVIRONMENTS needs the key of the bundles in KNEO_SERV_SPEC_SIGNING_KEY.")

// unwrap replaces a bundle by the spec in it, once its signature holds and the environment is the approved one. It tells whether the spec, and all of it, is
// signed: layers are not covered by a signature.
func (s *Signatures) unwrap(in *spec.Inputs) (signed bool, err error) {
	if in.Base.Get("kind").Text() != spec.BundleKind {
		return false, nil
	}
	if s.Key == "" {
		return false, problem.New(problem.InvalidRequest, "Signing key environment variable is not set: KNEO_SERV_SPEC_SIGNING_KEY")
	}
	v, err := spec.Verify(in.Base.JSON(), []byte(s.Key))
	if err != nil {
		return false, err
	}
	if !v.Valid {
		return false, problem.New(problem.SpecInvalid, "The spec bundle is refused: %s", strings.Join(v.Errors, " "))
	}
	if approved := in.Base.At("metadata", "environment"); approved != nil && approved.Kind == spec.String && approved.Text() != in.Environment {
		return false, problem.New(problem.SpecInvalid, "The spec bundle is approved for environment '%s' only.", approved.Text())
	}
	in.Base = in.Base.Get("spec")
	return !in.Layered(), nil
}

// demand refuses an unsigned spec where the environment wants signed ones.
func (s *Signatures) demand(environment string, signed bool) error {
	if signed || !slices.Contains(s.Environments, environment) {
		return nil
	}
	return blocked(spec.Diagnostics{{
		Code: CodeUnsigned, Severity: spec.SeverityError,
		Message: fmt.Sprintf("Environment '%s' takes signed spec bundles only, without overlays, overrides or skill changes.", environment),
	}})
}

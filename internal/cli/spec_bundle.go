package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/internal/spec"
)

func (s *shell) specBundle() *cobra.Command {
	return group("bundle", "Sign specs and verify signed ones", "Sign specs, verify signed ones, and look into them.", s.bundleSign(), s.bundleVerify(), s.bundleInspect())
}

func (s *shell) signingKey(variable string) ([]byte, error) {
	key := s.env(variable)
	if key == "" {
		return nil, fmt.Errorf("Signing key environment variable is not set: %s", variable) //nolint:revive,staticcheck // the documented text
	}
	return []byte(key), nil
}

func (s *shell) bundleSign() *cobra.Command {
	var output, approvedBy, environment, variable string
	cmd := leaf("sign", "Sign a spec", []string{"SPEC"}, func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "output", "approved-by"); err != nil {
			return err
		}
		tree, err := s.input(args[0])
		if err != nil {
			return err
		}
		key, err := s.signingKey(variable)
		if err != nil {
			return err
		}
		bundle, digest, err := spec.Sign(tree, spec.Approval{ApprovedBy: approvedBy, Environment: environment, CreatedAt: time.Now(), KeyID: variable}, key)
		if err != nil {
			return err
		}
		if err := s.write(output, bundle); err != nil {
			return err
		}
		if !asJSON(cmd) {
			s.out.Success("Wrote signed spec bundle: " + output)
		}
		type signature struct {
			Algorithm string `json:"algorithm"`
			KeyID     string `json:"key_id"`
		}
		return s.value(struct {
			Output    string    `json:"output"`
			Digest    string    `json:"digest"`
			Signature signature `json:"signature"`
		}{output, digest, signature{"HMAC-SHA256", variable}})
	})
	fl := cmd.Flags()
	fl.StringVarP(&output, "output", "o", "", "File to write.")
	fl.StringVar(&approvedBy, "approved-by", "", "Who approves the spec.")
	fl.StringVar(&environment, "env", "", "Environment that the spec is approved for.")
	fl.StringVar(&variable, "key-env", defaultKey, "Variable that holds the key.")
	return jsonFlag(cmd)
}

func (s *shell) bundleVerify() *cobra.Command {
	var variable string
	cmd := leaf("verify", "Verify a signed spec", []string{"BUNDLE"}, func(cmd *cobra.Command, args []string) error {
		data, err := s.read(args[0])
		if err != nil {
			return err
		}
		key, err := s.signingKey(variable)
		if err != nil {
			return err
		}
		v, err := spec.Verify(data, key)
		if err != nil {
			return err
		}
		switch {
		case asJSON(cmd):
			if v.Errors == nil {
				v.Errors = []string{}
			}
			err = s.value(v)
		case v.Valid:
			s.out.Success("Spec bundle verified.")
		default:
			s.err.Fail(strings.Join(v.Errors, "; "))
		}
		if err == nil && !v.Valid {
			return verdict{}
		}
		return err
	})
	cmd.Flags().StringVar(&variable, "key-env", defaultKey, "Variable that holds the key.")
	return jsonFlag(cmd)
}

// bundleInspect shows what a bundle says of itself. Nothing of it is checked, so no key is needed.
func (s *shell) bundleInspect() *cobra.Command {
	var source bool
	cmd := leaf("inspect", "Show what a signed spec says of itself, unchecked", []string{"BUNDLE"}, func(cmd *cobra.Command, args []string) error {
		data, err := s.read(args[0])
		if err != nil {
			return err
		}
		b, err := spec.Inspect(data)
		switch {
		case err != nil:
			return err
		case source && asJSON(cmd):
			_, err = s.out.Write(append(b.Spec.JSON(), '\n'))
		case source:
			var text []byte
			if text, err = asYAML(b.Spec); err == nil {
				_, err = s.out.Write(text)
			}
		case asJSON(cmd):
			err = s.value(b)
		default:
			s.out.Panel("Signed spec, not verified", []string{
				"approved by  " + b.ApprovedBy, "environment  " + cmp.Or(b.Environment, "any"), "created at   " + b.CreatedAt, "digest       " + b.Digest,
				"signature    " + b.Algorithm + " with " + b.KeyID,
			})
		}
		return err
	})
	cmd.Flags().BoolVar(&source, "spec", false, "Print the spec inside instead.")
	return jsonFlag(cmd)
}

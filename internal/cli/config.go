package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/redact"
)

func newConfig(s *shell) *cobra.Command {
	return group("config", "Look at the project config and the service profiles", "Look at the project config and the service profiles.",
		s.configShow(), s.configInit(), s.configResolve(), s.configSecrets(), s.configRenderSpec(), s.configProfile())
}

func (s *shell) configShow() *cobra.Command {
	return jsonFlag(leaf("show", "Show the project config with its defaults", nil, func(cmd *cobra.Command, _ []string) error {
		p, err := s.project()
		if err != nil {
			return err
		}
		if !p.Has() {
			s.out.Warn("No Kneo project config found.")
			return nil
		}
		if !asJSON(cmd) {
			s.out.Success("Loaded config: " + p.ConfigPath)
		}
		return s.redacted(p.Config)
	}))
}

// configFile is where init writes.
const configFile = ".kneo/config.yaml"

func (s *shell) configInit() *cobra.Command {
	var name string
	var force bool
	cmd := leaf("init", "Write a project config to begin with", nil, func(*cobra.Command, []string) error {
		path := s.here(filepath.FromSlash(configFile))
		if _, err := os.Stat(path); err == nil && !force {
			s.out.Warn(configFile + " already exists. Use --force to overwrite.")
			return verdict{}
		}
		for _, folder := range []string{"artifacts", "logs", "cache"} {
			if err := os.MkdirAll(filepath.Join(filepath.Dir(path), folder), folderMode); err != nil {
				return err
			}
		}
		quoted, err := encode(name)
		if err != nil {
			return err
		}
		if err := s.write(path, fmt.Appendf(nil, project.Template, quoted)); err != nil {
			return err
		}
		s.out.Success("Created " + configFile)
		return nil
	})
	cmd.Flags().StringVar(&name, "name", "kneo-serv-project", "Name of the project.")
	cmd.Flags().BoolVar(&force, "force", false, "Overwrite the config.")
	return cmd
}

// resolved is the answer of `config resolve`.
type resolved struct {
	RootDir      string         `json:"root_dir"`
	ConfigPath   *string        `json:"config_path"`
	Environment  string         `json:"environment"`
	SpecPath     *string        `json:"spec_path"`
	OverlayPaths []string       `json:"overlay_paths"`
	StatePath    string         `json:"state_path"`
	ArtifactPath string         `json:"artifact_path"`
	LogPath      string         `json:"log_path"`
	CachePath    string         `json:"cache_path"`
	ServiceURL   *string        `json:"service_url"`
	HasConfig    bool           `json:"has_config"`
	Secrets      map[string]any `json:"secrets"`
}

func (s *shell) configResolve() *cobra.Command {
	var environment, path string
	cmd := leaf("resolve", "Show what the project config comes to", nil, func(cmd *cobra.Command, _ []string) error {
		p, err := s.project()
		if err != nil {
			return err
		}
		if err := p.Prepare(); err != nil {
			return err
		}
		r := resolved{RootDir: p.Root, ConfigPath: optional(p.ConfigPath), Environment: p.Environment(environment), HasConfig: p.Has(), ServiceURL: p.Config.Service.DefaultURL}
		switch found, err := p.SpecPath(path); {
		case err == nil:
			r.SpecPath = &found
		case !errors.Is(err, project.ErrNoSpec):
			return err
		}
		l := p.Config.Local
		r.OverlayPaths = p.Overlays(r.Environment)
		r.StatePath, r.ArtifactPath, r.LogPath, r.CachePath = p.Path(l.StatePath), p.Path(l.ArtifactPath), p.Path(l.LogPath), p.Path(l.CachePath)
		r.Secrets = map[string]any{}
		if !asJSON(cmd) {
			s.out.Success("Resolved project context.")
		}
		return s.redacted(r)
	})
	cmd.Flags().StringVar(&environment, "env", "", "Environment.")
	cmd.Flags().StringVar(&path, "spec", "", "Spec; the project's default by default.")
	return jsonFlag(cmd)
}

// reference is one secret of `config secrets`; its value is never shown.
type reference struct {
	Name    string  `json:"name"`
	EnvVar  string  `json:"env_var"`
	Present bool    `json:"present"`
	Value   *string `json:"value"`
}

// references are the sections of `config secrets`.
type references struct {
	Providers     project.Map[reference] `json:"providers"`
	Extra         project.Map[reference] `json:"extra"`
	ServiceTokens project.Map[reference] `json:"service_tokens"`
}

// builtinProviders are shown when the config names none.
var builtinProviders = [][2]string{
	{"openai", "OPENAI_API_KEY"},
	{"openai-agents", "OPENAI_API_KEY"},
	{"anthropic", "ANTHROPIC_API_KEY"},
	{"google", "GOOGLE_API_KEY"},
	{"google-adk", "GOOGLE_API_KEY"},
}

func (s *shell) configSecrets() *cobra.Command {
	var environment string
	cmd := leaf("secrets", "Show which secrets the project refers to, never their values", nil, func(cmd *cobra.Command, _ []string) error {
		p, err := s.project()
		if err != nil {
			return err
		}
		var out references
		for name, variable := range p.Config.Secrets.ProviderEnv.All() {
			out.Providers.Set(name, s.reference("provider:"+name, variable))
		}
		if out.Providers.Len() == 0 {
			for _, b := range builtinProviders {
				out.Providers.Set(b[0], s.reference("provider:"+b[0], b[1]))
			}
		}
		for name, variable := range p.Config.Secrets.ExtraEnv.All() {
			out.Extra.Set(name, s.reference("extra:"+name, variable))
		}
		for _, variable := range []string{"KNEO_SERV_API_KEY", "KNEO_SERV_API_KEYS", "KNEO_SERV_ADMIN_API_KEY"} {
			out.ServiceTokens.Set(variable, s.reference("service:"+variable, variable))
		}
		if !asJSON(cmd) {
			s.out.Success("Resolved secret references.")
		}
		return s.redacted(out)
	})
	cmd.Flags().StringVar(&environment, "env", "", "Environment.")
	return jsonFlag(cmd)
}

func (s *shell) reference(name, variable string) reference {
	r := reference{Name: name, EnvVar: variable, Present: s.env(variable) != ""}
	if r.Present {
		hidden := redact.Mask
		r.Value = &hidden
	}
	return r
}

func (s *shell) configRenderSpec() *cobra.Command {
	var output, environment, path string
	cmd := leaf("render-spec", "Write a spec with the layers and defaults of its project", nil, func(cmd *cobra.Command, _ []string) error {
		if err := need(cmd, "output"); err != nil {
			return err
		}
		e, err := s.resolve(path, environment)
		if err != nil {
			return err
		}
		if err := e.Enforced(); err != nil {
			return err
		}
		if err := s.loaded.Prepare(); err != nil {
			return err
		}
		if err := s.writeSpec(output, e.Tree); err != nil {
			return err
		}
		s.out.Success("Wrote resolved spec: " + s.here(output))
		return nil
	})
	cmd.Flags().StringVarP(&output, "output", "o", "", "File to write.")
	cmd.Flags().StringVar(&environment, "env", "", "Environment.")
	cmd.Flags().StringVar(&path, "spec", "", "Spec; the project's default by default.")
	return cmd
}

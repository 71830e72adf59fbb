// Package project reads the config of a project and resolves specs by it: where the project is, which environment applies, which layers and
// defaults a spec gets, and whether the environment's rules let it pass. It imports internal/spec and internal/policy.
package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kneo-go/kneo/internal/spec"
)

const (
	// EnvConfig names the variable with the path of the config.
	EnvConfig = "KNEO_PROJECT_CONFIG"
	// EnvEnvironment names the variable with the environment.
	EnvEnvironment = "KNEO_ENV"
	// DefaultEnvironment applies when nothing else is said.
	DefaultEnvironment = "dev"
)

// names are the files that make a folder a project, in the order in which they are tried.
var names = []string{filepath.Join(".kneo", "config.yaml"), filepath.Join(".kneo", "config.yml"), "kneo_serv.yaml", "kneo_serv.yml"}

// Env looks a variable up.
type Env func(name string) (string, bool)

// Project is a folder with its config, or the working folder with all defaults.
type Project struct {
	// Root is the absolute folder that relative paths start at.
	Root string
	// Dir is the absolute working folder, where typed paths are tried first.
	Dir string
	// ConfigPath is the absolute path of the config, empty when there is none.
	ConfigPath string
	Config     Config

	env Env
}

// Has tells whether there is a config.
func (p *Project) Has() bool { return p.ConfigPath != "" }

// Load finds and reads the project of a working folder.
func Load(dir string, env Env) (*Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p := &Project{Root: dir, Dir: dir, Config: defaults(), env: env}
	path, err := find(dir, env)
	if err != nil || path == "" {
		return p, err
	}
	p.ConfigPath = path
	p.Root = filepath.Dir(path)
	if filepath.Base(p.Root) == ".kneo" {
		p.Root = filepath.Dir(p.Root)
	}
	p.Config, err = read(path)
	return p, err
}

func find(dir string, env Env) (string, error) {
	if given, ok := env(EnvConfig); ok && given != "" {
		path := absolute(dir, given)
		if !isFile(path) {
			return "", fmt.Errorf("%s points to missing file: %s", EnvConfig, path)
		}
		return path, nil
	}
	for {
		for _, name := range names {
			if path := filepath.Join(dir, name); isFile(path) {
				return path, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", nil
		}
		dir = parent
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func absolute(dir, path string) string {
	if rest, home := strings.CutPrefix(path, "~/"); home {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func read(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	root, _, err := spec.Parse(path, data, spec.Limits{})
	if err != nil {
		return Config{}, fmt.Errorf("Invalid project config %s: %w", path, err) //nolint:revive,staticcheck // the documented text
	}
	if !root.IsMapping() {
		return Config{}, fmt.Errorf("YAML root must be an object: %s", path) //nolint:revive,staticcheck // the documented text
	}
	c, problems := decode(root)
	if len(problems) > 0 {
		return Config{}, fmt.Errorf("Invalid project config %s: %s", path, strings.Join(problems, "; ")) //nolint:revive,staticcheck // the documented text
	}
	return c, nil
}

// Environment returns the environment for what the command line says.
func (p *Project) Environment(flag string) string {
	if flag != "" {
		return flag
	}
	if v, ok := p.env(EnvEnvironment); ok && v != "" {
		return v
	}
	if p.Config.Project.DefaultEnvironment != "" {
		return p.Config.Project.DefaultEnvironment
	}
	return DefaultEnvironment
}

// Path returns the absolute path of something the config names.
func (p *Project) Path(name string) string { return absolute(p.Root, name) }

// ErrNoSpec says that neither the command line nor the config names a spec.
var ErrNoSpec = errors.New("No spec_path provided and no default_spec configured.") //nolint:revive,staticcheck // the documented text

// SpecPath returns the absolute path of a spec: as typed from the working folder when that exists, else from the project root; without one, the
// default of the config.
func (p *Project) SpecPath(typed string) (string, error) {
	if typed == "" {
		if p.Config.Specs.DefaultSpec == nil || *p.Config.Specs.DefaultSpec == "" {
			return "", ErrNoSpec
		}
		return p.Path(*p.Config.Specs.DefaultSpec), nil
	}
	if here := absolute(p.Dir, typed); exists(here) {
		return here, nil
	}
	return p.Path(typed), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Overlays returns the absolute paths of the overlays of an environment, in order.
func (p *Project) Overlays(environment string) []string {
	paths, _ := p.Config.Specs.Overlays.Get(environment)
	out := make([]string, 0, len(paths))
	for _, path := range paths {
		out = append(out, p.Path(path))
	}
	return out
}

const folderMode = 0o750

// Prepare creates the local folders, unless the config says not to.
func (p *Project) Prepare() error {
	l := p.Config.Local
	if !l.CreateMissingDirs {
		return nil
	}
	for _, folder := range []string{filepath.Dir(p.Path(l.StatePath)), p.Path(l.ArtifactPath), p.Path(l.LogPath), p.Path(l.CachePath)} {
		if err := os.MkdirAll(folder, folderMode); err != nil {
			return err
		}
	}
	return nil
}

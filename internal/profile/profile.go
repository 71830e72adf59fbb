// Package profile keeps the service profiles of a person: names for a service's address and key, one of them active. The file holds keys, so it
// is readable by its owner only. It imports only the standard library.
package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// EnvPath names the variable that holds the path of the file.
const EnvPath = "KNEO_SERV_PROFILES_PATH"

// Profile is one service.
type Profile struct {
	Name       string
	ServiceURL string
	// APIKey is empty when the service needs none.
	APIKey string
}

// Profiles is the content of the file.
type Profiles struct {
	path    string
	active  string
	entries map[string]entry
}

type entry struct {
	APIKey     *string `json:"api_key"`
	ServiceURL string  `json:"service_url"`
}

type document struct {
	Active   *string          `json:"active"`
	Profiles map[string]entry `json:"profiles"`
}

// UnknownError says that no profile has the name; an empty name means that none is active.
type UnknownError struct{ Name string }

// Error returns the text for people.
func (e *UnknownError) Error() string {
	if e.Name == "" {
		return "No service profile selected."
	}
	return "Unknown service profile: " + e.Name
}

// Path returns the path of the file for an environment.
func Path(env func(string) (string, bool)) (string, error) {
	if p, ok := env(EnvPath); ok && p != "" {
		return expand(p, env)
	}
	return expand(filepath.Join("~", ".kneo_serv", "profiles.json"), env)
}

func expand(path string, env func(string) (string, bool)) (string, error) {
	rest, home := strings.CutPrefix(path, "~"+string(filepath.Separator))
	if !home {
		return path, nil
	}
	dir, ok := env("HOME")
	if !ok || dir == "" {
		var err error
		if dir, err = os.UserHomeDir(); err != nil {
			return "", fmt.Errorf("no home folder for the profiles file; set %s: %w", EnvPath, err)
		}
	}
	return filepath.Join(dir, rest), nil
}

// Load reads the file; a missing one is empty.
func Load(path string) (*Profiles, error) {
	p := &Profiles{path: path, entries: map[string]entry{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("the profiles file %s is not valid: %w", path, err)
	}
	if d.Profiles != nil {
		p.entries = d.Profiles
	}
	if d.Active != nil {
		p.active = *d.Active
	}
	return p, nil
}

// Path returns where the profiles are kept.
func (p *Profiles) Path() string { return p.path }

// Active returns the name of the active profile, or "".
func (p *Profiles) Active() string { return p.active }

// List returns all profiles by name.
func (p *Profiles) List() []Profile {
	var out []Profile
	for _, name := range slices.Sorted(maps.Keys(p.entries)) {
		out = append(out, p.profile(name))
	}
	return out
}

func (p *Profiles) profile(name string) Profile {
	e := p.entries[name]
	out := Profile{Name: name, ServiceURL: e.ServiceURL}
	if e.APIKey != nil {
		out.APIKey = *e.APIKey
	}
	return out
}

// Get returns a profile; an empty name means the active one.
func (p *Profiles) Get(name string) (Profile, error) {
	if name == "" {
		name = p.active
	}
	if _, ok := p.entries[name]; !ok {
		return Profile{}, &UnknownError{Name: name}
	}
	return p.profile(name), nil
}

// Set adds or replaces a profile and returns it as stored.
func (p *Profiles) Set(in Profile, activate bool) Profile {
	e := entry{ServiceURL: strings.TrimRight(in.ServiceURL, "/")}
	if in.APIKey != "" {
		e.APIKey = &in.APIKey
	}
	p.entries[in.Name] = e
	if activate {
		p.active = in.Name
	}
	return p.profile(in.Name)
}

// Use makes a profile the active one.
func (p *Profiles) Use(name string) (Profile, error) {
	out, err := p.Get(name)
	if err != nil || name == "" {
		return Profile{}, &UnknownError{Name: name}
	}
	p.active = name
	return out, nil
}

// Delete removes a profile, which need not exist.
func (p *Profiles) Delete(name string) {
	delete(p.entries, name)
	if p.active == name {
		p.active = ""
	}
}

const (
	fileMode   fs.FileMode = 0o600
	folderMode fs.FileMode = 0o700
)

// Save writes the file as a whole, readable by its owner only.
func (p *Profiles) Save() error {
	d := document{Profiles: p.entries}
	if p.active != "" {
		d.Active = &p.active
	}
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	folder := filepath.Dir(p.path)
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".profiles-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Chmod(fileMode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), p.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

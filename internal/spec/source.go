package spec

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kneo-go/kneo/internal/problem"
)

// Labels that confinement errors name.
const (
	LabelSpecPath    = "spec_path"
	LabelOverlay     = "overlay path"
	LabelSkillSource = "skill source"
	LabelSkillFile   = "skill bundle file"
)

// Resolver reads files below one root. Relative paths start at the root;
// nothing outside of it is ever opened, whatever links point there.
type Resolver struct {
	root   string
	limits Limits
}

// NewResolver confines to root; a blank root is the working directory, and a
// leading ~ is the home directory. The root need not exist yet.
func NewResolver(root string, limits Limits) (*Resolver, error) {
	if strings.TrimSpace(root) == "" {
		root = "."
	}
	if root == "~" || strings.HasPrefix(root, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, problem.Wrap(err, problem.InvalidRequest, "The home directory of the spec root is unknown.")
		}
		root = home + root[1:]
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, problem.Wrap(err, problem.InvalidRequest, "The spec root cannot be resolved.")
	}
	return &Resolver{root: resolveLinks(abs), limits: limits.withDefaults()}, nil
}

// Root returns the absolute root without links.
func (r *Resolver) Root() string { return r.root }

// resolveLinks follows the links of the longest part that exists and keeps the
// rest as it is.
func resolveLinks(path string) string {
	rest := ""
	for dir := path; ; {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
		dir = parent
	}
}

func confined(label string) error {
	return problem.New(problem.SpecPathConfined, "%s resolves outside the configured spec root.", label)
}

func unreadable(cause error) error {
	return problem.Wrap(cause, problem.InvalidRequest, "A referenced file could not be read.")
}

// Resolve returns the absolute, link-free path of a file or folder below the
// root. It need not exist.
func (r *Resolver) Resolve(path, label string) (string, error) {
	if strings.IndexByte(path, 0) >= 0 {
		return "", unreadable(errors.New("path with a zero byte"))
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.root, path)
	}
	full := resolveLinks(filepath.Clean(path))
	if rel, err := filepath.Rel(r.root, full); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", confined(label)
	}
	return full, nil
}

// read returns the bytes of a regular file. The check and the opening go
// through the root's handle, so a link swapped in between does not help.
func (r *Resolver) read(full, label string) (data []byte, err error) {
	rel, err := filepath.Rel(r.root, full)
	if err != nil {
		return nil, confined(label)
	}
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	info, err := root.Lstat(rel)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(errors.New("not a regular file"))
	}
	f, err := root.Open(rel)
	if err != nil {
		return nil, unreadable(err)
	}
	data, err = io.ReadAll(io.LimitReader(f, int64(r.limits.Bytes)+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, unreadable(err)
	}
	return data, nil
}

// ParseFile reads a text by the suffix of its name: JSON for .json in any
// case, else YAML. Unreadable text is a spec_invalid problem with a diagnostic.
func ParseFile(name string, data []byte, limits Limits) (*Node, Diagnostics, error) {
	parse := Parse
	if strings.EqualFold(filepath.Ext(name), ".json") {
		parse = ParseJSON
	}
	node, found, err := parse(name, data, limits)
	if err != nil {
		return nil, nil, AsProblem(err)
	}
	return node, found, nil
}

// AsProblem turns a *SyntaxError into a spec_invalid problem that carries its
// diagnostic; other errors stay as they are.
func AsProblem(err error) error {
	var syntax *SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	return problem.Wrap(err, problem.SpecInvalid, "%s", syntax.Error()).With("diagnostics", Diagnostics{syntax.Diagnostic()})
}

// Load reads one spec or overlay file; label is LabelSpecPath or LabelOverlay.
func (r *Resolver) Load(path, label string) (*Node, Diagnostics, error) {
	full, err := r.Resolve(path, label)
	if err != nil {
		return nil, nil, err
	}
	data, err := r.read(full, label)
	if err != nil {
		return nil, nil, err
	}
	name, err := filepath.Rel(r.root, full)
	if err != nil {
		name = filepath.Base(full)
	}
	node, found, err := ParseFile(name, data, r.limits)
	if err != nil {
		return nil, nil, err
	}
	if err := requireMapping(node); err != nil {
		return nil, nil, err
	}
	return node, found, nil
}

// Request names what a document is made of. An inline Spec wins over SpecPath,
// whose file is then not read.
type Request struct {
	Spec          *Node
	SpecPath      string
	Overlays      []string
	Overrides     *Node
	Environment   string
	SkillsOverlay SkillsOverlay
}

// Inputs reads the files of a request.
func (r *Resolver) Inputs(req Request) (Inputs, error) {
	in := Inputs{Base: req.Spec, Overrides: req.Overrides, Environment: req.Environment, SkillsOverlay: req.SkillsOverlay}
	if in.Base == nil {
		if req.SpecPath == "" {
			return in, problem.New(problem.InvalidRequest, "Either spec_path or spec must be provided.")
		}
		node, found, err := r.Load(req.SpecPath, LabelSpecPath)
		if err != nil {
			return in, err
		}
		in.Base, in.Found = node, found
	}
	for _, path := range req.Overlays {
		node, found, err := r.Load(path, LabelOverlay)
		if err != nil {
			return in, err
		}
		in.Overlays = append(in.Overlays, node)
		in.Found = append(in.Found, found...)
	}
	return in, nil
}

package spec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kneo-go/kneo/internal/problem"
)

// LoadedSkill is a skill bundle as read from disk, and as frozen with a run.
type LoadedSkill struct {
	// Name is the name of the bundle: its frontmatter's, else the declared one.
	Name string
	// Source is the absolute path of the bundle.
	Source       string
	Instructions string
	// Metadata is the frontmatter, or the loose metadata file, as a mapping.
	Metadata *Node
	// Tools is the list of the tools that the bundle describes.
	Tools *Node
	// Resources are further files, relative to the bundle.
	Resources []string
	// SystemFragment wraps the instructions for runtimes that take them as text.
	SystemFragment string
	// Strict says that the bundle has a valid frontmatter; Details then holds
	// description, defaults, extra, tags, license, compatibility, allowed_tools
	// and metadata as far as they are given.
	Strict  bool
	Details *Node
}

// Defaults returns the run defaults that the bundle sets, or nil.
func (s *LoadedSkill) Defaults() *Node { return s.Details.Get("defaults") }

// maxSkillEntries bounds the files of one bundle.
const maxSkillEntries = 2000

// LoadSkills reads all declared skills of a document, selected or not.
func (r *Resolver) LoadSkills(d *Document) (OrderedMap[*LoadedSkill], error) {
	var out OrderedMap[*LoadedSkill]
	for name, s := range d.Skills.All() {
		loaded, err := r.LoadSkill(name, s.Source)
		if err != nil {
			return out, err
		}
		out.Set(name, loaded)
	}
	return out, nil
}

// LoadSkill reads one bundle: a folder or a file with a valid frontmatter, else
// a plain file, else a folder with loose files.
func (r *Resolver) LoadSkill(name, source string) (*LoadedSkill, error) {
	full, err := r.Resolve(source, LabelSkillSource)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(full)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		return r.fileSkill(name, full)
	}
	files, err := r.bundleFiles(full)
	if err != nil {
		return nil, err
	}
	if slices.Contains(files, "SKILL.md") {
		data, err := r.read(filepath.Join(full, "SKILL.md"), LabelSkillFile)
		if err != nil {
			return nil, err
		}
		if front, body, ok := frontmatter(data, filepath.Base(full)); ok {
			return strictSkill(full, full, front, body, files), nil
		}
	}
	return r.looseSkill(name, full, files)
}

func (r *Resolver) fileSkill(name, full string) (*LoadedSkill, error) {
	data, err := r.read(full, LabelSkillFile)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, unreadable(errors.New("skill is not UTF-8"))
	}
	dir := filepath.Dir(full)
	if front, body, ok := frontmatter(data, filepath.Base(dir)); ok {
		files, err := r.bundleFiles(dir)
		if err != nil {
			return nil, err
		}
		return strictSkill(full, dir, front, body, files), nil
	}
	s := &LoadedSkill{Name: name, Source: full, Instructions: string(data), Metadata: NewMapping(), Tools: NewSequence()}
	s.SystemFragment = fragment(s, "")
	return s, nil
}

// bundleFiles lists the regular files of a folder, relative and sorted. Every
// entry, through links as well, must lie below the root.
func (r *Resolver) bundleFiles(dir string) ([]string, error) {
	var out []string
	visited := map[string]bool{}
	entries := 0
	var walk func(real, rel string) error
	walk = func(real, rel string) error {
		if visited[real] {
			return nil
		}
		visited[real] = true
		list, err := os.ReadDir(real)
		if err != nil {
			return unreadable(err)
		}
		for _, e := range list {
			if entries++; entries > maxSkillEntries {
				return problem.New(problem.InvalidRequest, "A skill bundle has more than %d files.", maxSkillEntries)
			}
			full, err := r.Resolve(filepath.Join(real, e.Name()), LabelSkillFile)
			if err != nil {
				return err
			}
			info, err := os.Stat(full)
			below := filepath.Join(rel, e.Name())
			switch {
			case err != nil:
				continue
			case info.IsDir():
				if err := walk(full, below); err != nil {
					return err
				}
			case info.Mode().IsRegular():
				out = append(out, filepath.ToSlash(below))
			}
		}
		return nil
	}
	if err := walk(dir, ""); err != nil {
		return nil, err
	}
	slices.Sort(out)
	return out, nil
}

var skillName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// frontmatter reads the strict form; ok is false when any rule is broken.
func frontmatter(data []byte, folder string) (front *Node, body string, ok bool) {
	text := string(data)
	if !utf8.ValidString(text) || !strings.HasPrefix(text, "---\n") {
		return nil, "", false
	}
	head, body, found := strings.Cut(text[4:], "\n---\n")
	if !found {
		return nil, "", false
	}
	front, _, err := Parse("SKILL.md", []byte(head), Limits{})
	if err != nil || !front.IsMapping() {
		return nil, "", false
	}
	name, description := front.Get("name").Text(), front.Get("description").Text()
	if !skillName.MatchString(name) || len(name) > 64 || name != folder ||
		strings.TrimSpace(description) == "" || utf8.RuneCountInString(description) > 1024 || !validFront(front) {
		return nil, "", false
	}
	return front, strings.TrimSpace(body), true
}

func validFront(front *Node) bool {
	for key, kind := range map[string]Kind{
		"defaults": Mapping, "extra": Mapping, "metadata": Mapping, "tags": Sequence, "tools": Sequence,
		"allowed-tools": String, "license": String, "compatibility": String,
	} {
		if v := front.Get(key); v != nil && v.Kind != Null && v.Kind != kind {
			return false
		}
	}
	if tools := front.Get("tools"); tools != nil {
		for _, t := range tools.Items {
			if t.Get("name").Text() == "" || t.Get("description").Text() == "" || !t.Get("parameters").IsMapping() {
				return false
			}
		}
	}
	return true
}

func strictSkill(source, dir string, front *Node, body string, files []string) *LoadedSkill {
	s := &LoadedSkill{
		Name: front.Get("name").Text(), Source: source, Instructions: body, Strict: true,
		Metadata: front, Tools: front.Get("tools"), Details: NewMapping(),
	}
	if s.Tools.IsNull() {
		s.Tools = NewSequence()
	}
	for _, key := range [...][2]string{
		{"description", "description"},
		{"defaults", "defaults"},
		{"extra", "extra"},
		{"tags", "tags"},
		{"license", "license"},
		{"compatibility", "compatibility"},
		{"allowed-tools", "allowed_tools"},
		{"metadata", "metadata"},
	} {
		if v := front.Get(key[0]); !v.IsNull() {
			s.Details = s.Details.With(key[1], v)
		}
	}
	for _, folder := range [...]string{"references/", "scripts/", "assets/"} {
		for _, f := range files {
			if strings.HasPrefix(f, folder) {
				s.Resources = append(s.Resources, f)
			}
		}
	}
	s.SystemFragment = fragment(s, dir)
	return s
}

func (r *Resolver) looseSkill(name, dir string, files []string) (*LoadedSkill, error) {
	s := &LoadedSkill{Name: name, Source: dir, Metadata: NewMapping(), Tools: NewSequence(), Details: NewMapping()}
	used := map[string]bool{}
	if f := firstPresent(files, "SKILL.md", "skill.md", "README.md"); f != "" {
		data, err := r.read(filepath.Join(dir, f), LabelSkillFile)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(data) {
			return nil, unreadable(errors.New("skill is not UTF-8"))
		}
		s.Instructions, used[f] = string(data), true
	}
	if f := firstPresent(files, "skill.yaml", "skill.yml", "skill.json"); f != "" {
		data, err := r.read(filepath.Join(dir, f), LabelSkillFile)
		if err != nil {
			return nil, err
		}
		meta, _, err := Parse(name+"/"+f, data, r.limits)
		if err != nil {
			return nil, AsProblem(err)
		}
		if meta.IsMapping() {
			s.Metadata = meta
		}
		used[f] = true
	}
	s.useMetadata()
	for _, f := range files {
		if !used[f] {
			s.Resources = append(s.Resources, f)
		}
	}
	s.SystemFragment = fragment(s, dir)
	return s, nil
}

func (s *LoadedSkill) useMetadata() {
	if name := s.Metadata.Get("name").Text(); name != "" {
		s.Name = name
	}
	if tools := s.Metadata.Get("tools"); tools != nil && tools.Kind == Sequence {
		s.Tools = tools
	}
	for _, key := range [...]string{"description", "defaults", "extra", "tags", "metadata"} {
		if v := s.Metadata.Get(key); !v.IsNull() {
			s.Details = s.Details.With(key, v)
		}
	}
}

func firstPresent(files []string, names ...string) string {
	for _, n := range names {
		if slices.Contains(files, n) {
			return n
		}
	}
	return ""
}

func fragment(s *LoadedSkill, dir string) string {
	lines := []string{`<skill_content name="` + s.Name + `">`, s.Instructions}
	if dir != "" {
		lines = append(lines, "", "Skill directory: "+dir, "Relative paths in this skill are relative to the skill directory.")
	}
	if len(s.Resources) > 0 {
		lines = append(lines, "", "<skill_resources>")
		for _, f := range s.Resources {
			lines = append(lines, "  <file>"+f+"</file>")
		}
		lines = append(lines, "</skill_resources>")
	}
	return strings.TrimSpace(strings.Join(append(lines, "</skill_content>"), "\n"))
}

// ReadFrontmatter returns name and description of a SKILL.md in strict form.
func ReadFrontmatter(path string) (name, description string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	limit := Limits{}.withDefaults().Bytes
	if !info.Mode().IsRegular() || info.Size() > int64(limit) {
		return "", "", fs.ErrInvalid
	}
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return "", "", err
	}
	front, _, ok := frontmatter(data, filepath.Base(filepath.Dir(path)))
	if !ok {
		return "", "", fs.ErrInvalid
	}
	return front.Get("name").Text(), front.Get("description").Text(), nil
}

package service

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// skillDepth is how many folders below a scanned one may hold a skill.
const skillDepth = 4

// Skill is one installed bundle. Path is relative to the folder whose skills are listed.
type Skill struct{ Name, Description, Path string }

// SkillReader reads the frontmatter of a SKILL.md; an error means that the file is no skill.
type SkillReader func(path string) (name, description string, err error)

// Skills lists the bundles installed beside the server.
type Skills struct {
	roots []string
	read  SkillReader
	log   *slog.Logger
}

// NewSkills returns the catalog of the working directory and the home directory; a later root hides equal names of an earlier one.
func NewSkills(read SkillReader, log *slog.Logger) *Skills {
	s := &Skills{read: read, log: log}
	for _, dir := range []func() (string, error){os.Getwd, os.UserHomeDir} {
		if root, err := dir(); err == nil && root != "" {
			s.roots = append(s.roots, root)
		}
	}
	return s
}

// List returns one page of skills.
func (s *Skills) List(ctx context.Context, p Page) (Listing[Skill], error) {
	found := map[string]int{}
	var all []Skill
	for _, root := range s.roots {
		for _, dir := range []string{".agents/skills", ".claude/skills"} {
			for _, skill := range s.scan(ctx, root, dir) {
				if i, ok := found[skill.Name]; ok {
					all[i] = skill
					continue
				}
				found[skill.Name] = len(all)
				all = append(all, skill)
			}
		}
	}
	sortItems(all, p, func(k *Skill) json.RawMessage {
		var o object
		o.text("name", k.Name)
		o.text("description", k.Description)
		o.text("path", k.Path)
		return o.bytes()
	})
	return Listing[Skill]{Items: cut(all, p), Total: int64(len(all))}, nil
}

func (s *Skills) scan(ctx context.Context, root, dir string) []Skill {
	var out []Skill
	base := filepath.Join(root, filepath.FromSlash(dir))
	_ = filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		rel, _ := filepath.Rel(base, path)
		if d.IsDir() {
			switch d.Name() {
			case ".git", "node_modules", "__pycache__":
				return fs.SkipDir
			}
			if rel != "." && strings.Count(rel, string(filepath.Separator))+1 > skillDepth {
				return fs.SkipDir
			}
			return nil
		}
		if d.Name() != "SKILL.md" {
			return nil
		}
		name, description, err := s.read(path)
		if err != nil {
			s.log.WarnContext(ctx, "skill skipped", "path", path, "error", err)
			return nil
		}
		shown, err := filepath.Rel(root, filepath.Dir(path))
		if err == nil {
			out = append(out, Skill{Name: name, Description: description, Path: filepath.ToSlash(shown)})
		}
		return nil
	})
	return out
}

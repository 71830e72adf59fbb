package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/spec"
)

// fileCheck is the result for one of several files.
type fileCheck struct {
	Path        string           `json:"path"`
	Valid       bool             `json:"valid"`
	Diagnostics spec.Diagnostics `json:"diagnostics"`
}

func (s *shell) specValidate() *cobra.Command {
	return s.checkCommand("validate", "Check specs", s.showValid, func(c checked) any {
		return struct {
			Valid       bool             `json:"valid"`
			Diagnostics spec.Diagnostics `json:"diagnostics"`
		}{c.valid, c.found}
	}, func(c checked) bool { return c.valid })
}

func (s *shell) specLint() *cobra.Command {
	return s.checkCommand("lint", "Check specs; warnings count", s.showLint, func(c checked) any {
		warnings, errs := counts(c.found)
		return struct {
			Clean       bool             `json:"clean"`
			Warnings    int              `json:"warning_count"`
			Errors      int              `json:"error_count"`
			Diagnostics spec.Diagnostics `json:"diagnostics"`
		}{warnings+errs == 0, warnings, errs, serious(c.found)}
	}, func(c checked) bool { return len(serious(c.found)) == 0 })
}

// checkCommand is validate or lint: one spec, several files, whole folders, or standard input.
func (s *shell) checkCommand(use, short string, show func(checked), one func(checked) any, good func(checked) bool) *cobra.Command {
	var f specFlags
	cmd := leaf(use, short, []string{"[SPEC...]"}, func(cmd *cobra.Command, args []string) error {
		files, err := s.files(args)
		if err != nil {
			return err
		}
		all := true
		several := len(files) > 1
		results := []fileCheck{}
		for _, file := range files {
			c, err := s.check(cmd, &f, file)
			if c, err = unreadable(c, err, several); err != nil {
				return err
			}
			all = all && good(c)
			switch {
			case !asJSON(cmd):
				if several {
					s.out.Println(c.name)
				}
				show(c)
			case several:
				results = append(results, fileCheck{c.name, good(c), nonNil(c.found)})
			default:
				if err := s.value(one(c)); err != nil {
					return err
				}
			}
		}
		if several && asJSON(cmd) {
			if err := s.value(struct {
				Valid bool        `json:"valid"`
				Files []fileCheck `json:"files"`
			}{all, results}); err != nil {
				return err
			}
		}
		if !all {
			return verdict{}
		}
		return nil
	})
	cmd.Long = short + `. SPEC may be a file, a folder (its YAML and JSON files), - for standard input, or several of them.
The exit code is 1 when one of them is not good.`
	f.add(cmd)
	return jsonFlag(cmd)
}

func nonNil(found spec.Diagnostics) spec.Diagnostics {
	if found == nil {
		return spec.Diagnostics{}
	}
	return found
}

// unreadable turns text that cannot be read into a finding, so that other files are still looked at.
func unreadable(c checked, err error, several bool) (checked, error) {
	var remote *remoteError
	if err == nil || !several || errors.As(err, &remote) {
		return c, err
	}
	found := spec.Diagnostics{{Code: spec.CodeSyntax, Severity: spec.SeverityError, Message: asProblem(err).Message}}
	var syntax *spec.SyntaxError
	if errors.As(err, &syntax) {
		found = spec.Diagnostics{syntax.Diagnostic()}
	}
	return checked{name: c.name, e: &project.Effective{}, found: found}, nil
}

// files expands folders.
func (s *shell) files(args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{""}, nil
	}
	var out []string
	for _, arg := range args {
		info, err := os.Stat(s.here(arg))
		if arg == "-" || err != nil || !info.IsDir() {
			out = append(out, arg)
			continue
		}
		err = filepath.WalkDir(s.here(arg), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != s.here(arg) {
				return filepath.SkipDir
			}
			if ext := strings.ToLower(filepath.Ext(path)); !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
				rel, err := filepath.Rel(s.here(arg), path)
				if err != nil {
					return err
				}
				out = append(out, filepath.Join(arg, rel))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no YAML or JSON file in %s", strings.Join(args, ", "))
	}
	return out, nil
}

func (s *shell) showValid(c checked) {
	if len(c.found) == 0 {
		s.out.Success("No diagnostics.")
		return
	}
	s.diagnostics(s.out, c.found, c.e)
	if c.valid {
		s.out.Success(fmt.Sprintf("The spec is valid; %d diagnostic(s).", len(c.found)))
	} else {
		s.out.Fail("The spec is not valid.")
	}
}

func serious(found spec.Diagnostics) spec.Diagnostics {
	out := spec.Diagnostics{}
	for _, d := range found {
		if d.Severity == spec.SeverityError || d.Severity == spec.SeverityWarning {
			out = append(out, d)
		}
	}
	return out
}

func counts(found spec.Diagnostics) (warnings, errs int) {
	for _, d := range found {
		switch d.Severity {
		case spec.SeverityWarning:
			warnings++
		case spec.SeverityError:
			errs++
		case spec.SeverityInfo:
		}
	}
	return warnings, errs
}

func (s *shell) showLint(c checked) {
	warnings, errs := counts(c.found)
	if warnings+errs == 0 {
		s.out.Success("No lint issues found.")
		return
	}
	s.diagnostics(s.out, serious(c.found), c.e)
	s.out.Fail(fmt.Sprintf("Found %d warning(s) and %d error(s).", warnings, errs))
}

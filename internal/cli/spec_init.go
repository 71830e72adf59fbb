package cli

import (
	"embed"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed templates/*.yaml
var templateFiles embed.FS

// Templates lists the names of the specs that `kneo spec init` can write.
func Templates() []string {
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return out
}

// template returns the text of a template.
func template(name string) ([]byte, error) {
	if !slices.Contains(Templates(), name) {
		return nil, usage("Invalid value for '--template': '%s' is not one of %s.", name, strings.Join(Templates(), ", "))
	}
	return templateFiles.ReadFile("templates/" + name + ".yaml")
}

func (s *shell) specInit() *cobra.Command {
	var name string
	var force bool
	cmd := leaf("init", "Write a spec to begin with", []string{"[FILE]"}, func(_ *cobra.Command, args []string) error {
		text, err := template(name)
		if err != nil {
			return err
		}
		file := orWord(first(args), name+".yaml")
		if file == "-" {
			_, err := s.out.Write(text)
			return err
		}
		if _, err := os.Stat(s.here(file)); err == nil && !force {
			return fmt.Errorf("%s already exists; use --force to overwrite it", file)
		}
		if err := s.write(file, text); err != nil {
			return err
		}
		s.out.Success(fmt.Sprintf("Wrote %s. Try it: kneo run %s --input \"Hello\"", file, file))
		return nil
	})
	cmd.Long = "Writes a spec to begin with; FILE is the name of the template by default, and - means standard output."
	cmd.Flags().StringVarP(&name, "template", "t", "agent", "Kind of spec: "+strings.Join(Templates(), ", ")+".")
	cmd.Flags().BoolVar(&force, "force", false, "Overwrite the file.")
	completeValues(cmd, "template", Templates()...)
	return cmd
}

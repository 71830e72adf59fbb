package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/spec"
)

// defaultKey is the variable that holds the key of bundles.
const defaultKey = "KNEO_SERV_SPEC_SIGNING_KEY"

func (s *shell) specResolve() *cobra.Command {
	var output, environment string
	cmd := leaf("resolve", "Write a spec with the layers and defaults of its project", []string{"[SPEC]"}, func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "output"); err != nil {
			return err
		}
		e, err := s.resolve(first(args), environment)
		if err != nil {
			return err
		}
		if err := e.Enforced(); err != nil {
			return err
		}
		if err := s.writeSpec(output, e.Tree); err != nil {
			return err
		}
		s.out.Success("Wrote resolved spec: " + output)
		return nil
	})
	cmd.Flags().StringVarP(&output, "output", "o", "", "File to write; JSON when its name ends in .json, else YAML.")
	cmd.Flags().StringVar(&environment, "env", "", "Environment; its overlays, defaults and rules apply.")
	return cmd
}

// writeSpec writes a tree as its file name says.
func (s *shell) writeSpec(path string, tree *spec.Node) error {
	text, err := asYAML(tree)
	if strings.EqualFold(filepath.Ext(path), ".json") {
		text, err = indented(tree)
	}
	if err != nil {
		return err
	}
	return s.write(path, text)
}

const folderMode = 0o750

// write writes a file at a path from the working folder; its folder is created.
func (s *shell) write(path string, text []byte) error {
	path = s.here(path)
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return err
	}
	return os.WriteFile(path, text, fileMode)
}

func indented(tree *spec.Node) ([]byte, error) {
	var v json.RawMessage = tree.JSON()
	out, err := json.MarshalIndent(v, "", "  ")
	return append(out, '\n'), err
}

// asYAML writes a tree as YAML in its own order.
func asYAML(tree *spec.Node) ([]byte, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := errors.Join(enc.Encode(yamlNode(tree)), enc.Close())
	return []byte(b.String()), err
}

func yamlNode(n *spec.Node) *yaml.Node {
	if n == nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
	scalar := func(tag string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: n.Value} }
	switch n.Kind {
	case spec.Null:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	case spec.Bool:
		return scalar("!!bool")
	case spec.Int:
		return scalar("!!int")
	case spec.Float:
		return scalar("!!float")
	case spec.Sequence:
		out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range n.Items {
			out.Content = append(out.Content, yamlNode(item))
		}
		return out
	case spec.Mapping:
		out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, e := range n.Entries {
			out.Content = append(out.Content, yamlText(e.Key), yamlNode(e.Value))
		}
		return out
	case spec.String, spec.Timestamp:
		return yamlText(n.Value)
	}
	return yamlText(n.Value)
}

// yaml11 are words and shapes that older readers take for something else than text.
var yaml11 = map[string]bool{"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true, "true": true, "false": true, "null": true, "~": true, "": true}

// yamlText writes text so that every reader gets text.
func yamlText(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	tree, _, err := spec.Parse("text", []byte(text), spec.Limits{})
	switch {
	case strings.Contains(text, "\n"):
		n.Style = yaml.LiteralStyle
	case yaml11[strings.ToLower(text)] || err == nil && (tree == nil || tree.Kind != spec.String):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// input reads a spec file given on the command line, from the working folder or standard input.
func (s *shell) input(path string) (*spec.Node, error) {
	text, err := s.read(path)
	if err != nil {
		if notExist(err) {
			return nil, &project.MissingError{Path: s.here(path)}
		}
		return nil, err
	}
	tree, _, err := spec.ParseFile(path, text, spec.Limits{})
	if err != nil {
		return nil, err
	}
	if !tree.IsMapping() {
		return nil, fmt.Errorf("YAML root must be an object: %s", path) //nolint:revive,staticcheck // the documented text
	}
	return tree, nil
}

func (s *shell) specMigrate() *cobra.Command {
	var output string
	var check bool
	cmd := leaf("migrate", "Bring a spec of an older version to the current one", []string{"SPEC"}, func(cmd *cobra.Command, args []string) error {
		tree, err := s.input(args[0])
		if err != nil {
			return err
		}
		after, m, err := spec.Migrate(tree)
		if err != nil {
			return err
		}
		answer := migration{TargetVersion: m.TargetVersion, Changed: m.Changed, Applied: append([]string{}, m.Applied...)}
		if version := tree.Get("version"); !version.IsNull() {
			answer.SourceVersion = &version.Value
		}
		return s.migrated(cmd, after, answer, output, check)
	})
	cmd.Flags().StringVarP(&output, "output", "o", "", "File to write.")
	cmd.Flags().BoolVar(&check, "check", false, "Change nothing; the exit code is 1 when something would change.")
	return jsonFlag(cmd)
}

// migration is the JSON answer of migrate.
type migration struct {
	SourceVersion *string         `json:"source_version"`
	TargetVersion string          `json:"target_version"`
	Changed       bool            `json:"changed"`
	Applied       []string        `json:"applied"`
	Output        string          `json:"output,omitempty"`
	Spec          json.RawMessage `json:"spec,omitempty"`
}

func (s *shell) migrated(cmd *cobra.Command, after *spec.Node, answer migration, output string, check bool) error {
	if check {
		if asJSON(cmd) {
			if err := s.value(answer); err != nil {
				return err
			}
		}
		if answer.Changed {
			return verdict{}
		}
		return nil
	}
	if output != "" {
		if err := s.writeSpec(output, after); err != nil {
			return err
		}
		answer.Output = output
	}
	switch {
	case asJSON(cmd) && output == "":
		answer.Spec = after.JSON()
		return s.value(answer)
	case asJSON(cmd):
		return s.value(answer)
	case output != "":
		s.out.Success("Wrote migrated spec: " + output)
		return nil
	}
	text, err := asYAML(after)
	if err == nil {
		_, err = s.out.Write(text)
	}
	return err
}

func (s *shell) specSchema() *cobra.Command {
	var output string
	cmd := leaf("schema", "Print the JSON Schema of specs, for editors", nil, func(*cobra.Command, []string) error {
		if output == "" {
			_, err := s.out.Write(spec.JSONSchema())
			return err
		}
		if err := s.write(output, spec.JSONSchema()); err != nil {
			return err
		}
		s.out.Success("Wrote schema: " + output)
		return nil
	})
	cmd.Long = `Prints the JSON Schema of specs. Editors with YAML support use it when the first line of a spec is
# yaml-language-server: $schema=PATH`
	cmd.Flags().StringVarP(&output, "output", "o", "", "File to write.")
	return cmd
}

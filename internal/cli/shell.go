package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/project"
	"github.com/kneo-go/kneo/internal/redact"
	"github.com/kneo-go/kneo/internal/wirejson"
)

// shell is what the commands share: the process, its screens and the project it stands in.
type shell struct {
	Process
	out, err *term.Screen
	codec    *wirejson.Codec

	loaded *project.Project
	// warned are the warnings that were shown; each is shown once.
	warned map[string]bool
}

// project returns the project of the working folder.
func (s *shell) project() (*project.Project, error) {
	if s.loaded != nil {
		return s.loaded, nil
	}
	p, err := project.Load(s.Dir, project.Env(s.Env))
	if err != nil {
		return nil, err
	}
	s.loaded = p
	return p, nil
}

// env returns a variable, or "".
func (s *shell) env(name string) string {
	v, _ := s.Env(name)
	return v
}

// message prints an answer of the service as JSON.
func (s *shell) message(m proto.Message) error { return s.raw(s.codec.Marshal(m)) }

// raw prints JSON text with two blanks of indentation and nothing else changed.
func (s *shell) raw(text []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := s.out.Write(b.Bytes())
	return err
}

// value prints any value as JSON, without escaping what JSON need not escape.
func (s *shell) value(v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	return s.raw(text)
}

// redacted prints a value as JSON with secrets hidden.
func (s *shell) redacted(v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	return s.raw(redact.JSON(text))
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Bool("json", false, "Print JSON.")
	return cmd
}

func asJSON(cmd *cobra.Command) bool {
	f := cmd.Flags().Lookup("json")
	return f != nil && f.Value.String() == "true"
}

// notExist tells a file that is not there.
func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// here is the absolute path of what was typed, from the working folder.
func (s *shell) here(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir, path)
}

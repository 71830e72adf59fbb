// Package term writes for people: coloured marks, tables that fit the terminal, and a line that tells that something still goes on. Colours and
// moving lines appear only on a terminal that wants them. It imports the standard library, golang.org/x/term and golang.org/x/text.
package term

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// defaultWidth is the width of what is no terminal.
const defaultWidth = 80

// Style is a colour or weight.
type Style string

// Styles.
const (
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
	Blue   Style = "34"
	Cyan   Style = "36"
)

// Screen is one output stream. It is not safe for concurrent use.
type Screen struct {
	w        io.Writer
	terminal bool
	color    bool
	width    int
}

// Lookup finds an environment variable.
type Lookup func(name string) (string, bool)

// NewScreen looks at what the stream is and what the environment asks for: NO_COLOR and TERM=dumb turn colours off, COLUMNS sets the width.
func NewScreen(w io.Writer, env Lookup) *Screen {
	s := &Screen{w: w, width: defaultWidth}
	if f, ok := w.(*os.File); ok {
		fd := int(f.Fd()) //nolint:gosec // a file descriptor fits
		if s.terminal = term.IsTerminal(fd); s.terminal {
			if width, _, err := term.GetSize(fd); err == nil && width > 0 {
				s.width = width
			}
		}
	}
	noColor, _ := env("NO_COLOR")
	kind, _ := env("TERM")
	s.color = s.terminal && noColor == "" && kind != "dumb"
	if columns, ok := env("COLUMNS"); ok {
		if n, err := strconv.Atoi(strings.TrimSpace(columns)); err == nil && n > 0 {
			s.width = n
		}
	}
	return s
}

// Terminal tells whether a person may be looking.
func (s *Screen) Terminal() bool { return s.terminal }

// Color tells whether escape sequences are welcome.
func (s *Screen) Color() bool { return s.color }

// Width is the number of columns.
func (s *Screen) Width() int { return s.width }

// Paint wraps text in a style where colours are on.
func (s *Screen) Paint(style Style, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// Printf writes formatted text.
func (s *Screen) Printf(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format, args...) }

// Println writes one line.
func (s *Screen) Println(text string) { _, _ = io.WriteString(s.w, text+"\n") }

// Write writes bytes as they are.
func (s *Screen) Write(p []byte) (int, error) { return s.w.Write(p) }

// Success writes a line with a green tick.
func (s *Screen) Success(text string) { s.mark(Green, "✓", text) }

// Warn writes a line with a yellow sign.
func (s *Screen) Warn(text string) { s.mark(Yellow, "⚠", text) }

// Fail writes a line with a red cross.
func (s *Screen) Fail(text string) { s.mark(Red, "✗", text) }

func (s *Screen) mark(style Style, sign, text string) { s.Println(s.Paint(style, sign) + " " + text) }

// Clean replaces control characters, so that text of a run cannot steer the terminal.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0:
			return '\uFFFD'
		}
		return r
	}, text)
}

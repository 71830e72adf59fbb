package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// compatible is the release of kneo-serv whose commands and service this program stands in for.
const compatible = "kneo-serv 1.2.0"

// NewCommand returns the command tree for documentation; its commands are not meant to run.
func NewCommand() *cobra.Command {
	return newRoot(&shell{})
}

func newRoot(s *shell) *cobra.Command {
	root := group("kneo", "Run AI agents and workflows durably", `Kneo runs agents and workflows that a YAML spec describes. Commands talk to a service when one is named
(--service-url, --profile, the project config, or the active profile) and work in this process otherwise.`,
		newRunCommand(s), newRuns(s), newHuman(s), newSpec(s), newConfig(s), newPolicy(s), newAudit(s), newSkills(s), newCredentials(s), newService(s), newWorker(s))
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = s.Version
	// Scripts for kneo-serv read the first line.
	root.SetVersionTemplate(compatible + "\nkneo {{.Version}}\n")
	root.Flags().BoolP("version", "V", false, "Print the version and exit.")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%s", sentence(err.Error())) })
	root.CompletionOptions.HiddenDefaultCmd = false
	s.completeProfileFlags(root)
	return root
}

// sentence begins with a capital and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// errHelp ends a command that printed its help instead.
var errHelp = errors.New("help was shown")

// group is a command that only has sub-commands.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				text := fmt.Sprintf("No such command '%s'.", args[0])
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					text += fmt.Sprintf(" Did you mean '%s'?", strings.Join(near, "' or '"))
				}
				return usage("%s", text)
			}
			if err := cmd.Help(); err != nil {
				return err
			}
			return errHelp
		},
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(commands...)
	return c
}

// usageError is a command line that cannot be understood.
type usageError struct{ text string }

// Error returns the text.
func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// verdict ends a command whose answer is no; what there is to say has been said.
type verdict struct{}

// Error is for programs that embed the commands.
func (verdict) Error() string { return "negative verdict" }

// argument checks for the given names of positional arguments; the last may be optional ("[SPEC]") or repeated ("[SPEC...]").
func argument(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		least, most := 0, len(names)
		for _, n := range names {
			if !strings.HasPrefix(n, "[") {
				least++
			}
			if strings.Contains(n, "...") {
				most = len(args)
			}
		}
		if len(args) < least {
			return usage("Missing argument '%s'.", names[len(args)])
		}
		if len(args) > most {
			return usage("Got unexpected extra argument (%s)", strings.Join(args[most:], " "))
		}
		return nil
	}
}

// need refuses a command line without the option.
func need(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		f := cmd.Flags().Lookup(name)
		if f.Changed {
			continue
		}
		text := "'--" + name + "'"
		if f.Shorthand != "" {
			text += " / '-" + f.Shorthand + "'"
		}
		return usage("Missing option %s.", text)
	}
	return nil
}

// leaf builds a command; args name its positional arguments.
func leaf(use, short string, args []string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	if len(args) > 0 {
		use += " " + strings.Join(args, " ")
	}
	return &cobra.Command{Use: use, Short: short, Args: argument(args...), RunE: run, DisableFlagsInUseLine: false}
}

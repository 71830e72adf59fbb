package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const commandsHead = `# Commands

` + "`kneo`" + ` is one program: the service, its tools and the client. This page is written from the commands themselves (` + "`make docs`" + `).

A command talks to a service when one is named: ` + "`--service-url`" + `, ` + "`--profile`" + `, ` + "`service.default_url`" + ` of the project config, or the active profile, in
this order. Without one it works in its own process, on the SQLite file of the project. A service address of the scheme ` + "`http`" + ` or ` + "`https`" + ` is spoken to
in gRPC where the service does, and in REST otherwise; ` + "`grpc`" + ` and ` + "`grpcs`" + ` are gRPC only.

Exit codes: 0 success, 1 an error or a negative verdict, 2 a command line that cannot be understood. Errors go to the error stream; with ` + "`--json`" + ` as
the error body of the service. Colours are off in pipes and where ` + "`NO_COLOR`" + ` is set.

| Variable | Default | Meaning |
| --- | --- | --- |
| ` + "`KNEO_ENV`" + ` | – | Environment where ` + "`--env`" + ` is absent |
| ` + "`KNEO_PROJECT_CONFIG`" + ` | – | Path of the project config; otherwise ` + "`.kneo/config.yaml`" + ` is looked for upwards |
| ` + "`KNEO_SERV_PROFILES_PATH`" + ` | ` + "`~/.kneo_serv/profiles.json`" + ` | Profiles file |
| ` + "`KNEO_SERV_API_KEY`" + ` | – | Key where the profile gives none |
| ` + "`KNEO_SERV_IDEMPOTENCY_KEY`" + ` | drawn for each call | Key of calls that change something |
| ` + "`KNEO_SERV_CLIENT_TIMEOUT`" + ` | 120 | Seconds per call |
| ` + "`KNEO_SERV_CLIENT_RETRIES`" + ` | 2 | Extra tries of calls that cannot do harm |
| ` + "`KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS`" + ` | 0.25 | Pause before a try, times its number |
| ` + "`KNEO_PYTHON`" + ` | ` + "`python3`" + `, ` + "`python`" + ` | Python interpreter of workers that a command starts |
| ` + "`KNEO_SERV_SPEC_SIGNING_KEY`" + ` | – | Key of ` + "`kneo spec bundle`" + ` |

Shell completion, with ids of runs and tasks: ` + "`source <(kneo completion bash)`" + `, likewise for zsh, fish and PowerShell.
`

// commands renders a command tree.
func commands(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(commandsHead)
	for _, c := range root.Commands() {
		walk(&b, c)
	}
	return b.String()
}

func walk(b *strings.Builder, c *cobra.Command) {
	if !c.IsAvailableCommand() || c.Name() == "completion" {
		return
	}
	depth := strings.Count(c.CommandPath(), " ") + 1
	fmt.Fprintf(b, "\n%s %s\n\n", strings.Repeat("#", depth), c.CommandPath())
	fmt.Fprintf(b, "%s.\n", strings.TrimSuffix(c.Short, "."))
	if c.HasSubCommands() {
		for _, sub := range c.Commands() {
			walk(b, sub)
		}
		return
	}
	if c.Long != "" && !strings.HasPrefix(c.Long, c.Short) {
		fmt.Fprintf(b, "\n%s\n", c.Long)
	}
	fmt.Fprintf(b, "\n    %s\n", c.UseLine())
	if c.Example != "" {
		fmt.Fprintf(b, "\nFor example:\n\n%s\n", indent(c.Example))
	}
	options(b, c)
}

func indent(example string) string {
	lines := strings.Split(example, "\n")
	for i, l := range lines {
		lines[i] = "    " + strings.TrimSpace(l)
	}
	return strings.Join(lines, "\n")
}

func options(b *strings.Builder, c *cobra.Command) {
	first := true
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			b.WriteString("\n| Option | Value | Default | Meaning |\n| --- | --- | --- | --- |\n")
			first = false
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		kind, initial := f.Value.Type(), f.DefValue
		switch {
		case kind == "bool":
			kind = "–"
		case kind == "stringSlice", kind == "stringArray":
			kind = "text, repeatable"
		case strings.HasPrefix(kind, "int"):
			kind = "whole number"
		case strings.HasPrefix(kind, "float"):
			kind = "number"
		default:
			kind = "text"
		}
		if initial == "" || initial == "0" || initial == "false" || initial == "[]" {
			initial = "–"
		} else {
			initial = "`" + initial + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, kind, initial, strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
}

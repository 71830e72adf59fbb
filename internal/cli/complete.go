package cli

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/profile"
)

const (
	completionTimeout = 2 * time.Second
	completionItems   = 50
)

// completeValues offers fixed values for an option.
func completeValues(cmd *cobra.Command, name string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails only for unknown options
}

// completion offers live ids; trouble offers none.
type completion = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

func (s *shell) live(f *serviceFlags, list func(ctx context.Context, c *connection) ([]*kneov1.JsonObject, error), describe ...string) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		c, err := s.connect(ctx, f, reading)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.close()
		items, err := list(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, item := range items {
			var row map[string]any
			if json.Unmarshal(item.GetRaw(), &row) != nil {
				continue
			}
			id, _ := row["id"].(string)
			if !strings.HasPrefix(id, prefix) {
				continue
			}
			var notes []string
			for _, key := range describe {
				if note, ok := row[key].(string); ok {
					notes = append(notes, note)
				}
			}
			out = append(out, id+"\t"+strings.Join(notes, " "))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func (s *shell) completeRuns(f *serviceFlags) completion {
	return s.live(f, func(ctx context.Context, c *connection) ([]*kneov1.JsonObject, error) {
		out, err := c.Runs().ListRuns(ctx, &kneov1.ListRunsRequest{Limit: proto.Int32(completionItems)})
		return out.GetRuns(), err
	}, "status", "workflow_name")
}

func (s *shell) completeTasks(f *serviceFlags) completion {
	return s.live(f, func(ctx context.Context, c *connection) ([]*kneov1.JsonObject, error) {
		out, err := c.HumanTasks().ListHumanTasks(ctx, &kneov1.ListHumanTasksRequest{Limit: proto.Int32(completionItems)})
		return out.GetTasks(), err
	}, "workflow_name", "current_node_id")
}

func (s *shell) completeProfiles(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	path, err := profile.Path(s.Env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	profiles, err := profile.Load(path)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range profiles.List() {
		if strings.HasPrefix(p.Name, prefix) {
			out = append(out, p.Name+"\t"+p.ServiceURL)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeProfileFlags offers the names of profiles to every command that takes one as an option.
func (s *shell) completeProfileFlags(cmd *cobra.Command) {
	if cmd.Flags().Lookup("profile") != nil {
		_ = cmd.RegisterFlagCompletionFunc("profile", s.completeProfiles) // fails only for unknown options
	}
	for _, c := range cmd.Commands() {
		s.completeProfileFlags(c)
	}
}

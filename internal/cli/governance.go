package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	kneov1 "github.com/kneo-go/kneo/gen/go/kneo/v1"
	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/contract"
	"github.com/kneo-go/kneo/internal/wirejson"
)

func newPolicy(s *shell) *cobra.Command {
	return group("policy", "Look at and change environment policies", "Environment policies say what a spec must satisfy before it may run.",
		s.policyList(), s.policyGet(), s.policyPut(), s.policyPreview())
}

// called is a command that makes one call and prints its answer.
func (s *shell) called(f *serviceFlags, a access, call func(cmd *cobra.Command, c *connection, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := s.connect(cmd.Context(), f, a)
		if err != nil {
			return err
		}
		defer c.close()
		return call(cmd, c, args)
	}
}

func (s *shell) policyList() *cobra.Command {
	var f serviceFlags
	cmd := leaf("list", "List the policies of all environments", nil, s.called(&f, reading, func(cmd *cobra.Command, c *connection, _ []string) error {
		out, err := c.Policies().ListEnvironmentPolicies(cmd.Context(), &kneov1.ListEnvironmentPoliciesRequest{})
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(out.GetPolicies())) {
			rows = append(rows, append([]string{name}, ruleWords(out.GetPolicies()[name])...))
		}
		if len(rows) == 0 {
			s.out.Println("No policies.")
			return nil
		}
		s.out.Table(term.Table{Headers: []string{"Environment", "Enabled", "Rules"}, Rows: rows})
		return nil
	}))
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

func ruleWords(p *kneov1.EnvironmentPolicy) []string {
	enabled := "yes"
	if p.Enabled != nil && !p.GetEnabled() {
		enabled = "no"
	}
	var rules []string
	for _, r := range []struct {
		on   bool
		name string
	}{
		{p.GetFailOnWarnings(), "fail_on_warnings"},
		{p.GetRequireHumanReview(), "require_human_review"},
		{p.GetRequireToolPermissions(), "require_tool_permissions"},
		{p.GetDenyUnrestrictedTools(), "deny_unrestricted_tools"},
		{p.GetRequireGuardrails(), "require_guardrails"},
	} {
		if r.on {
			rules = append(rules, r.name)
		}
	}
	if codes := p.GetBlockedDiagnosticCodes(); len(codes) > 0 {
		rules = append(rules, "blocked: "+strings.Join(codes, " "))
	}
	return []string{enabled, strings.Join(rules, ", ")}
}

func (s *shell) policyGet() *cobra.Command {
	var f serviceFlags
	cmd := leaf("get", "Show the policy of an environment", []string{"ENVIRONMENT"}, s.called(&f, reading, func(cmd *cobra.Command, c *connection, args []string) error {
		out, err := c.Policies().GetEnvironmentPolicy(cmd.Context(), &kneov1.GetEnvironmentPolicyRequest{Environment: args[0]})
		if err != nil {
			return c.fail(err)
		}
		return s.message(out)
	}))
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

// policyFlags describe a policy, by file or by options.
type policyFlags struct {
	file                                                                  string
	disabled, warnings, review, permissions, unrestricted, guardrailsRule bool
	blocked                                                               []string
}

func addPolicyFlags(cmd *cobra.Command, f *policyFlags) {
	fl := cmd.Flags()
	fl.StringVarP(&f.file, "file", "f", "", "JSON file with the policy, or - for standard input; options add to it.")
	fl.BoolVar(&f.disabled, "disabled", false, "The policy is kept but not applied.")
	fl.BoolVar(&f.warnings, "fail-on-warnings", false, "Warnings count as errors.")
	fl.BoolVar(&f.review, "require-human-review", false, "A human step is required.")
	fl.BoolVar(&f.permissions, "require-tool-permissions", false, "Agents with tools must declare permissions.")
	fl.BoolVar(&f.unrestricted, "deny-unrestricted-tools", false, "Agents may not use every tool.")
	fl.BoolVar(&f.guardrailsRule, "require-guardrails", false, "Agents must have guardrails.")
	fl.StringSliceVar(&f.blocked, "block", nil, "Diagnostic code that is refused; may be repeated.")
}

func (s *shell) policy(f *policyFlags) (*kneov1.EnvironmentPolicy, error) {
	p := &kneov1.EnvironmentPolicy{}
	if f.file != "" {
		data, err := s.read(f.file)
		if err != nil {
			return nil, err
		}
		facts, err := contract.Load()
		if err != nil {
			return nil, err
		}
		if issues := wirejson.New(facts).Decode(data, p); len(issues) > 0 {
			return nil, fmt.Errorf("%s is no policy: %v: %s", f.file, issues[0].Loc, issues[0].Msg)
		}
	}
	if f.disabled {
		off := false
		p.Enabled = &off
	}
	p.FailOnWarnings = p.FailOnWarnings || f.warnings
	p.RequireHumanReview = p.RequireHumanReview || f.review
	p.RequireToolPermissions = p.RequireToolPermissions || f.permissions
	p.DenyUnrestrictedTools = p.DenyUnrestrictedTools || f.unrestricted
	p.RequireGuardrails = p.RequireGuardrails || f.guardrailsRule
	p.BlockedDiagnosticCodes = append(p.BlockedDiagnosticCodes, f.blocked...)
	return p, nil
}

// read reads a file from the working folder, or standard input.
func (s *shell) read(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(s.In)
	}
	return os.ReadFile(s.here(path))
}

func (s *shell) policyPut() *cobra.Command {
	var f serviceFlags
	var pf policyFlags
	cmd := leaf("put", "Replace the policy of an environment", []string{"ENVIRONMENT"}, s.called(&f, writing, func(cmd *cobra.Command, c *connection, args []string) error {
		p, err := s.policy(&pf)
		if err != nil {
			return err
		}
		out, err := c.Policies().PutEnvironmentPolicy(cmd.Context(), &kneov1.PutEnvironmentPolicyRequest{Environment: args[0], Policy: p})
		if err != nil {
			return c.fail(err)
		}
		if !asJSON(cmd) {
			s.out.Success("Policy of " + args[0] + " stored.")
		}
		return s.message(out)
	}))
	cmd.Long = "Replaces the policy of an environment as a whole: a rule that is not named is off."
	addPolicyFlags(cmd, &pf)
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

func (s *shell) policyPreview() *cobra.Command {
	var f serviceFlags
	var pf policyFlags
	cmd := leaf("preview", "Tell which recent runs a policy would treat differently", []string{"ENVIRONMENT"}, s.called(&f, reading, func(cmd *cobra.Command, c *connection, args []string) error {
		p, err := s.policy(&pf)
		if err != nil {
			return err
		}
		out, err := c.Policies().PreviewEnvironmentPolicy(cmd.Context(), &kneov1.PreviewEnvironmentPolicyRequest{Environment: args[0], Policy: p})
		if err != nil {
			return c.fail(err)
		}
		if !asJSON(cmd) {
			s.out.Success(fmt.Sprintf("%d run(s) evaluated, %d affected, %d newly blocked.", out.GetRunsEvaluated(), len(out.GetAffectedRunIds()), len(out.GetNewlyBlocking())))
		}
		return s.message(out)
	}))
	addPolicyFlags(cmd, &pf)
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

func newAudit(s *shell) *cobra.Command {
	return group("audit", "Read the audit trail", "Read the audit trail.", s.auditList())
}

func (s *shell) auditList() *cobra.Command {
	var f serviceFlags
	var page listFlags
	var kind, runID string
	cmd := leaf("list", "List audit events, newest first", nil, s.called(&f, reading, func(cmd *cobra.Command, c *connection, _ []string) error {
		out, err := c.Audit().ListAuditEvents(cmd.Context(), &kneov1.ListAuditEventsRequest{
			EventType: optional(kind), RunId: optional(runID), Limit: number(page.limit), Offset: number(page.offset), SortBy: optional(page.sortBy), SortOrder: optional(page.order),
		})
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		rows := make([][]string, 0, len(out.GetEvents()))
		for _, e := range out.GetEvents() {
			rows = append(rows, []string{short(e.GetCreatedAt()), e.GetEventType(), e.GetActor(), e.GetRunId(), oneLine(string(e.GetMetadata().GetRaw()))})
		}
		s.out.Table(term.Table{Headers: []string{"Time", "Event", "Actor", "Run", "Facts"}, Rows: rows})
		return nil
	}))
	cmd.Flags().StringVar(&kind, "event-type", "", "Only events of this type.")
	cmd.Flags().StringVar(&runID, "run-id", "", "Only events of this run.")
	addListFlags(cmd, &page)
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

func newSkills(s *shell) *cobra.Command {
	return group("skills", "Find installed skills", "Find installed skills.", s.skillsList())
}

func (s *shell) skillsList() *cobra.Command {
	var f serviceFlags
	var page listFlags
	cmd := leaf("list", "List the skills that are installed where specs run", nil, s.called(&f, reading, func(cmd *cobra.Command, c *connection, _ []string) error {
		out, err := c.Skills().ListSkills(cmd.Context(), &kneov1.ListSkillsRequest{
			Limit: number(page.limit), Offset: number(page.offset), SortBy: optional(page.sortBy), SortOrder: optional(page.order),
		})
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		rows := make([][]string, 0, len(out.GetSkills()))
		for _, k := range out.GetSkills() {
			rows = append(rows, []string{k.GetName(), k.GetDescription(), k.GetPath()})
		}
		s.out.Table(term.Table{Headers: []string{"Skill", "Description", "Path"}, Rows: rows})
		return nil
	}))
	addListFlags(cmd, &page)
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

func newCredentials(s *shell) *cobra.Command {
	var f serviceFlags
	var providers, extras []string
	cmd := leaf("credentials", "Show which credentials are configured, never their values", nil, s.called(&f, writing, func(cmd *cobra.Command, c *connection, _ []string) error {
		out, err := c.Security().GetCredentialInventory(cmd.Context(), &kneov1.GetCredentialInventoryRequest{Providers: providers, Extras: extras})
		if err != nil {
			return c.fail(err)
		}
		if asJSON(cmd) {
			return s.message(out)
		}
		var rows [][]string
		var present []bool
		i := out.GetInventory()
		for _, section := range []map[string]*kneov1.CredentialEntry{i.GetProviders(), i.GetExtra(), i.GetServiceTokens()} {
			for _, name := range slices.Sorted(maps.Keys(section)) {
				e := section[name]
				rows, present = append(rows, []string{e.GetName(), e.GetEnvVar(), e.GetStatus()}), append(present, e.GetPresent())
			}
		}
		s.out.Table(term.Table{Headers: []string{"Credential", "Variable", "Status"}, Rows: rows, Style: func(row, column int) term.Style {
			switch {
			case column != 2:
				return ""
			case present[row]:
				return term.Green
			}
			return term.Yellow
		}})
		return nil
	}))
	cmd.Flags().StringSliceVar(&providers, "provider", nil, "Provider to look at; the known ones by default.")
	cmd.Flags().StringSliceVar(&extras, "extra", nil, "Further environment variable to look at.")
	addServiceFlags(cmd, &f)
	return jsonFlag(cmd)
}

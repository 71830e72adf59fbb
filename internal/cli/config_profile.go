package cli

import (
	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/internal/profile"
)

func (s *shell) configProfile() *cobra.Command {
	return group("profile", "Keep addresses and keys of services", "Keep addresses and keys of services under names.",
		s.profileSet(), s.profileUse(), s.profileList(), s.profileShow(), s.profileDelete())
}

// shownProfile is a profile without its key.
type shownProfile struct {
	Name          string `json:"name"`
	ServiceURL    string `json:"service_url"`
	Authenticated bool   `json:"authenticated"`
}

func shown(p profile.Profile) shownProfile {
	return shownProfile{p.Name, p.ServiceURL, p.APIKey != ""}
}

func (s *shell) profiles() (*profile.Profiles, error) {
	path, err := profile.Path(s.Env)
	if err != nil {
		return nil, err
	}
	return profile.Load(path)
}

// said prints a line for people and then the value.
func (s *shell) said(cmd *cobra.Command, line string, value any) error {
	if !asJSON(cmd) {
		s.out.Success(line)
	}
	return s.value(value)
}

func (s *shell) profileSet() *cobra.Command {
	var url, key string
	var activate, keep bool
	cmd := leaf("set", "Add or replace a profile", []string{"NAME"}, func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "service-url"); err != nil {
			return err
		}
		ps, err := s.profiles()
		if err != nil {
			return err
		}
		p := ps.Set(profile.Profile{Name: args[0], ServiceURL: url, APIKey: key}, activate && !keep)
		if err := ps.Save(); err != nil {
			return err
		}
		return s.said(cmd, "Saved service profile: "+p.Name, shown(p))
	})
	fl := cmd.Flags()
	fl.StringVar(&url, "service-url", "", "Address of the service.")
	fl.StringVar(&key, "api-key", "", "Key for the service.")
	fl.BoolVar(&activate, "activate", true, "Make it the active profile.")
	fl.BoolVar(&keep, "no-activate", false, "Leave the active profile as it is.")
	return jsonFlag(cmd)
}

func (s *shell) profileUse() *cobra.Command {
	cmd := leaf("use", "Make a profile the active one", []string{"NAME"}, func(cmd *cobra.Command, args []string) error {
		ps, err := s.profiles()
		if err != nil {
			return err
		}
		p, err := ps.Use(args[0])
		if err != nil {
			return err
		}
		if err := ps.Save(); err != nil {
			return err
		}
		return s.said(cmd, "Active service profile: "+p.Name, shown(p))
	})
	cmd.ValidArgsFunction = s.completeProfiles
	return jsonFlag(cmd)
}

func (s *shell) profileList() *cobra.Command {
	return jsonFlag(leaf("list", "List the profiles", nil, func(cmd *cobra.Command, _ []string) error {
		ps, err := s.profiles()
		if err != nil {
			return err
		}
		out := struct {
			Active   *string        `json:"active"`
			Profiles []shownProfile `json:"profiles"`
			Path     string         `json:"path"`
		}{optional(ps.Active()), []shownProfile{}, ps.Path()}
		for _, p := range ps.List() {
			out.Profiles = append(out.Profiles, shown(p))
		}
		return s.said(cmd, "Service profiles.", out)
	}))
}

func (s *shell) profileShow() *cobra.Command {
	var name string
	cmd := leaf("show", "Show a profile", []string{"[NAME]"}, func(cmd *cobra.Command, args []string) error {
		ps, err := s.profiles()
		if err != nil {
			return err
		}
		p, err := ps.Get(orWord(name, first(args)))
		if err != nil {
			return err
		}
		return s.said(cmd, "Service profile: "+p.Name, shown(p))
	})
	cmd.Flags().StringVar(&name, "name", "", "Name of the profile; the active one by default.")
	cmd.ValidArgsFunction = s.completeProfiles
	return jsonFlag(cmd)
}

func (s *shell) profileDelete() *cobra.Command {
	cmd := leaf("delete", "Delete a profile", []string{"NAME"}, func(_ *cobra.Command, args []string) error {
		ps, err := s.profiles()
		if err != nil {
			return err
		}
		ps.Delete(args[0])
		if err := ps.Save(); err != nil {
			return err
		}
		s.out.Success("Deleted service profile: " + args[0])
		return nil
	})
	cmd.ValidArgsFunction = s.completeProfiles
	return cmd
}

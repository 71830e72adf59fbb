package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kneo-go/kneo/internal/app"
	"github.com/kneo-go/kneo/internal/cli/term"
	"github.com/kneo-go/kneo/internal/config"
)

func newService(s *shell) *cobra.Command {
	commands := append([]*cobra.Command{s.serviceServe(), s.serviceWorker(), s.serviceConfig()}, s.serviceOperations()...)
	return group("service", "Run the service and look after it", `Run the service and look after it. Everything but address and port is set by environment variables;
'kneo service config' shows them.`, commands...)
}

const defaultPort = 8000

func (s *shell) serviceServe() *cobra.Command {
	var host string
	var port int
	var reload, noWorker bool
	cmd := leaf("serve", "Run the service in the foreground", nil, func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(s.Env)
		if err != nil {
			return err
		}
		if noWorker {
			cfg.Worker.Concurrency = 0
		}
		if reload {
			s.err.Warn("--reload is accepted and does nothing: a compiled service has no code to reload.")
		}
		a, err := app.New(cmd.Context(), cfg, app.Options{Host: host, Port: port, Version: s.Version, Log: s.Err, Env: s.Env})
		if err != nil {
			return err
		}
		return a.Serve(cmd.Context())
	})
	cmd.Long = `Runs the service in the foreground, with gRPC and REST on one port, until it is told to stop (SIGINT, SIGTERM); then it drains.`
	fl := cmd.Flags()
	fl.StringVar(&host, "host", "127.0.0.1", "Address to listen on.")
	fl.IntVar(&port, "port", defaultPort, "Port to listen on; 0 takes a free one.")
	fl.BoolVar(&reload, "reload", false, "Accepted for compatibility; without effect.")
	fl.BoolVar(&noWorker, "no-worker", false, "Answer requests only; queued runs are left to other processes.")
	return cmd
}

func (s *shell) serviceWorker() *cobra.Command {
	var host string
	port := -1
	cmd := leaf("worker", "Carry out queued runs and answer no requests", nil, func(cmd *cobra.Command, _ []string) error {
		if port >= 0 {
			cfg, err := config.Load(s.Env)
			if err != nil {
				return err
			}
			a, err := app.New(cmd.Context(), cfg, app.Options{Host: host, Port: port, Version: s.Version, Log: s.Err, Env: s.Env, WorkerOnly: true})
			if err != nil {
				return err
			}
			return a.Serve(cmd.Context())
		}
		a, cfg, err := s.service(cmd.Context())
		if err != nil {
			return err
		}
		stop := a.Work(cmd.Context(), int(cfg.Worker.Concurrency))
		<-cmd.Context().Done()
		stop()
		return nil
	})
	cmd.Long = `Carries out queued runs until it is told to stop (SIGINT, SIGTERM); then it drains. With --port it also answers probes and /metrics, and remote workers
may connect to it. It needs a database that other processes use too, which is PostgreSQL.`
	cmd.Flags().StringVar(&host, "host", "127.0.0.1", "Address for probes and metrics.")
	cmd.Flags().IntVar(&port, "port", -1, "Port for probes and metrics; without it nothing is listened to.")
	return cmd
}

// service builds the configured service without opening a port.
func (s *shell) service(ctx context.Context) (*app.App, config.Config, error) {
	cfg, err := config.Load(s.Env)
	if err != nil {
		return nil, cfg, err
	}
	a, err := app.New(ctx, cfg, app.Options{Version: s.Version, Log: s.Err, Env: s.Env})
	return a, cfg, err
}

func (s *shell) serviceConfig() *cobra.Command {
	var all bool
	cmd := leaf("config", "Show the effective settings of the service, without secrets", nil, func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(s.Env)
		if err != nil {
			return err
		}
		values := cfg.Dump()
		if asJSON(cmd) {
			return s.value(settings(values))
		}
		var rows [][]string
		var changed []bool
		for _, v := range values {
			if !all && v.Default {
				continue
			}
			rows, changed = append(rows, []string{v.Name, v.Value}), append(changed, !v.Default)
		}
		if len(rows) == 0 {
			s.out.Success("All settings have their defaults; --all shows them.")
			return nil
		}
		s.out.Table(term.Table{Headers: []string{"Setting", "Value"}, Rows: rows, Style: func(row, _ int) term.Style {
			if changed[row] {
				return term.Bold
			}
			return ""
		}})
		return nil
	})
	cmd.Long = "Shows the settings that differ from their defaults; --all shows every one. --json prints all as one object."
	cmd.Flags().BoolVar(&all, "all", false, "Show every setting.")
	return jsonFlag(cmd)
}

// settings are values in the order of the table, as one JSON object.
type settings []config.Value

// MarshalJSON writes name and value of each.
func (list settings) MarshalJSON() ([]byte, error) {
	parts := make([]string, 0, len(list))
	for _, v := range list {
		name, err := encode(v.Name)
		if err != nil {
			return nil, err
		}
		value, err := encode(v.Value)
		if err != nil {
			return nil, err
		}
		parts = append(parts, fmt.Sprintf("%s:%s", name, value))
	}
	return []byte("{" + strings.Join(parts, ",") + "}"), nil
}

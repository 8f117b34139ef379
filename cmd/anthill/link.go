package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services"
)

func newLink(v *viper.Viper) *cobra.Command {
	var server string
	c := &cobra.Command{
		Use:   "link",
		Short: "Print a link that lets a browser in",
		Long: `Print a launch link of the running server. The browser that opens it gets a
session, so that it needs no key. The link works once, within ten minutes;
the session lasts while it is used at least every 30 days.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			conn, url, err := running(cfg, server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			code, err := antonv1.NewAccessServiceClient(conn).CreateLaunchCode(conn.with(c.Context()), &antonv1.CreateLaunchCodeRequest{})
			if err != nil {
				return conn.explain(err)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), launchLink(url, code.Code))
			return err
		},
	}
	c.Flags().StringVar(&server, "server", "", serverUsage)
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions})
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

func launchLink(url, code string) string { return url + "/launch?code=" + code }

// running connects to the given server, or to the one that holds the configured
// home, and says what its addresses begin with.
func running(cfg config, server string) (conn *client, url string, err error) {
	if server == "" {
		holder, err := services.HolderOf(cfg.Home)
		if err != nil {
			return nil, "", err
		}
		if holder == nil {
			return nil, "", fmt.Errorf("no server runs on %s: start one with 'anthill serve', or name one with --server", cfg.Home)
		}
		if server, err = serverOf(cfg, holder); err != nil {
			return nil, "", err
		}
	}
	if conn, err = connect(cfg, server); err != nil {
		return nil, "", err
	}
	if url = strings.TrimSuffix(server, "/"); !strings.Contains(url, "://") {
		url = cfg.scheme() + "://" + url
	}
	return conn, url, nil
}

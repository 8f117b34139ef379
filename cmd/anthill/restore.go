package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"anthill/services"
)

func newRestore(v *viper.Viper) *cobra.Command {
	var replace bool
	var maxBytes int64
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the data directory",
		Long: `Put what a backup holds into the data directory and the projects folder. The
server must be stopped. FILE is checked as a whole before anything changes, and
is then there entirely or, should the machine fail, not at all; "-" is standard
input.

Data that is there already is never deleted: without --replace it is a reason to
refuse, with it it is moved into backups/ in the data directory.

A backup has no settings and no API keys: those of this machine stay.`,
		Example: `  anthill restore anthill.tgz
  anthill restore --replace anthill.tgz`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			from := c.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close() //nolint:errcheck // it was only read
				from = f
			}
			out, err := services.Restore(c.Context(), services.Config{Home: cfg.Home, ProjectsDir: cfg.ProjectsDir,
				Log: slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))}, from, replace, maxBytes)
			if errors.Is(err, services.ErrNotEmpty) {
				return fmt.Errorf("%w. To put what is there aside and restore, add --replace", err)
			}
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], err)
			}
			return describeRestore(c.OutOrStdout(), cfg, out)
		},
	}
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return []cobra.Completion{"tgz", "tar.gz"}, cobra.ShellCompDirectiveFilterFileExt
	}
	c.Flags().BoolVar(&replace, "replace", false, "put the data that is there aside, into backups/")
	c.Flags().Int64Var(&maxBytes, "max-bytes", 64<<30, "refuse a backup that holds more `BYTES`")
	return c
}

func describeRestore(w io.Writer, cfg config, r services.Restored) error {
	_, err := fmt.Fprintf(w, "%s is as it was on %s; project files: %d.\n", cfg.Home, r.Created.Format("2006-01-02 15:04:05 MST"), r.Files)
	if err == nil && len(r.Aside) > 0 {
		_, err = fmt.Fprintf(w, "What was there is in %s.\n", strings.Join(r.Aside, " and "))
	}
	return err
}

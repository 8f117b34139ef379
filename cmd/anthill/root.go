package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
)

// version is set by the linker for releases.
var version = "dev"

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version == "dev" && ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "dev-" + s.Value[:12]
			}
		}
	}
	return version
}

func newRoot() *cobra.Command {
	v := viper.New()
	root := &cobra.Command{
		Use:   "anthill",
		Short: "A local agent server: OpenAI Responses, projects and conversations on one port",
		Long: `anthill serves an agent on one port of this machine: an OpenAI-compatible
Responses API with projects and conversations, over REST, server-sent events
and gRPC. Everything is kept in one data directory and survives a crash.

Start it with "anthill serve", then ask it something with "anthill ask".
Without a model it answers from its built-in offline provider.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	addOptions(root.PersistentFlags(), v)
	root.AddCommand(newServe(v), newAsk(v), newConfig(v), newBackup(v), newRestore(v), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(c.OutOrStdout(), "anthill %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	})
	return root
}

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
		Short: "An agent, and rooms where people and agents work, on one port of this machine",
		Long: `anthill serves two things on one port of this machine: an agent, by an
OpenAI-compatible Responses API with projects and conversations; and rooms in
which people and agent CLIs work together, with their terminals. Both are there
over REST, server-sent events, WebSocket and gRPC. Everything is kept in one
data directory and survives a crash.

Start it with "anthill serve", then ask it something with "anthill ask".
Without a model it answers from its built-in offline provider; "anthill
configure" chooses one, and "anthill doctor" says what is missing.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	addOptions(root.PersistentFlags(), v)
	completeFlags(root, map[string]cobra.CompletionFunc{
		"log-level":     cobra.FixedCompletions([]cobra.Completion{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp),
		"terminal-host": cobra.FixedCompletions([]cobra.Completion{"auto", "tmux", "pty"}, cobra.ShellCompDirectiveNoFileComp), "terminal-keep": cobra.NoFileCompletions,
		"host": cobra.NoFileCompletions, "port": cobra.NoFileCompletions, "listen": cobra.NoFileCompletions,
		"allowed-hosts": cobra.NoFileCompletions, "allowed-origins": cobra.NoFileCompletions, "renderer-url": cobra.NoFileCompletions,
		"base-path": cobra.NoFileCompletions, "trusted-proxies": cobra.NoFileCompletions,
	})
	root.AddGroup(&cobra.Group{ID: "use", Title: "Use it:"}, &cobra.Group{ID: "set", Title: "Set it up:"}, &cobra.Group{ID: "keep", Title: "Keep what it holds:"})
	for group, list := range map[string][]*cobra.Command{
		"use":  {newServe(v), newAsk(v), newLink(v), newInvite(v), newRooms(v), newPost(v), newTail(v), newAttach(v), newFiles(v), newTasks(v), newMCP(v)},
		"set":  {newConfigure(v), newDoctor(v), newConfig(v)},
		"keep": {newBackup(v), newRestore(v), newExport(v)},
	} {
		for _, c := range list {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(newVersion(), newReadDocument(), newTerminalRecorder())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(c.OutOrStdout(), "anthill %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

package main

import (
	"os"

	"github.com/spf13/cobra"

	"anthill/services"
)

// newTerminalRecorder is the process that records one terminal, while the server runs and while it does not.
func newTerminalRecorder() *cobra.Command {
	return &cobra.Command{
		Use:    services.RecorderCommand + " DIR KEEP",
		Short:  "Record the terminal on standard input (for the server itself)",
		Args:   cobra.ExactArgs(2),
		Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return services.RecordTerminal(args[0], args[1], os.Stdin)
		},
	}
}

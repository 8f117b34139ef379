package main

import (
	"os"

	"github.com/spf13/cobra"

	"anthill/services"
)

// newReadDocument is the process in which the server reads one document.
func newReadDocument() *cobra.Command {
	return &cobra.Command{
		Use:    services.DocumentCommand + " LIMITS",
		Short:  "Read the text of the document on standard input (for the server itself)",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			return services.ReadDocument(os.Stdin, c.OutOrStdout(), args[0])
		},
	}
}

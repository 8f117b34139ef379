package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	antonv1 "anthill/gen/anton/v1"
)

// completeFor is how long the shell waits for names; without a server there are none.
const completeFor = 2 * time.Second

// names asks a server for what could be meant.
type names func(ctx context.Context, c *client) ([]cobra.Completion, error)

// complete makes a completion of names that the running server knows. Whatever
// goes wrong, nothing is offered and nothing is said.
func complete(v *viper.Viper, server *string, find names) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completeFor)
		defer cancel()
		cfg, err := load(v)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		conn, err := connect(cfg, *server)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer conn.Close() //nolint:errcheck // nothing is left to lose
		all, err := find(conn.with(ctx), conn)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fit []cobra.Completion
		for _, name := range all {
			if strings.HasPrefix(name, typed) {
				fit = append(fit, name)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

// describedAs is a name with what the shell shows beside it, on one line.
func describedAs(name, text string) cobra.Completion {
	return cobra.CompletionWithDesc(name, strings.Join(strings.Fields(printable(text)), " "))
}

func conversationNames(ctx context.Context, c *client) (out []cobra.Completion, err error) {
	list, err := antonv1.NewConversationsServiceClient(c).ListConversations(ctx, &antonv1.ListConversationsRequest{Project: "all"})
	for _, x := range list.GetConversations() {
		out = append(out, describedAs(x.Id, x.Title))
	}
	return out, err
}

func projectNames(ctx context.Context, c *client) (out []cobra.Completion, err error) {
	list, err := antonv1.NewProjectsServiceClient(c).ListProjects(ctx, &antonv1.ListProjectsRequest{})
	for _, x := range list.GetProjects() {
		out = append(out, describedAs(x.Name, x.Path))
	}
	return out, err
}

func modelNames(ctx context.Context, c *client) (out []cobra.Completion, err error) {
	list, err := antonv1.NewModelsServiceClient(c).ListModels(ctx, &antonv1.ListModelsRequest{})
	for _, x := range list.GetData() {
		out = append(out, describedAs(x.Id, x.OwnedBy))
	}
	return out, err
}

func providerNames(ctx context.Context, c *client) (out []cobra.Completion, err error) {
	set, err := antonv1.NewSettingsServiceClient(c).GetSettings(ctx, &antonv1.GetSettingsRequest{})
	for _, name := range set.GetProviderTypes() {
		out = append(out, describedAs(name, set.ProviderTypeLabels[name]))
	}
	return out, err
}

// completeFlags binds flags to what completes them.
func completeFlags(c *cobra.Command, by map[string]cobra.CompletionFunc) {
	for flag, f := range by {
		must(c.RegisterFlagCompletionFunc(flag, f))
	}
}

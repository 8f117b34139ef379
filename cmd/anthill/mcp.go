package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/mcp"
	antonv1 "anthill/gen/anton/v1"
)

// tokenEnv is where a room token is looked for: command lines are visible to others.
const tokenEnv = "ANT_TOKEN"

type mcpFlags struct {
	server, token, as string
}

func newMCP(v *viper.Viper) *cobra.Command {
	var f mcpFlags
	c := &cobra.Command{
		Use:   "mcp",
		Short: "Serve rooms, tasks and conversations as tools to an agent program",
		Long: `Speak the Model Context Protocol over standard input and output, so that an
agent program (Claude Code, Codex, ...) has the rooms, tasks and conversations
of the running server as tools. With a room token it has that room alone. It
ends with its input, or when the server goes away.`,
		Example: `  claude mcp add anthill -- anthill mcp --as @claude
  codex mcp add anthill -- anthill mcp --as @codex
  ANT_TOKEN=ant_t_… anthill mcp`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			conn, err := connect(cfg, f.server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			if f.token == "" {
				f.token = os.Getenv(tokenEnv)
			}
			if f.token != "" {
				conn.key = f.token
			}
			return serveMCP(c.Context(), conn, f, os.Stdin, os.Stdout, c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().StringVar(&f.token, "token", "", "room `TOKEN` to show instead of the key (better env "+tokenEnv+": others can see command lines)")
	c.Flags().StringVar(&f.as, "as", "", "`HANDLE` under which it posts and claims, such as @claude (default what each call says; a token has its own)")
	c.ValidArgsFunction = cobra.NoFileCompletions
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions, "token": cobra.NoFileCompletions, "as": cobra.NoFileCompletions})
	return c
}

// serveMCP serves one client until in ends, or until the server is gone.
func serveMCP(ctx context.Context, conn *client, f mcpFlags, in io.ReadCloser, out io.WriteCloser, errs io.Writer) error {
	ctx, end := context.WithCancelCause(conn.with(ctx))
	defer end(nil)
	watch, err := antonv1.NewAccessServiceClient(conn).WatchCaller(ctx, &antonv1.WatchCallerRequest{})
	if err != nil {
		return conn.explain(err)
	}
	caller, err := watch.Recv()
	switch {
	case status.Code(err) == codes.Unauthenticated && f.token != "":
		return errors.New(status.Convert(err).Message())
	case err != nil:
		return conn.explain(err)
	}
	go func() {
		_, err := watch.Recv()
		if status.Code(err) == codes.Unauthenticated {
			end(errors.New(status.Convert(err).Message()))
			return
		}
		end(fmt.Errorf("the server at %s is gone", conn.addr))
	}()
	err = mcp.ServeStdio(ctx, conn, in, out, mcp.StdioOptions{Caller: caller, As: f.as, Version: buildVersion(),
		Log: slog.New(slog.NewTextHandler(errs, nil))})
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how one ends it by hand
	}
	return err
}

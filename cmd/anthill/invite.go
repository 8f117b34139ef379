package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"golang.org/x/term"

	antv1 "anthill/gen/ant/v1"
)

type inviteFlags struct {
	server, handle, label string
	kinds, scopes         []string
	password              bool
	maxUses               int32
	expires, tokenExpires time.Duration
}

func newInvite(v *viper.Viper) *cobra.Command {
	var f inviteFlags
	c := &cobra.Command{
		Use:   "invite ROOM",
		Short: "Invite a guest to a room",
		Long: `Make an invite to a room, named by its id or @handle, and print its id and the
request that exchanges it for a token. A token lets its holder into that one
room, until it expires or is revoked; tokens of kind web only read.`,
		Example: `  anthill invite @planning --kind web --expires 24h
  echo "$PASSWORD" | anthill invite @planning --password`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			q, err := f.request(args[0], c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			conn, base, err := running(cfg, f.server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			inv, err := antv1.NewInvitesServiceClient(conn).CreateInvite(conn.with(c.Context()), q)
			if err != nil {
				return conn.explain(err)
			}
			return printInvite(c.OutOrStdout(), base, inv)
		},
	}
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().StringSliceVar(&f.kinds, "kind", nil, "`KIND` of tokens: cli, mcp or web (repeatable; default all)")
	c.Flags().StringSliceVar(&f.scopes, "scope", nil, "what tokens may do: read, write, terminal (repeatable; default read and write)")
	c.Flags().BoolVar(&f.password, "password", false, "ask for a password that guests have to know (no terminal: the first line of standard input)")
	c.Flags().StringVar(&f.handle, "handle", "", "who the guest is in the room, as `@NAME` (default guests choose)")
	c.Flags().StringVar(&f.label, "label", "", "a note for yourself")
	c.Flags().Int32Var(&f.maxUses, "max-uses", 100, "how many tokens it gives")
	c.Flags().DurationVar(&f.expires, "expires", 7*24*time.Hour, "how long the invite holds")
	c.Flags().DurationVar(&f.tokenExpires, "token-expires", 30*24*time.Hour, "how long its tokens hold")
	c.ValidArgsFunction = cobra.NoFileCompletions
	completeFlags(c, map[string]cobra.CompletionFunc{
		"server": cobra.NoFileCompletions, "handle": cobra.NoFileCompletions, "label": cobra.NoFileCompletions,
		"max-uses": cobra.NoFileCompletions, "expires": cobra.NoFileCompletions, "token-expires": cobra.NoFileCompletions,
		"kind":  cobra.FixedCompletions([]cobra.Completion{"cli", "mcp", "web"}, cobra.ShellCompDirectiveNoFileComp),
		"scope": cobra.FixedCompletions([]cobra.Completion{"read", "write", "terminal"}, cobra.ShellCompDirectiveNoFileComp),
	})
	return c
}

// request is what the flags ask for.
func (f inviteFlags) request(room string, in io.Reader, ask io.Writer) (*antv1.CreateInviteRequest, error) {
	q := &antv1.CreateInviteRequest{SessionId: room, Kinds: f.kinds, Scopes: f.scopes, Handle: f.handle, Label: f.label, MaxUses: &f.maxUses}
	for name, d := range map[string]time.Duration{"expires": f.expires, "token-expires": f.tokenExpires} {
		seconds := d / time.Second
		if seconds < 1 || seconds > math.MaxInt32 {
			return nil, fmt.Errorf("--%s must be a second at least and a year at most, as 90s, 30m or 24h", name)
		}
		n := int32(seconds)
		if name == "expires" {
			q.ExpiresIn = &n
		} else {
			q.TokenExpiresIn = &n
		}
	}
	var err error
	if f.password {
		q.Password, err = readPassword(in, ask)
	}
	return q, err
}

// readPassword takes a password without showing it. It is no flag's value, which
// others on the machine could see.
func readPassword(in io.Reader, ask io.Writer) (string, error) {
	var line string
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if _, err := fmt.Fprint(ask, "Password, not shown while you type: "); err != nil {
			return "", err
		}
		b, err := term.ReadPassword(int(f.Fd()))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		if _, err := fmt.Fprintln(ask); err != nil {
			return "", err
		}
		line = string(b)
	} else {
		read, err := bufio.NewReader(io.LimitReader(in, 4<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		line = read
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("the password is empty")
	}
	return line, nil
}

func printInvite(out io.Writer, base string, inv *antv1.Invite) error {
	body := fmt.Sprintf(`{"kind":%q}`, inv.Kinds[0])
	if inv.HasPassword {
		body = fmt.Sprintf(`{"kind":%q,"password":"…"}`, inv.Kinds[0])
	}
	_, err := fmt.Fprintf(out, "%s\n\nIt holds until %s UTC. Exchange it for a token with\n\n  curl -sX POST %s/api/sessions/%s/invites/%s/exchange \\\n    -H 'Content-Type: application/json' -d '%s'\n",
		inv.Id, inv.ExpiresAt, base, url.PathEscape(inv.RoomId), url.PathEscape(inv.Id), body)
	return err
}
